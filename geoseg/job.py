"""The main job: the stages in order, each resumable, all into one run directory. Holds no method of its own.

segment     ortho -> classes.tif, confidence.tif
vectorize   classes.tif -> field.gpkg (boundary, plants, plant outlines, weed patches)
rows        field.gpkg -> crop rows: its layers rows and gaps, each plant's place in its row
prescribe   classes.tif -> prescription/<profile>/, layer `prescription` of field.gpkg
picture     quicklook.png
summary     summary.json, from what the stages found
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shapely
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg import __version__
from geoseg.config import Config, to_dict
from geoseg.errors import GeosegWarning, IncompleteError, InputError, OrthoError, PrescriptionError
from geoseg.legend import LEGEND
from geoseg.models.card import ModelCard, Segmenter
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.progress import bar, emit
from geoseg.results import CLASSES, CONFIDENCE, FIELD, PRESCRIPTION, QUICKLOOK, SUMMARY, Run
from geoseg.rundir import RunDirectory, Stage, write_json
from geoseg.segment.blocks import BlockStore, CorruptBlockError, remove_folder
from geoseg.segment.cluster import BlockJob, connect, predict_on
from geoseg.segment.predict import PredictStats, measure_speed, predict, tiling_for
from geoseg.segment.stitch import stitch

__all__ = ["inspect", "load_segmenter", "prescribe", "run", "segment", "vectorize"]

ATTEMPTS = 3
"""How often damaged blocks are done again before the disk is blamed."""


def run(
    ortho: str | Path,
    out: str | Path = "geoseg-out",
    *,
    boundary: str | Path | None = None,
    config: Config | None = None,
    model: Segmenter | None = None,
    fresh: bool = False,
    keep_blocks: bool = False,
) -> Run:
    """From an orthomosaic to a prescription, everything in one directory.

    The same call goes on where a killed one was, and finishes at once when all is there.

    Args:
        ortho: Any raster that GDAL opens.
        out: The run directory; made if it is missing.
        boundary: Polygon file of the field; None takes the outline of the ortho's valid pixels.
        config: All parameters.
        model: A segmenter to use instead of the one that ``config.model`` names.
        fresh: Discard what a former run left in `out`.
        keep_blocks: Keep the work in progress.

    Raises:
        InputError: If something given cannot be used.
        IncompleteError: If parts of the ortho could not be processed; call again to retry them.
    """
    config = config or Config()
    with RunDirectory(Path(out)) as directory:
        _segment(directory, ortho, boundary, config, model, fresh=fresh, keep_blocks=keep_blocks)
        _vectorize(directory, config)
        _rows(directory, config)
        _prescribe(directory, config, required=False)
        _picture(directory)
        return Run(directory.path, _summarise(directory))


def segment(
    ortho: str | Path,
    out: str | Path,
    *,
    boundary: str | Path | None = None,
    config: Config | None = None,
    model: Segmenter | None = None,
    fresh: bool = False,
    keep_blocks: bool = False,
) -> Run:
    """The first stage alone: the class raster and its confidence. Arguments as in `run`."""
    with RunDirectory(Path(out)) as directory:
        _segment(directory, ortho, boundary, config or Config(), model, fresh=fresh, keep_blocks=keep_blocks)
        return Run(directory.path, _summarise(directory))


def vectorize(out: str | Path, *, config: Config | None = None) -> Run:
    """Plants and weed patches of a run directory that holds a class raster."""
    with RunDirectory(Path(out)) as directory:
        _vectorize(directory, config or Config())
        _rows(directory, config or Config())
        return Run(directory.path, _summarise(directory))


def prescribe(out: str | Path, *, config: Config | None = None) -> Run:
    """The prescription of a run directory that holds a class raster.

    Raises:
        PrescriptionError: If the position on the ground is not known, or the rule cannot be obeyed.
    """
    config = config or Config()
    with RunDirectory(Path(out)) as directory:
        _vectorize(directory, config)
        _rows(directory, config)
        _prescribe(directory, config, required=True)
        _picture(directory)
        return Run(directory.path, _summarise(directory))


def inspect(ortho: str | Path, *, boundary: str | Path | None = None, config: Config | None = None) -> dict[str, Any]:
    """What an ortho is, whether it fits the model, and what a run will need.

    Returns:
        ``findings``: level (ok, note, warning, error), topic, text, remedy; ``estimate``: pixels, hectares, seconds,
        memory_mb, disk_mb, or None if the ortho cannot be used.
    """
    from geoseg.preflight import estimate, from_error, preflight

    config = config or Config()
    segmenter = load_segmenter(config)
    card = segmenter.card
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)  # the findings say the same
        try:
            source = Ortho.open(ortho, config.ortho, band_names=card.bands)
        except InputError as error:
            return {"findings": [dataclasses.asdict(from_error(error))], "estimate": None}
        findings = preflight(source, card, boundary)
        needs = None
        if all(finding.level != "error" for finding in findings):
            grid = source.working_grid(card.gsd)
            speed = measure_speed(segmenter)
            needs = dataclasses.asdict(estimate(source, card, source.boundary(boundary, grid), grid, speed))
    return {"findings": [dataclasses.asdict(finding) for finding in findings], "estimate": needs}


def _segment(
    directory: RunDirectory,
    ortho: str | Path,
    boundary: str | Path | None,
    config: Config,
    model: Segmenter | None,
    *,
    fresh: bool,
    keep_blocks: bool,
) -> None:
    if fresh:
        directory.clear()
    segmenter = model or load_segmenter(config)
    card = segmenter.card
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeosegWarning)
        source = Ortho.open(ortho, config.ortho, band_names=card.bands)
        grid = source.working_grid(card.gsd)
        field = source.boundary(boundary, grid)
    parts = {
        "geoseg": __version__,
        "ortho": _identity(str(ortho)) | {"bands": source.bands, "value_max": source.value_max},
        "model": _model_identity(card) | {"backend": getattr(segmenter, "backend", "custom")},
        "grid": {"shape": list(grid.shape), "transform": list(grid.affine)[:6], "crs": str(grid.crs)},
        "boundary": hashlib.sha256(shapely.to_wkb(field)).hexdigest(),
        "tiling": tiling_for(card, config.segment).model_dump(),
    }
    with directory.stage("segment", parts) as stage:
        if stage.done:
            if not keep_blocks:
                remove_folder(directory / "blocks")  # a run killed between its record and this line left them
            return
        directory.record |= {"versions": _versions(), "inputs": parts, "config": to_dict(config)}
        stage.facts["warnings"] = [str(warning.message) for warning in caught]
        stage.facts["field"] = _field_facts(source, grid, field)
        store = BlockStore(
            directory / "blocks", (int(grid.shape[0]), int(grid.shape[1])), _block_px(card, config), parts
        )
        _predict_and_stitch(directory, stage, source, grid, field, segmenter, store, config)
    if not keep_blocks:
        store.remove()


def _predict_and_stitch(
    directory: RunDirectory,
    stage: Stage,
    source: Ortho,
    grid: GeoBox,
    field: Polygon | MultiPolygon,
    segmenter: Segmenter,
    store: BlockStore,
    config: Config,
) -> None:
    tags = {"GEOSEG_MODEL": segmenter.card.name, "GEOSEG_KEY": store.key}
    outputs = directory / CLASSES, directory / CONFIDENCE

    pixel_ha = abs(grid.affine.determinant) / 1e4

    def predict_all() -> PredictStats:
        with bar("segment", float(grid.shape[0] * grid.shape[1]), "px", pixel_ha) as progress:
            if config.cluster.wanted:
                backend = getattr(segmenter, "backend", None)  # None: not ours, so it travels itself
                block_job = BlockJob(
                    source, grid, field, segmenter if backend is None else config.model, backend or "auto",
                    config.segment, store.folder.resolve(), store.parts, store.block_px,
                )  # fmt: skip
                with connect(config.cluster) as client:
                    return predict_on(client, block_job, progress.update)
            return predict(lambda: source.reader(grid, field), segmenter, store, config.segment, progress.update)

    stats = predict_all()
    (directory / SUMMARY).unlink(missing_ok=True)
    directory.supersede("segment")
    counts = _stitch_again(store, grid, outputs, tags, predict_all)
    ledger = store.summary()
    area_px = abs(grid.affine.determinant)
    stage.facts["classes"] = {
        entry.name: {"pixels": counts.get(entry.code, 0), "area_m2": counts.get(entry.code, 0) * area_px}
        for entry in LEGEND.entries
    }
    stage.facts["loop"] = dataclasses.asdict(stats)
    stage.facts["ledger"] = dataclasses.asdict(ledger)
    stage.outputs += outputs
    if ledger.failed:
        first = next(iter(ledger.failed.items()))
        raise IncompleteError(
            f"{len(ledger.failed)} of {ledger.total} blocks failed and are nodata in {outputs[0]}; the first: "
            f"{first[0]}: {first[1]}. Run the same command again to retry them"
        )


def _stitch_again(
    store: BlockStore, grid: GeoBox, outputs: tuple[Path, Path], tags: dict[str, str], predict_all: Callable[[], Any]
) -> dict[int, int]:
    """Stitch; where a block turns out to be damaged, predict what is missing and stitch anew."""
    for _ in range(ATTEMPTS - 1):
        try:
            return stitch(store, grid, *outputs, tags)
        except CorruptBlockError:
            predict_all()
    return stitch(store, grid, *outputs, tags)


def _vectorize(directory: RunDirectory, config: Config) -> None:
    from geoseg.export.columns import LAYERS
    from geoseg.export.geopackage import FieldPackage
    from geoseg.segment.plants import collect

    key = directory.key("segment")
    facts = directory.facts("segment")
    layers = {name: layer.names for name, layer in LAYERS.items()}
    with directory.stage("vectorize", {"segment": key, "plants": to_dict(config.plants), "layers": layers}) as stage:
        if stage.done:
            return
        directory.supersede("vectorize")
        stage.outputs.append(directory / FIELD)
        with FieldPackage(directory / FIELD, facts["field"]["crs"]) as package:
            package.write_boundary(shapely.from_wkt(facts["field"]["boundary"]))
            stats = collect(directory / CLASSES, directory / CONFIDENCE, config.plants, package)
        stage.facts |= dataclasses.asdict(stats)


def _rows(directory: RunDirectory, config: Config) -> None:
    from geoseg.export.rowlayers import read_plants, write_rows
    from geoseg.segment.rows import find_rows
    from geoseg.segment.stand import find_gaps, row_stand
    from geoseg.segment.standfacts import RowTotals, row_facts, stand_facts

    first = directory.facts("segment")
    with directory.stage("rows", {"vectorize": directory.key("vectorize"), "rows": to_dict(config.rows)}) as stage:
        if stage.done:
            return
        directory.supersede("rows")
        with bar("rows", 3, "step") as progress:
            points = read_plants(directory / FIELD)
            progress.update()
            rows = find_rows(points.x, points.y, points.area_m2, config.rows)
            stand = row_stand(rows.plants, rows.table, config.rows.gap_factor)
            gaps = find_gaps(rows.plants, stand, config.rows.gap_factor)
            progress.update()
            write_rows(directory / FIELD, points.fid, rows.plants, rows.table, stand, gaps, first["field"]["crs"])
            progress.update()
        seen_m2 = sum(entry["area_m2"] for entry in first["classes"].values())
        stage.facts["rows"] = row_facts(rows.model)
        steps = rows.plants.next_m[rows.plants.next_m > 0]
        lengths = float(rows.table.length_m.sum()), len(gaps.row_id), float(gaps.length_m.sum())
        totals = RowTotals(len(rows.table.row_id), *lengths, int(gaps.missing.sum()))
        stage.facts["stand"] = stand_facts(points.x, points.y, seen_m2, steps, totals)
        stage.outputs.append(directory / FIELD)


def _heading(directory: RunDirectory, config: Config) -> tuple[float | None, str]:
    """Driving direction for the prescription, None for the field's longest side, and where it comes from."""
    if config.spray.heading_deg is not None:
        return config.spray.heading_deg, "configuration"
    rows = directory.facts("rows").get("rows", {})
    if rows.get("confident"):
        return rows["heading_deg"], "crop rows"
    return None, "longest side of the field"


