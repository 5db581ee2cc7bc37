"""``field.gpkg``: layers written batch by batch, with styles, whole or not at all. Knows GeoPackage, not agronomy.

The file is GeoPackage 1.3, which QGIS 3.22 and later open without a warning. It is written under a temporary name
beside its destination and renamed when it is whole, and it holds no time stamp of the run: the same features give the
same bytes. Features are stored in the order of their ids within each batch that was appended.
"""

from __future__ import annotations

import shutil
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.durable import replace_file
from geoseg.errors import InputError
from geoseg.export.columns import LAYERS, Layer
from geoseg.qgis.fieldstyles import LAYER_STYLES, rate_style
from geoseg.qgis.styles import Style
from geoseg.vectors.package import GEOMETRY

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["FieldPackage", "replace_layer"]

EPOCH = "1970-01-01T00:00:00.000Z"
"""Time stamp in every file, so that the same run gives the same bytes."""

_LAYER_STYLES = """
CREATE TABLE IF NOT EXISTS layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)
"""


class FieldPackage:
    """A GeoPackage under construction; use as a context manager.

    Leaving the block without an exception puts the file in place; with one, nothing is left and a former file stays.
    """

    def __init__(
        self,
        path: Path | str,
        crs: Any,
        layers: Mapping[str, Layer] = LAYERS,
        batch: int = 20_000,
        styles: Mapping[str, Style] = LAYER_STYLES,
    ) -> None:
        """Name the file; nothing is written before the block is entered.

        Args:
            path: Where the file will be; must end in ``.gpkg``.
            crs: CRS of all layers in any form that pyproj takes; None for coordinates without one.
            layers: What may be written; every layer exists in the file, also without features.
            batch: Number of features that are collected before they are written.
            styles: How QGIS draws layers of these names.

        Raises:
            InputError: If the name does not end in ``.gpkg``.
        """
        self.path = Path(path)
        if self.path.suffix != ".gpkg":
            raise InputError(f"{path} does not end in .gpkg; a GeoPackage must")
        self._crs = _wkt(crs)
        self._layers = dict(layers)
        self._batch = batch
        self._styles = styles
        self._pending: dict[str, list[tuple[dict[str, NDArray[Any]], NDArray[np.object_]]]] = {}
        self._draft = _draft_path(self.path)

    def __enter__(self) -> Self:
        """Start the temporary file with all layers, empty.

        Raises:
            InputError: If nothing can be written there.
        """
        from pyogrio.errors import DataSourceError

        self.path.parent.mkdir(parents=True, exist_ok=True)
        _remove(self._draft)
        try:
            for layer in self._layers.values():
                empty = {column.name: np.empty(0, _dtype(column.dtype)) for column in layer.columns}
                _write(self._draft, layer, empty, np.empty(0, object), self._crs)
        except DataSourceError as error:
            _remove(self._draft)
            raise InputError(f"{self.path} cannot be written; choose a folder that may be written to") from error
        except BaseException:
            _remove(self._draft)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending and the styles and put the file in place, or remove everything after an exception."""
        try:
            if kind is None:
                for name in self._layers:
                    self._flush(name)
                add_styles(self._draft, {name: self._styles[name] for name in self._layers if name in self._styles})
                replace_file(self._draft, self.path)
        finally:
            _remove(self._draft)

    def append(self, layer: str, columns: Mapping[str, Any], geometry: Any) -> None:
        """Add features to a layer.

        Args:
            layer: Name of the layer.
            columns: Values by column name, each of length n: the layer's columns; optional ones may be missing.
            geometry: n shapely geometries.

        Raises:
            ValueError: If the layer is not known, or columns are missing, too many or of other lengths.
        """
        schema = self._layers.get(layer)
        if schema is None:
            raise ValueError(f"no layer {layer!r}; the layers are {', '.join(self._layers)}")
        if not set(schema.required) <= set(columns) <= set(schema.names):
            raise ValueError(f"layer {layer!r} got columns {sorted(columns)}; expected {sorted(schema.names)}")
        shapes = np.asarray(geometry, dtype=object)
        data = {
            column.name: np.asarray(columns[column.name], _dtype(column.dtype))
            for column in schema.columns
            if column.name in columns
        }
        if any(values.shape != shapes.shape for values in data.values()):
            sizes = {name: values.shape for name, values in data.items()}
            raise ValueError(f"layer {layer!r} got {shapes.shape} geometries and columns of {sizes}")
        pending = self._pending.setdefault(layer, [])
        pending.append((data, shapes))
        if sum(len(part) for _, part in pending) >= self._batch:
            self._flush(layer)

    def write_boundary(self, boundary: shapely.Geometry) -> None:
        """Add the field's boundary, a polygon or multipolygon in the CRS of the file."""
        parts = shapely.multipolygons(shapely.get_parts(boundary))
        self.append("boundary", {"area_m2": [shapely.area(boundary)]}, [parts])

    def _flush(self, name: str) -> None:
        pending = self._pending.pop(name, [])
        if not pending:
            return
        data = {key: np.concatenate([part[key] for part, _ in pending]) for key in pending[0][0]}
        geometry = np.concatenate([shapes for _, shapes in pending])
        for first in range(0, len(geometry), self._batch):
            chosen = slice(first, first + self._batch)
            columns = {key: values[chosen] for key, values in data.items()}
            _write(self._draft, self._layers[name], columns, geometry[chosen], self._crs)


