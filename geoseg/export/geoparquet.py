"""``plants.parquet``: plants of both classes with their outlines and all attributes as GeoParquet 1.1, streamed.

Row groups are read from ``field.gpkg`` and written one by one. The box of every outline is a column of its own, so that
a reader can leave out row groups that lie elsewhere.

Reference:
    GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.durable import drafted
from geoseg.errors import InputError
from geoseg.export.columns import LAYERS
from geoseg.vectors.package import shapes_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["write_geoparquet"]

_GROUP = 100_000
_POINT_COLUMNS = LAYERS["plants"].columns
_NULLABLE = {column.name for column in _POINT_COLUMNS if column.optional}


def write_geoparquet(package: Path, out: Path, group: int = _GROUP) -> int:
    """Write the plants of a field as GeoParquet and give their number.

    Args:
        package: ``field.gpkg`` with points and outlines of plants.
        out: The file to write.
        group: Plants in a row group.

    Raises:
        InputError: If pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(
            "GeoParquet needs pyarrow: pip install 'geoseg[geoparquet]', or set plants.geoparquet=false"
        ) from error
    count = 0
    with drafted(out) as draft, closing(sqlite3.connect(package)) as database:
        rows = _rows(database)
        schema = _schema()
        with pq.ParquetWriter(draft, schema, compression="zstd", store_schema=True) as writer:
            while found := rows.fetchmany(group):
                writer.write_table(_table(found, schema), row_group_size=group)
                count += len(found)
            writer.add_key_value_metadata({"geo": json.dumps(_geo(package))})
    return count


def _rows(database: sqlite3.Connection) -> sqlite3.Cursor:
    """Attributes of all plants in the order of their outlines; those of rows are null for weeds."""
    for table in ("plants", "weed_plants"):
        database.execute(f"CREATE TEMP TABLE {table}_by_id AS SELECT plant_id, fid FROM main.{table}")
        database.execute(f"CREATE INDEX temp.{table}_index ON {table}_by_id (plant_id, fid)")
    names = [column.name for column in _POINT_COLUMNS if column.name not in ("plant_id", "class")]
    columns = [
        f"plants.{name}" if name in _NULLABLE else f"coalesce(plants.{name}, weed_plants.{name})" for name in names
    ]
    return database.execute(
        f'SELECT outline.plant_id, outline."class", {", ".join(columns)}, outline.geom FROM plant_outlines AS outline '
        "LEFT JOIN plants_by_id AS one ON one.plant_id = outline.plant_id LEFT JOIN plants ON plants.fid = one.fid "
        "LEFT JOIN weed_plants_by_id AS two ON two.plant_id = outline.plant_id "
        "LEFT JOIN weed_plants ON weed_plants.fid = two.fid ORDER BY outline.fid"
    )


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"int64": pa.int64(), "float64": pa.float64(), "str": pa.string()}
    fields = [pa.field(column.name, kinds[column.dtype]) for column in _POINT_COLUMNS]
    box = pa.struct([pa.field(side, pa.float64(), False) for side in ("xmin", "ymin", "xmax", "ymax")])
    return pa.schema([*fields, pa.field("bbox", box, False), pa.field("geometry", pa.binary(), False)])


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    *columns, blobs = zip(*rows, strict=True)
    shapes = shapes_of(blobs)
    sides = shapely.bounds(shapes).T
    arrays = [pa.array(values, field.type) for values, field in zip(columns, list(schema)[:-2], strict=True)]
    box = pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(schema.field("bbox").type))
    return pa.table([*arrays, box, pa.array(shapely.to_wkb(shapes), pa.binary())], schema)


def _geo(package: Path) -> dict[str, Any]:
    """The file's metadata: where the geometry is and in which CRS."""
    import pyogrio
    import pyproj

    info = pyogrio.read_info(package, layer="plant_outlines", force_total_bounds=True)
    cover = {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"],
        "crs": None if info["crs"] is None else pyproj.CRS.from_user_input(info["crs"]).to_json_dict(),
        "covering": {"bbox": cover},
    }
    if info["features"]:
        column["bbox"] = [float(side) for side in info["total_bounds"]]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