def _prescribe(directory: RunDirectory, config: Config, *, required: bool) -> None:
    from geoseg.export import check, write
    from geoseg.export.geopackage import replace_layer
    from geoseg.spray.prescription import plan

    field = directory.facts("segment")["field"]
    if field["nominal"]:
        reason = "the ortho has no georeference, so nobody can tell where on the ground this prescription would spray"
        if required:
            raise PrescriptionError(f"{reason}; export the ortho with coordinates")
        directory.record["refused"] = reason
        return
    parts = {
        "segment": directory.key("segment"),
        "rows": directory.key("rows"),
        "spray": to_dict(config.spray),
        "profiles": config.profiles,
    }
    with directory.stage("prescribe", parts) as stage:
        if stage.done:
            return
        directory.supersede("prescribe")
        with bar("prescribe", 2 + len(config.profiles), "step") as progress:
            boundary = shapely.from_wkt(field["boundary"])
            heading, heading_from = _heading(directory, config)
            prescription = plan(directory / CLASSES, boundary, dataclasses.replace(config.spray, heading_deg=heading))
            progress.update()
            checks = {}
            draft = directory / f".{PRESCRIPTION}.tmp"
            shutil.rmtree(draft, ignore_errors=True)
            for profile in config.profiles:
                folder = draft / profile
                write(prescription, folder, profile)
                checks[profile] = check(folder, prescription).to_dict()
                progress.update()
            remove_folder(directory / PRESCRIPTION)
            os.replace(draft, directory / PRESCRIPTION)
            replace_layer(directory / FIELD, "prescription", prescription.zones)
            progress.update()
        stage.facts |= {
            "totals": dataclasses.asdict(prescription.totals),
            "heading": {"heading_deg": prescription.heading_deg, "heading_from": heading_from},
            "checks": checks,
        }
        stage.outputs += [path for path in sorted((directory / PRESCRIPTION).rglob("*")) if path.is_file()]
        stage.outputs.append(directory / FIELD)


