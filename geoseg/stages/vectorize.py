"""Stage `vectorize`: classes.tif -> field.gpkg (boundary, plants, plant outlines, weed patches)."""

from __future__ import annotations

import dataclasses

import shapely

from geoseg.config import Config, to_dict
from geoseg.results import CLASSES, CONFIDENCE, FIELD, OFFSETS
from geoseg.rundir import RunDirectory

__all__ = ["vectorize_stage"]


def vectorize_stage(directory: RunDirectory, config: Config) -> None:
    """Collect plants and weed patches of the class raster into the run's package."""
    from geoseg.export.columns import LAYERS
    from geoseg.export.geopackage import FieldPackage
    from geoseg.segment.plantbatch import Rasters
    from geoseg.segment.plants import collect

    key = directory.key("segment")
    facts = directory.facts("segment")
    layers = {name: layer.names for name, layer in LAYERS.items()}
    plants = {name: value for name, value in to_dict(config.plants).items() if name not in ("panoptic", "geoparquet")}
    with directory.stage("vectorize", {"segment": key, "plants": plants, "layers": layers}) as stage:
        if stage.done:
            return
        directory.supersede("vectorize")
        stage.outputs.append(directory / FIELD)
        offsets = directory / OFFSETS
        rasters = Rasters(directory / CLASSES, directory / CONFIDENCE, offsets if offsets.exists() else None)
        with FieldPackage(directory / FIELD, facts["field"]["crs"]) as package:
            package.write_boundary(shapely.from_wkt(facts["field"]["boundary"]))
            stats = collect(rasters, config.plants, package)
        stage.facts |= dataclasses.asdict(stats)
