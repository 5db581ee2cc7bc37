"""Stage `segment`: ortho -> classes.tif, confidence.tif, preview.tif and, where the model gives them, offsets.tif."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import shapely
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg import __version__
from geoseg.config import Config, to_dict
from geoseg.durable import remove_folder
from geoseg.errors import GeosegWarning, IncompleteError
from geoseg.legend import LEGEND
from geoseg.models.card import ModelCard, Segmenter, read_card
from geoseg.models.fallback import fallback_backends
from geoseg.ortho import Ortho
from geoseg.ortho.vrt import write_vrt
from geoseg.progress import bar
from geoseg.results import ORTHO_VRT, SUMMARY
from geoseg.rundir import RunDirectory, Stage
from geoseg.segment.blocks import BlockStore, MissingBlockError
from geoseg.segment.cluster import BlockJob, connect, predict_on, stitch_on
from geoseg.segment.layers import Layer, network_layers
from geoseg.segment.predict import PredictStats, predict, tiling_for
from geoseg.segment.preview import preview_layer
from geoseg.segment.standfacts import count_error
from geoseg.segment.stitch import stitch

__all__ = ["load_segmenter", "see_field", "segment_stage"]

_TOLD = {
    "name",
    "version",
    "description",
    "licence",
    "attribution",
    "gsd",
    "bands",
    "scaling",
    "scores",
    "limits",
    "instances",
}
"""What the record keeps of the model's card, for people."""
ATTEMPTS = 3
"""How often damaged blocks are done again before the disk is blamed."""


