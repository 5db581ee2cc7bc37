"""The sections of the report about the field: weeds, stand and prescription. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from geoseg.report.wording import area, figure, length, litres, number, percent, spacing, table

__all__ = ["headline", "prescription_section", "stand_section", "weed_section"]

Section = dict[str, Any]


def headline(summary: Mapping[str, Any]) -> list[Section]:
    """The figures at the top."""
    weed, found = summary["classes"]["weed"], summary.get("prescription") or {}
    figures = [
        figure("field_ha", "Field", summary["field_ha"], area(summary["field_ha"])),
        figure("weed_cover", "Weed cover", weed["share"], percent(weed["share"])),
    ]
    if stand := summary.get("stand"):
        per_ha = stand["plants_per_ha"]
        figures.append(figure("plants_per_ha", "Crop plants per ha", per_ha, number(round(per_ha))))
    if "treated_ha" in found:
        share = found["treated_ha"] / found["field_ha"] if found["field_ha"] else 0.0
        saved = found["saved_percent"]
        figures += [
            figure("treated_share", "Treated", share, percent(share)),
            figure("litres", "Spray liquid", found["litres"], litres(found["litres"])),
            figure("saved_percent", "Saved", saved, percent(saved / 100)),
        ]
    return figures


def weed_section(summary: Mapping[str, Any]) -> Section:
    """Cover of each class, patches and weed plants."""
    classes, seen_m2 = summary["classes"], summary["valid_ha"] * 1e4
    figures = [
        figure("weed_cover", "Weed cover", classes["weed"]["share"], percent(classes["weed"]["share"])),
        figure(
            "weed_area_m2", "Weed area", classes["weed"]["area_m2"], area(classes["weed"]["area_m2"] / 1e4),
            "leaf area seen from above",
        ),
    ]  # fmt: skip
    if plants := summary.get("plants"):
        weeds, patches = plants["weed_plants"]["kept"], plants["weeds"]["kept"]
        density = weeds / seen_m2 if seen_m2 else 0.0
        figures += [
            figure("weed_patches", "Weed patches", patches, number(patches), "connected weed pixels"),
            figure("weed_plants", "Weed plants", weeds, number(weeds)),
            figure("weed_plants_per_m2", "Weed plants per m²", density, number(float(density)), "of the ground seen"),
        ]
    rows = [
        [name, percent(entry["share"]), area(entry["area_m2"] / 1e4), number(entry["pixels"])]
        for name, entry in classes.items()
    ]
    values = [{"class": name, **entry} for name, entry in classes.items()]
    tables = [table("classes", "Classes of the ground seen", ["Class", "#Cover", "#Area", "#Pixels"], rows, values)]
    return {"id": "weeds", "title": "Weeds and cover", "figures": figures, "tables": tables, "charts": [], "notes": []}


def stand_section(summary: Mapping[str, Any], spacings: Mapping[str, Any] | None) -> Section | None:
    """Counts, spacing and gaps; None if plants were not looked for.

    Args:
        summary: What ``summary.json`` holds.
        spacings: What `geoseg.report.measure.spacing_histogram` gave; None: there are no rows.
    """
    stand, rows = summary.get("stand"), summary.get("rows")
    if not stand or not rows:
        return None
    figures = [
        figure("plants", "Crop plants", stand["plants"], number(stand["plants"]), _likely(stand)),
        figure("plants_per_m2", "per m²", stand["plants_per_m2"], number(float(stand["plants_per_m2"]))),
        figure("plants_per_ha", "per hectare", stand["plants_per_ha"], number(round(stand["plants_per_ha"]))),
    ]
    notes = []
    if interval := stand.get("plants_validated"):
        notes.append(
            f"Likely number of crop plants: {interval[0]:,.0f} to {interval[1]:,.0f}; {stand['plants_validated_from']}."
        )
    else:
        notes.append(
            f"How far the count may be off is not known: {stand.get('plants_validated_from', 'not measured')}."
        )
    if summary.get("plants", {}).get("grouping", {}).get("method") == "components":
        notes.append("Plants that touch are counted as one.")
    if not rows["found"]:
        notes.append(f"No crop rows: {str(rows['reason']).removeprefix('no row structure: ')}.")
    figures += [*_rows(rows, stand), *_spacing(stand), *_emergence(stand)]
    charts = []
    if spacings and stand.get("spacing"):
        charts.append(_spacing_chart(spacings, stand["spacing"]))
    return {
        "id": "stand",
        "title": "Crop stand",
        "figures": figures,
        "tables": list(_parts(rows)),
        "charts": charts,
        "notes": notes,
    }


def prescription_section(
    summary: Mapping[str, Any], rates: Sequence[Mapping[str, float]], exports: Sequence[Mapping[str, Any]]
) -> Section:
    """What is sprayed, at which rates, and the files that say so; or why there is no prescription.

    Args:
        summary: What ``summary.json`` holds.
        rates: What `geoseg.report.measure.rate_table` gave.
        exports: By terminal ``profile``, ``folder``, ``format``, ``files``, ``treated_ha``,
            ``litres``, ``ok``, ``coarser``.
    """
    found = summary.get("prescription")
    section: Section = {"id": "prescription", "title": "Prescription", "charts": [], "tables": [], "notes": []}
    if not found or "refused" in found:
        reason = found["refused"] if found else "this run has not been asked for one; `geoseg prescribe` makes it"
        return section | {"figures": [], "refused": reason}
    share = found["treated_ha"] / found["field_ha"] if found["field_ha"] else 0.0
    saved = found["broadcast_litres"] - found["litres"]
    section["figures"] = [
        figure("treated_ha", "Treated area", found["treated_ha"], area(found["treated_ha"]),
               f"{percent(share)} of the field"),
        figure("litres", "Spray liquid", found["litres"], litres(found["litres"])),
        figure("broadcast_litres", "Whole field", found["broadcast_litres"], litres(found["broadcast_litres"]),
               "everything at the full rate"),
        figure("saved_litres", "Saved", saved, litres(saved), percent(found["saved_percent"] / 100)),
        *_reach(found), *_machine(found),
    ]  # fmt: skip
    texts = [
        [f"{row['rate_l_ha']:g} L/ha", number(int(row["zones"])), area(row["area_ha"]), litres(row["litres"])]
        for row in rates
    ]
    section["tables"].append(table("rates", "Rates", ["Rate", "#Zones", "#Area", "#Liquid"], texts, rates))
    if exports:
        section["tables"].append(_exports(exports))
    section["notes"] += [f"Heading not taken: {other}." for other in found.get("heading_not_taken", ())]
    return section


def _likely(stand: Mapping[str, Any]) -> str:
    interval = stand.get("plants_validated")
    return f"likely {interval[0]:,.0f} to {interval[1]:,.0f}" if interval else ""


def _rows(rows: Mapping[str, Any], stand: Mapping[str, Any]) -> Iterator[Section]:
    if not rows["found"]:
        return
    heading = rows["heading_deg"]
    yield figure("rows", "Crop rows", stand["rows"], number(stand["rows"]), length(stand["row_length_m"]) + " in all")
    yield figure("row_spacing_m", "Row spacing", rows["spacing_m"], spacing(rows["spacing_m"]))
    yield figure("row_heading_deg", "Row heading", heading, f"{heading:.1f}°", "from grid north")
    if stand["gap_share"] is not None:
        yield figure("gaps", "Gaps", stand["gaps"], number(stand["gaps"]), f"{length(stand['gap_m'])} in all")
        yield figure("gap_share", "Row length in gaps", stand["gap_share"], percent(stand["gap_share"]))
        yield figure("missing", "Plants missing in gaps", stand["missing"], number(stand["missing"]))


def _parts(rows: Mapping[str, Any]) -> Iterator[Section]:
    """The rows by part of the field: a field may be drilled in several directions."""
    if parts := rows.get("parts"):
        texts = [
            [
                number(part["part"]), f"{part['heading_deg']:.2f}° ± {part['heading_se_deg']:.2f}°",
                f"{100 * part['spacing_m']:.2f} cm", number(part["rows"]), number(part["plants"]),
            ]
            for part in parts
        ]  # fmt: skip
        heads = ["Part", "#Heading", "#Spacing", "#Rows", "#Plants"]
        yield table("parts", "Rows by part of the field", heads, texts, parts)


def _spacing(stand: Mapping[str, Any]) -> Iterator[Section]:
    found = stand.get("spacing")
    if not found:
        return
    yield figure("spacing_mean_m", "Plant spacing, mean", found["mean_m"], spacing(found["mean_m"]))
    yield figure("spacing_sd_m", "Plant spacing, SD", found["sd_m"], spacing(found["sd_m"]))
    yield figure("spacing_cv", "Plant spacing, CV", found["cv"], percent(found["cv"]), "SD over mean")
    meant, source = found["theoretical_m"], found["theoretical_from"]
    yield figure("spacing_theoretical_m", "Theoretical spacing", meant, spacing(meant), source)
    for key, label in (("multiples", "Multiples"), ("misses", "Misses"), ("quality_of_feed", "Quality of feed")):
        yield figure(key, label, found[key], percent(found[key]), _FEED[key])


_FEED = {
    "multiples": "steps of half the spacing and less",
    "misses": "steps of 1.5 spacings and more",
    "quality_of_feed": "all other steps",
}


def _emergence(stand: Mapping[str, Any]) -> Iterator[Section]:
    if "emergence" in stand:
        seeds = f"of {number(round(stand['seeds_per_ha']))} seeds per ha"
        yield figure("emergence", "Emergence", stand["emergence"], percent(stand["emergence"]), seeds)


def _spacing_chart(spacings: Mapping[str, Any], found: Mapping[str, Any]) -> Section:
    width_cm = 100 * spacings["width_m"]
    labels = [f"{width_cm * bar:g}" for bar in range(len(spacings["plants"]))]
    return {
        "key": "spacing",
        "kind": "bars",
        "beside": "parts",
        "title": "Distance from plant to plant along the row",
        "x_label": "distance to the next plant, cm (last bar: all beyond)",
        "y_label": "plants",
        "x": labels,
        "series": [{"label": "plants", "values": spacings["plants"]}],
        "mark": {"at": found["theoretical_m"] / spacings["width_m"], "label": "theoretical"},
        "note": "An even seeder gives one narrow peak; a second peak at twice the spacing is missing plants.",
    }


def _reach(found: Mapping[str, Any]) -> Iterator[Section]:
    if found["weed_ha"]:
        reached = 1 - found["missed_weed_ha"] / found["weed_ha"]
        yield figure("reached", "Weed area reached", reached, percent(reached), "of what is on the map")
    if found.get("unseen_ha"):
        yield figure("unseen_ha", "Not seen", found["unseen_ha"], area(found["unseen_ha"]), "cells without a picture")
    if found.get("excluded_ha"):
        yield figure(
            "excluded_ha", "Never sprayed", found["excluded_ha"], area(found["excluded_ha"]), "excluded ground"
        )


def _machine(found: Mapping[str, Any]) -> Iterator[Section]:
    if "heading_deg" in found:
        heading, source = found["heading_deg"], f"from {found['heading_from']}"
        yield figure("heading_deg", "Driving direction", heading, f"{heading:.1f}°", source)
    if found.get("machine"):
        yield figure("machine", "Machine", found["machine"], found["machine"])
    if found.get("product") is not None:
        text = f"{number(float(found['product']))} {found['product_unit']}"
        yield figure("product", "Product", found["product"], text)
    if found.get("tank_fills"):
        last = (
            f"the last with {litres(found['last_fill_litres'])}; {litres(found['residual_litres'])} stay in the machine"
        )
        yield figure("tank_fills", "Tank fills", found["tank_fills"], number(found["tank_fills"]), last)


def _exports(exports: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        [
            one["profile"], one["folder"], one["format"], number(one["files"]), _or_dash(one["treated_ha"], area),
            _or_dash(one["litres"], litres), "yes" if one["ok"] else "NO", one["coarser"] or "no",
        ]
        for one in exports
    ]  # fmt: skip
    heads = ["Terminal", "Folder", "Format", "#Files", "#Treated", "#Liquid", "Read back as planned", "Made coarser"]
    return table("exports", "Files for terminals", heads, rows, exports)


def _or_dash(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)
