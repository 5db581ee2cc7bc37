"""From a drone orthomosaic to a weed map, a plant list and a prescription file for the sprayer.

Read the modules in this order, which is the order of the data:

    errors, legend, windows   no files: what can go wrong, the classes, how a grid is cut
    ortho                     open a raster: bands, ground sampling distance, working grid, valid pixels
    models                    the card of a model, its network and its weights
    segment                   windows through the network, blocks into one class raster, plants
    vectors                   class raster to exact polygons
    spray                     cells in the machine's frame, rates, totals
    qgis                      styles, projects and pages to print, written without QGIS
    export, report            files for the terminal and for people
    train                     tile sets, synthetic fields, fit, evaluate
    config, stages, job, cli  one YAML file, the whole run, the command line

Names below are loaded when they are first used, so that ``import geoseg`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.config import Config, load_config
    from geoseg.errors import GeosegError, GeosegWarning
    from geoseg.job import check, prescribe, run, vectorize
    from geoseg.legend import LEGEND
    from geoseg.models import load as load_model
    from geoseg.models.card import ModelCard, Segmenter
    from geoseg.ortho import Ortho, OrthoConfig
    from geoseg.results import Run, open_run

__version__ = "0.1.0"

__all__ = [
    "LEGEND",
    "Config",
    "GeosegError",
    "GeosegWarning",
    "ModelCard",
    "Ortho",
    "OrthoConfig",
    "Run",
    "Segmenter",
    "__version__",
    "check",
    "load_config",
    "load_model",
    "open_run",
    "prescribe",
    "run",
    "vectorize",
]

_LAZY = {
    "LEGEND": "geoseg.legend",
    "Config": "geoseg.config",
    "GeosegError": "geoseg.errors",
    "GeosegWarning": "geoseg.errors",
    "ModelCard": "geoseg.models.card",
    "Ortho": "geoseg.ortho",
    "OrthoConfig": "geoseg.ortho",
    "Run": "geoseg.results",
    "Segmenter": "geoseg.models.card",
    "check": "geoseg.job",
    "load_config": "geoseg.config",
    "load_model": "geoseg.models:load",
    "open_run": "geoseg.results",
    "prescribe": "geoseg.job",
    "run": "geoseg.job",
    "vectorize": "geoseg.job",
}
"""Public name -> module that holds it, with its name there if that differs."""


def __getattr__(name: str) -> Any:
    """The public object `name`, from its module.

    Raises:
        AttributeError: If there is no such name.
    """
    if name not in _LAZY:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    module, _, there = _LAZY[name].partition(":")
    value = getattr(import_module(module), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What is there, loaded or not."""
    return sorted({*globals(), *__all__})