def replace_layer(path: Path | str, name: str, frame: gpd.GeoDataFrame, style: Style | None = None) -> None:
    """Write one more layer into a GeoPackage, or write it anew, in one atomic step.

    A file that holds the very same layer already is left untouched, so that doing it twice gives the same bytes.

    Args:
        path: A GeoPackage.
        name: Name of the layer.
        frame: Its features.
        style: How QGIS draws it; None takes the usual one of a layer of that name, if there is one.

    Raises:
        InputError: If the file is not there.
    """
    import pyogrio

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not there; write the field's layers first")
    if _holds(path, name, frame):
        return
    draft = _draft_path(path)
    try:
        shutil.copyfile(path, draft)
        with _gdal():
            pyogrio.write_dataframe(frame, draft, layer=name, driver="GPKG", layer_options={"GEOMETRY_NAME": GEOMETRY})
        if style := style or _usual_style(name, frame):
            add_styles(draft, {name: style})
        replace_file(draft, path)
    finally:
        _remove(draft)


def _usual_style(name: str, frame: gpd.GeoDataFrame) -> Style | None:
    if name == "prescription" and "rate_l_ha" in frame:
        return rate_style(frame["rate_l_ha"].unique())
    return LAYER_STYLES.get(name)


def _holds(path: Path, name: str, frame: gpd.GeoDataFrame) -> bool:
    """Whether the file has a layer of that name with the features of the frame."""
    import pyogrio

    if name not in pyogrio.list_layers(path)[:, 0]:
        return False
    meta, _, geometry, data = pyogrio.raw.read(path, layer=name)
    columns = [column for column in frame.columns if column != frame.geometry.name]
    return (
        list(meta["fields"]) == columns
        and np.array_equal(geometry, shapely.to_wkb(frame.geometry.to_numpy()))
        and all(np.array_equal(found, frame[column]) for found, column in zip(data, columns, strict=True))
    )


def _draft_path(path: Path) -> Path:
    """The temporary name of a file: hidden, beside it and with its suffix, which GDAL insists on."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


def _write(
    path: Path, layer: Layer, columns: Mapping[str, NDArray[Any]], geometry: NDArray[np.object_], crs: str | None
) -> None:
    from pyogrio.raw import write

    new = not path.exists()
    with _gdal(), warnings.catch_warnings():
        if crs is None:
            warnings.filterwarnings("ignore", message="'crs' was not provided")
        write(
            path,
            shapely.to_wkb(geometry),
            list(columns.values()),
            list(columns),
            layer=layer.name,
            driver="GPKG",
            geometry_type=layer.geometry,
            crs=crs,
            append=not new,
            dataset_options={"VERSION": "1.3"} if new else None,
            layer_options={"GEOMETRY_NAME": GEOMETRY, "SPATIAL_INDEX": "YES", "DESCRIPTION": layer.description},
        )


def add_styles(path: Path, styles: Mapping[str, Style]) -> None:
    """Put styles into the table that QGIS reads, each as the default of its layer."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")  # a draft is made durable once, when it is whole
        database.execute(_LAYER_STYLES)
        database.execute(
            "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, last_change) VALUES (?, ?, ?, ?)",
            ("layer_styles", "attributes", "layer_styles", EPOCH),
        )
        for name, style in styles.items():
            database.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (name,))
            database.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, styleSLD, useAsDefault, description, owner, update_time) VALUES"
                " ('', '', ?, ?, ?, ?, '', 1, 'geoseg', '', ?)",
                (name, GEOMETRY, name, style.qml(), EPOCH),
            )


def _dtype(name: str) -> Any:
    return object if name == "str" else np.dtype(name)


def _wkt(crs: Any) -> str | None:
    import pyproj

    return None if crs is None else pyproj.CRS.from_user_input(crs).to_wkt("WKT1_GDAL")


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _gdal() -> Iterator[None]:
    """GDAL writes `EPOCH` where it would write the time of day, and leaves it to us to make a draft durable."""
    import pyogrio

    options = {"OGR_CURRENT_DATE": EPOCH, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(options)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
