"""How far the figures can be trusted, and how they were made: the sections Quality and Provenance. Plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from geoseg.report.wording import area, bytes_text, duration, figure, number, percent, table

__all__ = ["provenance_section", "quality_section"]

Section = dict[str, Any]
_CAVEATS = (
    "The scores were measured on the fields named, not on this one: a look at the map, or labels of this field and "
    "`geoseg evaluate`, tell how good it is here. Confidence is the model's own score of the class that it chose: "
    "it tells where it hesitates, not how often it is right."
)


def quality_section(summary: Mapping[str, Any], facts: Mapping[str, Any], sure: Mapping[str, Any] | None) -> Section:
    """Resolution, what was seen, the model with its scores and limits, confidence, warnings.

    Args:
        summary: What ``summary.json`` holds.
        facts: What the first stage noted: ``field``, ``card``.
        sure: What `geoseg.report.measure.confidence_histogram` gave.
    """
    field, card = facts["field"], facts.get("card") or {}
    seen = summary["valid_ha"] / summary["field_ha"] if summary["field_ha"] else 0.0
    figures = [
        figure("gsd_m", "Working resolution", summary["gsd_m"], _mm(summary["gsd_m"]), "per pixel"),
        figure("ortho_gsd_m", "Resolution of the ortho", field["ortho_gsd_m"], _mm(field["ortho_gsd_m"]), "per pixel"),
        figure("valid_ha", "Seen", summary["valid_ha"], area(summary["valid_ha"]), f"{percent(seen)} of the field"),
    ]
    if gsd := card.get("gsd"):
        fine = gsd.get("seedlings_m")
        note = "per pixel" if fine is None else f"per pixel; {_mm(fine)} or finer for seedlings"
        span = f"{gsd['min_m'] * 1000:g} to {gsd['max_m'] * 1000:g} mm"
        figures.append(figure("model_gsd", "Model trained for", gsd, span, note))
    if sure:
        mean = sure["mean_all_percent"]
        figures.append(figure("confidence", "Mean confidence", mean, percent(mean / 100), _sampled(sure)))
        for name, value in sure["mean_percent"].items():
            if value is not None:
                figures.append(figure(f"confidence_{name}", f"Confidence, {name}", value, percent(value / 100)))
    model = summary["model"]
    notes = [
        f"Model {model['name']} {model['version']}, licence {card.get('licence', 'not known')}. "
        f"{card.get('description', '')}".strip(),
        _CAVEATS,
    ]
    scores = list(_scores(card.get("scores", {})))
    heads = ["Validation on", "Class", "#IoU", "#Precision", "#Recall", "#F1"]
    rows = [[one["field"], one["class"], *(_score(one[key]) for key in _KEYS)] for one in scores]
    return {
        "id": "quality",
        "title": "Quality",
        "figures": figures,
        "tables": [table("scores", "Scores of the model on other fields (1 is perfect)", heads, rows, scores)]
        if scores
        else [],
        "charts": [_confidence_chart(sure)] if sure else [],
        "notes": notes,
        "lists": [
            {"key": "warnings", "title": "Warnings of this run", "items": list(summary.get("warnings", ())),
             "empty": "None."},
            {"key": "limits", "title": "Known limits of the model", "items": list(card.get("limits", ())),
             "empty": "Its card names none."},
        ],
    }  # fmt: skip


def provenance_section(record: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> Section:
    """Versions, input, model, times, configuration and files.

    Args:
        record: What ``run.json`` holds.
        files: ``name``, ``bytes`` and ``text`` of the files of the run directory.
    """
    inputs, stages = record["inputs"], record["stages"]
    first = stages["segment"]["facts"]
    pairs = [*_input(inputs["ortho"], first), *_model(inputs["model"], first.get("card") or {})]
    if versions := record.get("versions"):
        pairs.append(figure("versions", "Versions", versions, ", ".join(f"{k} {v}" for k, v in versions.items())))
    rows = [[pair["label"], pair["text"]] for pair in pairs]
    times = [
        {"stage": name, "finished": one["finished"], "seconds": one["seconds"], "peak_mb": one.get("peak_mb")}
        for name, one in stages.items()
        if name != "report"
    ]
    time_rows = [
        [one["stage"], one["finished"].replace("T", " ").replace("+00:00", " UTC"), duration(one["seconds"]),
         "-" if one["peak_mb"] is None else f"{one['peak_mb']:,} MiB"]
        for one in times
    ]  # fmt: skip
    file_rows = [[one["name"], bytes_text(one["bytes"]), one["text"]] for one in files]
    return {
        "id": "provenance",
        "title": "Provenance",
        "figures": [],
        "charts": [],
        "notes": [],
        "tables": [
            table("inputs", "Input and model", ["What", "Value"], rows, pairs),
            table("stages", "Stages", ["Stage", "Finished", "#Took", "#Memory, most"], time_rows, times),
            table("files", "Files in this folder", ["File", "#Size", "What it is"], file_rows, files),
        ],
        "config": json.dumps(_config(record), indent=2, ensure_ascii=False),
    }  # fmt: skip


_KEYS = ("iou", "precision", "recall", "f1")


def _scores(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, found in scores.items():
        for label, values in (found.get("classes") or {}).items() if isinstance(found, Mapping) else ():
            yield {"field": name.removeprefix("validation of "), "class": label} | {
                key: values.get(key) for key in _KEYS
            }


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mm(metres: float) -> str:
    return f"{metres * 1000:.2f} mm"


def _sampled(sure: Mapping[str, Any]) -> str:
    if sure["sampled"] >= 1:
        return "all pixels"
    return f"from {percent(sure['sampled'])} of the blocks, spread over the field"


def _confidence_chart(sure: Mapping[str, Any]) -> Section:
    """Shares of each class's pixels; soil, which is nearly all of a field, would hide the others as counts."""
    series = []
    for name in ("crop", "weed"):
        pixels = sure["pixels"][name]
        if total := sum(pixels):
            series.append({"label": name, "values": [100 * count / total for count in pixels]})
    return {
        "key": "confidence",
        "kind": "bars",
        "beside": "scores",
        "title": "How sure the model was of crop and weed",
        "x_label": "confidence, %",
        "y_label": "% of the class's pixels",
        "x": [str(edge) for edge in sure["edges_percent"][:-1]],
        "series": series,
        "mark": None,
        "note": "Far to the left are pixels for which the model nearly chose another class, mostly edges of leaves.",
    }


