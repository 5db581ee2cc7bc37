"""Readers of other people over our files, and the table of what they say. Run as a script, it prints the table.

    NODE_PATH=/somewhere/node_modules python tests/export_readers.py [--write]

``--write`` puts the table into docs/file_formats.md. The npm packages are `isoxml` and `shapefile`; readers that are
not installed are shown as such.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import rioxarray
import shapefile
import shapely
from pyproj import Geod

from geoseg import export
from geoseg.export.planned import Planned

PAGE = Path(__file__).resolve().parents[1] / "docs" / "file_formats.md"
BLOCK = re.compile(r"(<!-- readers -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_HERE = "not installed"

Sums = tuple[float, float]
"""Litres, and hectares with a rate, as a reader's own numbers add up to."""


def sums_of(frame: gpd.GeoDataFrame, rates: object, crs: object) -> Sums:
    """Sums of polygons in longitude and latitude, on the plane of a CRS."""
    area = frame.to_crs(crs).area.to_numpy() / 1e4
    rates = np.asarray(rates, float)
    return float((area * rates).sum()), float(area[rates > 0].sum())


def sums_of_cells(rates: np.ndarray, south: float, step_lat: float, step_lon: float) -> Sums:
    """Sums of a grid whose first row is the southernmost, on the ellipsoid."""
    geod, area = Geod(ellps="WGS84"), np.empty(len(rates))
    for nth in range(len(rates)):
        low, high = south + nth * step_lat, south + (nth + 1) * step_lat
        box = [0, step_lon, step_lon, 0], [low, low, high, high]
        area[nth] = abs(geod.polygon_area_perimeter(*box)[0]) / 1e4
    return float((rates.sum(axis=1) * area).sum()), float(((rates > 0).sum(axis=1) * area).sum())


def rate_column(profile: export.profiles.Profile) -> str:
    return next(column.name for column in profile.columns if column.kind == "rate")


def one(folder: Path, *patterns: str) -> Path:
    return next(path for pattern in patterns for path in sorted(folder.rglob(pattern)))


# Readers: (folder, profile, plan) -> sums -----------------------------------------------------------------------------