def segment_stage(
    directory: RunDirectory,
    ortho: str | Path,
    boundary: str | Path | None,
    config: Config,
    model: Segmenter | None,
    *,
    fresh: bool,
    keep_blocks: bool,
) -> None:
    """Open the ortho, predict its blocks and stitch them; arguments as in `geoseg.job.run`.

    Raises:
        InputError: If something given cannot be used.
        IncompleteError: If parts of the ortho could not be processed.
    """
    if fresh:
        directory.clear()
    segmenter = see_field(model or load_segmenter(config), ortho, boundary, config)
    card = segmenter.card
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeosegWarning)
        source = Ortho.open(ortho, config.ortho, card.bands, card.scaling)
        grid = source.working_grid(card.gsd)
        field = source.boundary(boundary, grid)
    parts = {
        "geoseg": __version__,
        "ortho": _identity(str(ortho)) | _scale(source),
        "model": _model_identity(card, getattr(segmenter, "backend", "custom")),
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
        stage.facts["count_error"] = count_error(card.scores)
        stage.facts["card"] = card.model_dump(mode="json", include=_TOLD)
        shape = int(grid.shape[0]), int(grid.shape[1])
        layers = _layers(source, shape, card, config)
        store = BlockStore(directory / "blocks", shape, _block_px(card, config), parts, layers)
        _predict_and_stitch(directory, stage, source, grid, field, segmenter, store, config)
        stage.outputs.append(write_vrt(source, card.bands, directory / ORTHO_VRT))
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
    outputs = {layer.name: directory / f"{layer.name}.tif" for layer in store.layers}
    pixel_ha = abs(grid.affine.determinant) / 1e4

    backend = _named_backend(segmenter, config)
    others = fallback_backends(segmenter.card, backend) if backend else ()

    def predict_all(client: Any) -> PredictStats:
        whole = float(grid.shape[0] * grid.shape[1])
        before = whole - sum(rect.size for rect in store.pending())
        with bar("segment", whole, "px", pixel_ha, before) as progress:
            if client is not None:
                block_job = BlockJob(
                    source, grid, field, config.model if backend else segmenter, backend or "auto",
                    config.segment, store.folder.resolve(), store.parts, store.block_px, store.layers, others,
                )  # fmt: skip
                return predict_on(client, block_job, progress.update)
            loaders = [functools.partial(load_segmenter, replace(config, backend=other)) for other in others]
            reader = functools.partial(source.reader, grid, field)
            return predict(reader, segmenter, store, config.segment, progress.update, loaders)

    with ExitStack() as stack:
        client = stack.enter_context(connect(config.cluster)) if config.cluster.wanted else None
        stats = predict_all(client)
        (directory / SUMMARY).unlink(missing_ok=True)
        directory.supersede("segment")
        assemble = stitch if client is None else functools.partial(stitch_on, client)
        counts = _again_if_missing(lambda: assemble(store, grid, outputs, tags), functools.partial(predict_all, client))
    ledger = store.summary()
    area_px = abs(grid.affine.determinant)
    stage.facts["classes"] = {
        entry.name: {"pixels": counts.get(entry.code, 0), "area_m2": counts.get(entry.code, 0) * area_px}
        for entry in LEGEND.entries
    }
    stage.facts["loop"] = dataclasses.asdict(stats)
    stage.facts["warnings"] += dict.fromkeys(stats.faults)
    stage.facts["ledger"] = dataclasses.asdict(ledger)
    stage.outputs += outputs.values()
    if ledger.failed:
        first = next(iter(ledger.failed.items()))
        raise IncompleteError(
            f"{len(ledger.failed)} of {ledger.total} blocks failed and are nodata in {outputs['classes']}; the first: "
            f"{first[0]}: {first[1]}. Run the same command again to retry them"
        )


def _again_if_missing(assemble: Callable[[], dict[int, int]], predict_all: Callable[[], Any]) -> dict[int, int]:
    """Assemble; where a block turns out to be damaged, predict what is missing and assemble anew."""
    for _ in range(ATTEMPTS - 1):
        try:
            return assemble()
        except MissingBlockError:
            predict_all()
    return assemble()


def _layers(source: Ortho, shape: tuple[int, int], card: ModelCard, config: Config) -> tuple[Layer, ...]:
    write_px = tiling_for(card, config.segment).write_px
    return *network_layers(card), preview_layer(shape, write_px, source.image_dtype.name)


def _named_backend(segmenter: Segmenter, config: Config) -> str | None:
    """The backend of a segmenter that the configuration's model gives too; None if it can only be had as it is."""
    backend = getattr(segmenter, "backend", None)
    return backend if backend is not None and read_card(config.model) == segmenter.card else None


def load_segmenter(config: Config) -> Segmenter:
    """The model that a configuration names: the row rule, or a network on the backend that it names."""
    from geoseg.adapt.segmenter import load_rule

    rule = load_rule(config.model, config.rows)
    if rule is not None:
        return rule
    from geoseg.models import load  # brings torch, which no other stage needs

    return load(config.model, config.backend)


def see_field(segmenter: Segmenter, ortho: str | Path, boundary: str | Path | None, config: Config) -> Segmenter:
    """A segmenter that learns from the field itself, after it has seen the field; any other as it is.

    Raises:
        InputError: If it cannot learn from this field.
    """
    look = getattr(segmenter, "for_field", None)
    found: Segmenter = segmenter if look is None else look(ortho, config.ortho, boundary)
    return found


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


def _scale(source: Ortho) -> dict[str, Any]:
    """Which bands are read, and what is 0 and 1 to the model."""
    found = {"bands": source.bands, "value_max": source.value_max}
    return found if source.levels is None else found | {"levels": [list(pair) for pair in source.levels]}


def _model_identity(card: ModelCard, backend: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": card.name, "version": card.version, "sha256": card.weights_sha256}
    found |= {"backend": backend}
    found |= {"logit_bias": list(card.logit_bias)} if any(card.logit_bias) else {}
    return found | ({"int8_sha256": card.int8_sha256} if backend == "openvino-int8" else {})


def _block_px(card: ModelCard, config: Config) -> int:
    return tiling_for(card, config.segment).write_px * config.segment.block_windows


def _versions() -> dict[str, str]:
    names = ("geoseg", "torch", "rasterio", "numpy", "shapely", "geopandas", "odc-geo")
    return {name: importlib.metadata.version(name) for name in names}