def _picture(directory: RunDirectory) -> None:
    """The picture, with the ortho as it was read; without the ortho there is none, and the summary says so."""
    from geoseg.report.quicklook import quicklook

    field = directory.facts("segment")["field"]
    ortho_config = directory.record["config"]["ortho"]
    bands = ortho_config["bands"]
    zones = None
    parts = {"segment": directory.key("segment")}
    if directory.facts("prescribe"):
        parts["prescribe"] = directory.key("prescribe")
    directory.record.pop("picture", None)
    try:
        with directory.stage("picture", parts) as stage:
            if stage.done:
                return
            if "prescribe" in parts:
                zones = Run(directory.path, {}).prescription
            quicklook(
                Path(field["ortho"]),
                directory / CLASSES,
                zones,
                shapely.from_wkt(field["boundary"]),
                directory / QUICKLOOK,
                directory.facts("prescribe").get("totals", {}),
                _title(field["ortho"], directory.path),
                ortho_config=OrthoConfig(**ortho_config | {"bands": bands and tuple(bands)}),
            )
            stage.outputs.append(directory / QUICKLOOK)
    except OrthoError:
        directory.record["picture"] = f"no {QUICKLOOK}, because {field['ortho']} is no longer there"


def _title(ortho: str, run: Path) -> str:
    """What a person calls the field: the ortho's name, or the run directory's if that name says nothing."""
    stem = Path(ortho).stem
    return run.resolve().name if stem.lower() in ("ortho", "orthomosaic", "odm_orthophoto") else stem