def by_pyogrio(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    path = one(folder, "*.zip", "*.shp", "*.kml", "*.geojson", "*.gpkg", "*.csv")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            inner = next(name for name in archive.namelist() if name.endswith(".shp"))
        frame = pyogrio.read_dataframe(f"/vsizip/{path}/{inner}")
    elif path.suffix == ".csv":
        frame = pyogrio.read_dataframe(path)
        frame = gpd.GeoDataFrame(frame, geometry=shapely.from_wkt(frame["wkt"].to_numpy()), crs=4326)
    else:
        layer = {"layer": "prescription"} if path.suffix == ".gpkg" else {}
        frame = pyogrio.read_dataframe(path, **layer)
    return sums_of(frame, frame[rate_column(profile)].astype(float), plan.zones.crs)


def by_pyshp(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    with shapefile.Reader(str(one(folder, "*.zip", "*.shp"))) as reader:
        polygons = [shapely.geometry.shape(shape.__geo_interface__) for shape in reader.shapes()]
        rates = [record[rate_column(profile)] for record in reader.records()]
    return sums_of(gpd.GeoDataFrame(geometry=polygons, crs=4326), rates, plan.zones.crs)


SHAPEFILE_JS = """
const shapefile = require('shapefile');
shapefile.read(process.argv[2], process.argv[3]).then(found => console.log(JSON.stringify(found)))
  .catch(error => { console.error(error); process.exit(1); });
"""


def by_npm_shapefile(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    with tempfile.TemporaryDirectory() as scratch:
        path = one(folder, "*.zip", "*.shp")
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(scratch)
            path = one(Path(scratch), "*.shp")
        found = node(SHAPEFILE_JS, path, path.with_suffix(".dbf"))
    polygons = [shapely.geometry.shape(feature["geometry"]) for feature in found["features"]]
    rates = [feature["properties"][rate_column(profile)] for feature in found["features"]]
    return sums_of(gpd.GeoDataFrame(geometry=polygons, crs=4326), rates, plan.zones.crs)


def by_world_file(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    with rasterio.Env(GDAL_GEOREF_SOURCES="WORLDFILE"), rasterio.open(one(folder, "*.tif")) as raster:
        affine, rates = raster.transform, raster.read(1)
    return sums_of_cells(rates[::-1], affine.f + len(rates) * affine.e, -affine.e, affine.a)


def by_rioxarray(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    with rioxarray.open_rasterio(one(folder, "*.tif")) as raster:
        rates, x, y = raster.values[0], raster.x.to_numpy(), raster.y.to_numpy()
    step_lon, step_lat = float(np.diff(x).mean()), float(-np.diff(y).mean())
    return sums_of_cells(rates[::-1], float(y[-1]) - step_lat / 2, step_lat, step_lon)


def taskdata(folder: Path, scratch: str) -> Path:
    packed = sorted(folder.rglob("*.zip"))
    if packed:
        with zipfile.ZipFile(packed[0]) as archive:
            archive.extractall(scratch)
        folder = Path(scratch)
    return one(folder, "TASKDATA.XML")


def by_pypi_isoxml(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    from isoxml.converter.np_grid import to_numpy_array
    from isoxml.util.isoxml_io import isoxml_from_path

    with tempfile.TemporaryDirectory() as scratch:
        data, references = isoxml_from_path(taskdata(folder, scratch))
        task = data.tasks[0]
        rate_of = {z.code: z.process_data_variables[0].process_data_value / 1e4 for z in task.treatment_zones}
        if not task.grids:
            return sums_of_zones(task, rate_of, plan)
        grid = task.grids[0]
        cells = to_numpy_array(references[grid.filename], grid)
    rates = np.vectorize(rate_of.get)(cells) if profile.options["kind"] == "grid1" else cells / 1e4
    south, high, wide = (float(v) for v in (grid.minimum_north_position, grid.cell_north_size, grid.cell_east_size))
    return sums_of_cells(np.asarray(rates, float).reshape(len(rates), -1), south, high, wide)


def sums_of_zones(task: object, rate_of: dict[int, float], plan: Planned) -> Sums:
    """Rings as `isoxml` hands them out: shells and holes of a polygon, each hole in the smallest shell around it."""
    polygons, rates = [], []
    for zone in task.treatment_zones:  # type: ignore[attr-defined]
        for outline in zone.polygons:
            rings = [
                (str(getattr(line.type, "value", line.type)), shapely.Polygon([(p.east, p.north) for p in line.points]))
                for line in outline.line_strings
            ]
            area = shapely.Polygon()
            for _, ring in sorted(rings, key=lambda entry: -entry[1].area):  # even and odd: a ring turns what it covers
                area = area.symmetric_difference(shapely.make_valid(ring))
            polygons.append(area)
            rates.append(rate_of[zone.code])
    return sums_of(gpd.GeoDataFrame(geometry=polygons, crs=4326), rates, plan.zones.crs)


ISOXML_JS = """
const fs = require('fs'), {ISOXMLManager} = require('isoxml');
(async () => {
  const manager = new ISOXMLManager();
  await manager.parseISOXMLFile(new Uint8Array(fs.readFileSync(process.argv[2])), 'application/zip');
  const task = manager.rootElement.attributes.Task[0], grid = (task.attributes.Grid || [])[0];
  const zones = task.attributes.TreatmentZone.map(zone => [zone.attributes.TreatmentZoneCode,
    zone.attributes.ProcessDataVariable[0].attributes.ProcessDataValue]);
  const cells = grid && String(grid.attributes.GridType) === '2' ? grid.toGeoJSON(['raw']).features : null;
  const place = grid && [grid.attributes.GridMinimumNorthPosition, grid.attributes.GridMinimumEastPosition,
    grid.attributes.GridCellNorthSize, grid.attributes.GridCellEastSize, grid.attributes.GridMaximumRow,
    grid.attributes.GridMaximumColumn];
  const codes = grid && !cells ? Array.from(grid.binaryData) : null;
  const rings = grid ? null : task.attributes.TreatmentZone.map(zone => (zone.attributes.PolygonTreatmentZoneonly || [])
    .map(polygon => polygon.attributes.LineString.map(line => line.attributes.Point.map(point =>
      [point.attributes.PointEast, point.attributes.PointNorth]))));
  console.log(JSON.stringify({warnings: manager.getWarnings(), zones, place, codes, rings,
    cells: cells && cells.map(cell => [...cell.geometry.coordinates[0][0], cell.properties.raw])}));
})().catch(error => { console.error(error); process.exit(1); });
"""


def by_npm_isoxml(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    with tempfile.TemporaryDirectory() as scratch:
        packed = sorted(folder.rglob("*.zip"))
        path = packed[0] if packed else Path(scratch) / "TASKDATA.zip"
        if not packed:
            with zipfile.ZipFile(path, "w") as archive:
                for file in taskdata(folder, scratch).parent.iterdir():
                    archive.write(file, f"TASKDATA/{file.name}")
        seen = node(ISOXML_JS, path)
    if seen["warnings"]:
        raise AssertionError(seen["warnings"])
    rate_of = {code: value / 1e4 for code, value in seen["zones"]}
    if seen.get("place") is None:
        return sums_of_rings(seen, plan)
    south, west, high, wide, rows, columns = seen["place"]
    if seen.get("codes") is not None:
        rates = np.vectorize(rate_of.get)(np.array(seen["codes"])).reshape(rows, columns)
    else:
        rates = np.zeros((rows, columns))
        for lon, lat, raw in seen["cells"]:
            rates[round((lat - south) / high), round((lon - west) / wide)] = raw / 1e4
    return sums_of_cells(rates, south, high, wide)


def sums_of_rings(seen: dict[str, list], plan: Planned) -> Sums:  # type: ignore[type-arg]
    polygons, rates = [], []
    for (_, value), outlines in zip(seen["zones"], seen["rings"], strict=True):
        for rings in outlines:
            area = shapely.Polygon()
            for ring in sorted(map(shapely.Polygon, rings), key=lambda ring: -ring.area):
                area = area.symmetric_difference(shapely.make_valid(ring))
            polygons.append(area)
            rates.append(value / 1e4)
    return sums_of(gpd.GeoDataFrame(geometry=polygons, crs=4326), rates, plan.zones.crs)


def by_fastkml(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it would rather have lxml
        from fastkml import KML, Placemark
        from fastkml.utils import find_all

    marks = list(find_all(KML.parse(one(folder, "SPRAY.kml")), of_type=Placemark))
    polygons = [shapely.geometry.shape(mark.geometry.__geo_interface__) for mark in marks]
    rates = [float(mark.name.split()[0]) for mark in marks]
    return sums_of(gpd.GeoDataFrame(geometry=polygons, crs=4326), rates, plan.zones.crs)


def by_json(folder: Path, profile: export.profiles.Profile, plan: Planned) -> Sums:
    path = one(folder, "*.geojson", "*_Prescription.json")
    document = json.loads(path.read_text())
    if path.suffix == ".geojson":
        polygons = [shapely.geometry.shape(feature["geometry"]) for feature in document["features"]]
        rates = [feature["properties"]["rate_l_ha"] for feature in document["features"]]
        return sums_of(gpd.GeoDataFrame(geometry=polygons, crs=4326), rates, plan.zones.crs)
    doses = {0: 0.0} | {entry["level"]: 10.0 * entry["dosage"] for entry in document["dataTypeLevel"]}
    rates = np.vectorize(doses.get)(np.array(document["weightData"]).reshape(document["rows"], -1))
    high = (document["originEndLat"] - document["originLat"]) / document["rows"]
    wide = (document["originEndLng"] - document["originLng"]) / document["columns"]
    return sums_of_cells(rates[::-1], document["originLat"], high, wide)


Reader = Callable[[Path, export.profiles.Profile, Planned], Sums]
READERS: dict[str, tuple[str, Reader]] = {
    "pyogrio (GDAL)": ("shapefile zip kml geojson gpkg csv", by_pyogrio),
    "pyshp": ("shapefile zip", by_pyshp),
    "npm shapefile": ("shapefile zip", by_npm_shapefile),
    "GDAL, world file only": ("dji geotiff", by_world_file),
    "rioxarray": ("dji geotiff", by_rioxarray),
    "PyPI isoxml": ("isoxml", by_pypi_isoxml),
    "npm isoxml": ("isoxml", by_npm_isoxml),
    "fastkml": ("kml", by_fastkml),
    "json": ("geojson xag", by_json),
}
NEEDS = {"PyPI isoxml": "isoxml", "fastkml": "fastkml", "npm shapefile": "npm:shapefile", "npm isoxml": "npm:isoxml"}


def readers_of(profile: export.profiles.Profile) -> Iterator[str]:
    """Names of the readers for the files of a profile."""
    format_ = "isoxml" if "kind" in profile.options else profile.format
    for name, (formats, _) in READERS.items():
        if format_ in formats.split():
            yield name


def missing(reader: str) -> str:
    """Why a reader cannot be used here; empty if it can."""
    need = NEEDS.get(reader, "")
    if need.startswith("npm:"):
        package = need.removeprefix("npm:")
        program = shutil.which("node")
        found = program and not subprocess.run(
            [program, "-e", f"require('{package}')"], capture_output=True, check=False
        ).returncode  # fmt: skip
        return "" if found else f"the npm package {package} is not installed where NODE_PATH points"
    return "" if not need or importlib.util.find_spec(need) else f"{need} is not installed"


def node(script: str, *arguments: Path) -> dict:  # type: ignore[type-arg]
    """What a script for node prints as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "read.js"
        path.write_text(script)
        command = [str(shutil.which("node")), str(path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise AssertionError(done.stderr)
    found: dict = json.loads(done.stdout)  # type: ignore[type-arg]
    return found


def expected_sums(report: export.CheckReport) -> Sums:
    """The same sums as our own check has them."""
    facts = next(file.facts for file in report.files if "litres" in file.facts)
    return facts["litres"], facts["treated_ha"]


def agrees(found: Sums, report: export.CheckReport) -> bool:
    """Whether sums are ours, to 0.1 % (0.25 % for cells, whose area is that on the ellipsoid, not on the plane)."""
    grid = any("cell_m" in file.facts for file in report.files)
    return found == pytest.approx(expected_sums(report), rel=2.5e-3 if grid else 1e-3)


def table(plan: Planned) -> Iterator[str]:
    """Profiles x readers as Markdown."""
    names = list(READERS)
    yield "| profile | format | our check | " + " | ".join(names) + " |"
    yield "|" + " --- |" * (3 + len(names))
    gone = {name: missing(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for key in export.profile_names():
            profile, place = export.read_profile(key), Path(folder) / key
            written = export.write(plan, place, key)
            report = export.check(place, written.plan, profile=key, strict=False)
            cells = []
            for name in names:
                if name not in readers_of(profile):
                    cells.append("")
                elif gone[name]:
                    cells.append(NOT_HERE)
                else:
                    cells.append(
                        "agrees" if agrees(READERS[name][1](place, profile, written.plan), report) else "DIFFERS"
                    )
            verdict = "whole" if report.ok else ", ".join(report.codes)
            yield f"| `{key}` | {profile.format} | {verdict} | " + " | ".join(cells) + " |"


def main(arguments: list[str]) -> None:
    """Print the table, or put it into the page."""
    from spray_helpers import plan_of_two_spots

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        lines = list(table(plan_of_two_spots(Path(folder))))
    print("\n".join(lines))  # noqa: T201
    if "--write" in arguments:
        text = PAGE.read_text(encoding="utf-8")
        body = "\n".join(lines)
        PAGE.write_text(BLOCK.sub(lambda match: f"{match[1]}\n{body}\n\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