def _input(ortho: Mapping[str, Any], first: Mapping[str, Any]) -> Iterator[Section]:
    field = first["field"]
    yield figure("ortho", "Orthomosaic", field["ortho"], str(field["ortho"]))
    if "bytes" in ortho:
        yield figure("ortho_bytes", "Its size", ortho["bytes"], bytes_text(ortho["bytes"]))
    if found := ortho.get("sha256_ends"):
        yield figure("ortho_sha256_ends", "Its fingerprint (SHA-256 of first and last MiB)", found, found)
    yield figure("crs", "Coordinate system of the results", field["crs"], str(field["crs"]))
    ledger = first.get("ledger")
    if ledger:
        text = f"{number(ledger['done'])} predicted, {number(ledger['empty'])} empty, {len(ledger['failed'])} failed"
        yield figure("blocks", "Blocks", ledger["total"], f"{number(ledger['total'])}: {text}")


def _model(model: Mapping[str, Any], card: Mapping[str, Any]) -> Iterator[Section]:
    yield figure("model", "Model", model["name"], f"{model['name']} {model['version']}")
    yield figure("backend", "Backend", model.get("backend"), str(model.get("backend")))
    if found := model.get("sha256"):
        yield figure("model_sha256", "Its weights (SHA-256)", found, found)
    if licence := card.get("licence"):
        yield figure("model_licence", "Its licence", licence, licence)
    for nth, line in enumerate(card.get("attribution", ())):
        yield figure(f"attribution_{nth + 1}", "Trained with" if nth == 0 else "", line, line)


def _config(record: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, with the rule that the prescription was made with last."""
    config = dict(record.get("config", {}))
    if spray := record["stages"].get("prescribe", {}).get("facts", {}).get("spray"):
        config["spray"] = spray
    return config
