"""Which reader takes which file. Knows names of files and folders, not what is in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from geoseg.errors import PrescriptionError
from geoseg.export.csvtable import read_csv
from geoseg.export.detect import named_in_readme
from geoseg.export.dji_reader import read_dji
from geoseg.export.geojson import read_geojson
from geoseg.export.gpkg import read_gpkg
from geoseg.export.isoxml_reader import read_isoxml
from geoseg.export.kml import read_kml
from geoseg.export.outline import is_outline, read_outline
from geoseg.export.readback import Readback
from geoseg.export.shapefile_reader import read_shapefile
from geoseg.export.xag_reader import read_xag

__all__ = ["KINDS", "is_prescription", "read"]

_Reader = Callable[[Path, str | None], Readback]
_READERS: dict[str, _Reader] = {
    ".shp": read_shapefile,
    ".csv": read_csv,
    ".geojson": read_geojson,
    ".kml": read_kml,
    ".gpkg": read_gpkg,
    ".tif": lambda path, _: read_dji(path),
    ".tiff": lambda path, _: read_dji(path),
    ".json": lambda path, _: read_xag(path),
}
_TASKDATA = "taskdata.xml"
_FIELD_LAYERS = "field.gpkg"
_HEAD_BYTES = 4096

KINDS = (*_READERS, ".zip", _TASKDATA.upper())
"""What can be read: suffixes and names."""


def read(path: Path, rate_column: str | None = None) -> Readback:
    """What a prescription file holds, with its faults as findings.

    Args:
        path: A file of a kind that is known.
        rate_column: Column with the rates; None: found by its name.

    Raises:
        PrescriptionError: If the kind of file is not known, or it cannot be opened.
    """
    reader = _reader(path)
    if reader is None:
        raise PrescriptionError(f"{path.name} is no prescription; expected {', '.join(KINDS)}")
    try:
        return reader(path, rate_column)
    except OSError as error:
        raise PrescriptionError(f"{path} cannot be read: {error.strerror or error}") from error


def is_prescription(path: Path) -> bool:
    """Whether a file in a folder looks like a prescription, and not like any other table, raster or document."""
    if not path.is_file() or path.name.startswith(".") or _reader(path) is None:
        return False
    suffix, folder = path.suffix.lower(), path.parent.name.lower()
    if suffix in (".tif", ".tiff"):
        return folder == "rx" or path.with_suffix(".tfw").is_file()
    if suffix == ".csv":
        with path.open("rb") as file:
            outlined = b"wkt" in file.read(_HEAD_BYTES).split(b"\n")[0].lower()
        return outlined or named_in_readme(path, path.parent) == "csv"  # also one that is damaged
    if suffix == ".json":
        return folder == "xag" or path.stem.lower().endswith("_prescription")
    return path.name.lower() != _FIELD_LAYERS


def _reader(path: Path) -> _Reader | None:
    if is_outline(path):
        return lambda file, _: read_outline(file)
    if path.name.lower() == _TASKDATA:
        return lambda file, _: read_isoxml(file)  # rates have a dictionary number, no column
    return _READERS.get(path.suffix.lower())