def _summarise(directory: RunDirectory) -> dict[str, Any]:
    """The answers of all stages that are done, written to ``summary.json``."""
    first = directory.facts("segment")
    field = first["field"]
    valid_m2 = sum(entry["area_m2"] for entry in first["classes"].values())
    summary: dict[str, Any] = {
        "ortho": field["ortho"],
        "field_ha": field["area_m2"] / 1e4,
        "valid_ha": valid_m2 / 1e4,
        "gsd_m": field["gsd_m"],
        "position_is_nominal": field["nominal"],
        "classes": {
            name: entry | {"share": entry["area_m2"] / valid_m2 if valid_m2 else 0.0}
            for name, entry in first["classes"].items()
        },
        "model": directory.record["inputs"]["model"],
        "warnings": [*first["warnings"], *([directory.record["picture"]] if "picture" in directory.record else [])],
    }
    if vectors := directory.facts("vectorize"):
        summary["plants"] = vectors
    if rows := directory.facts("rows"):
        summary |= {"rows": rows["rows"], "stand": rows["stand"]}
    if totals := directory.facts("prescribe").get("totals"):
        summary["prescription"] = totals | directory.facts("prescribe").get("heading", {})
    elif refused := directory.record.get("refused"):
        summary["prescription"] = {"refused": refused}
    write_json(directory / SUMMARY, summary)
    directory.save()
    emit("run_finished", run=str(directory.path), worked=directory.worked)
    return summary


def _field_facts(source: Ortho, grid: GeoBox, field: Polygon | MultiPolygon) -> dict[str, Any]:
    return {
        "ortho": str(Path(source.path).resolve()) if Path(source.path).exists() else source.path,
        "ortho_gsd_m": source.gsd_m,
        "gsd_m": abs(grid.affine.determinant) ** 0.5,
        "crs": str(grid.crs),
        "nominal": source.nominal,
        "area_m2": field.area,
        "boundary": shapely.to_wkt(field, rounding_precision=-1),
    }


def _identity(path: str) -> dict[str, Any]:
    """What tells one input file from another without reading all of it: size and the hash of its two ends."""
    file = Path(path)
    if not file.is_file():
        return {"name": path}
    stat = file.stat()
    digest = hashlib.sha256()
    with file.open("rb") as content:
        digest.update(content.read(1 << 20))
        content.seek(max(0, stat.st_size - (1 << 20)))
        digest.update(content.read())
    return {"name": file.name, "bytes": stat.st_size, "modified": stat.st_mtime, "sha256_ends": digest.hexdigest()}


def _model_identity(card: ModelCard) -> dict[str, Any]:
    return {"name": card.name, "version": card.version, "sha256": card.weights_sha256}


def load_segmenter(config: Config) -> Segmenter:
    """The network that a configuration names, on the backend that it names."""
    from geoseg.models import load  # brings torch, which no other stage needs

    return load(config.model, config.backend)


def _block_px(card: ModelCard, config: Config) -> int:
    return tiling_for(card, config.segment).write_px * config.segment.block_windows


def _versions() -> dict[str, str]:
    names = ("geoseg", "torch", "rasterio", "numpy", "shapely", "geopandas", "odc-geo")
    return {name: importlib.metadata.version(name) for name in names}
