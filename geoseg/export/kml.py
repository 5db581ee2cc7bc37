"""A prescription as KML, for globes, phones and farm programs; written and read back.

One placemark a zone with its rate in the name, coloured by rate; rate, zone number and area as data of a schema, which
GIS programs read as columns. Longitude first on WGS84, nine decimals, shells counter-clockwise.

Reference:
    OGC 12-007r2, KML 2.3, https://docs.ogc.org/is/12-007r2/12-007r2.html
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import shapely

from geoseg.export.attributes import rate_colours
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.reading import read_features, take_polygons, take_rates
from geoseg.export.safexml import parse_xml
from geoseg.export.shapefile import to_lonlat

__all__ = ["make_kml", "outline_kml", "read_kml"]

_DECIMALS = 9
_MOST_BYTES = 256_000_000
_NAMESPACE = "http://www.opengis.net/kml/2.2"
_OPAQUE, _CLEAR = "FF", "99"


def make_kml(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """The zones as placemarks."""
    zones = plan.zones
    root, document = _document(name)
    for nth, (rate, colour) in enumerate(rate_colours(zones["rate_l_ha"]).items()):
        _add_style(document, nth, colour, fill=rate > 0)
    styles = {rate: nth for nth, rate in enumerate(plan.rates)}
    schema = ET.SubElement(document, "Schema", name="zones", id="zones")
    for column in profile.columns:
        ET.SubElement(schema, "SimpleField", name=column.name, type="double" if column.decimals else "int")
    table = [(column, zones[column.source].tolist()) for column in profile.columns]
    lonlat = shapely.orient_polygons(to_lonlat(np.asarray(zones.geometry.values), zones.crs))
    for nth, (polygon, rate) in enumerate(zip(lonlat, zones["rate_l_ha"].tolist(), strict=True)):
        mark = ET.SubElement(document, "Placemark")
        ET.SubElement(mark, "name").text = f"{rate:g} l/ha"
        ET.SubElement(mark, "styleUrl").text = f"#rate{styles[rate]}"
        data = ET.SubElement(ET.SubElement(mark, "ExtendedData"), "SchemaData", schemaUrl="#zones")
        for column, values in table:
            ET.SubElement(data, "SimpleData", name=column.name).text = f"{values[nth]:.{column.decimals}f}"
        _add_polygon(mark, polygon)
    return {f"{name}.kml": _bytes(root)}


def outline_kml(polygons: Iterable[Any], name: str) -> bytes:
    """Polygons in longitude and latitude as placemarks right below the document, without anything else."""
    root, document = _document(name)
    for polygon in polygons:
        mark = ET.SubElement(document, "Placemark")
        ET.SubElement(mark, "name").text = name
        _add_polygon(mark, polygon)
    return _bytes(root)


def _document(name: str) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("kml", xmlns=_NAMESPACE)
    document = ET.SubElement(root, "Document")
    ET.SubElement(document, "name").text = name
    return root, document


def _add_style(document: ET.Element, nth: int, colour: tuple[int, int, int], *, fill: bool) -> None:
    """KML writes a colour as opacity, blue, green, red."""
    style, hexadecimal = ET.SubElement(document, "Style", id=f"rate{nth}"), "{2:02X}{1:02X}{0:02X}".format(*colour)
    line = ET.SubElement(style, "LineStyle")
    ET.SubElement(line, "color").text = _OPAQUE + hexadecimal
    ET.SubElement(line, "width").text = "1"
    surface = ET.SubElement(style, "PolyStyle")
    ET.SubElement(surface, "color").text = _CLEAR + hexadecimal
    ET.SubElement(surface, "fill").text = str(int(fill))


def _add_polygon(mark: ET.Element, polygon: Any) -> None:
    element = ET.SubElement(mark, "Polygon")
    for nth, ring in enumerate(shapely.get_rings(polygon)):
        side = ET.SubElement(element, "innerBoundaryIs" if nth else "outerBoundaryIs")
        points = shapely.get_coordinates(ring).tolist()
        text = " ".join(f"{lon:.{_DECIMALS}f},{lat:.{_DECIMALS}f}" for lon, lat in points)
        ET.SubElement(ET.SubElement(side, "LinearRing"), "coordinates").text = text


def _bytes(root: ET.Element) -> bytes:
    ET.indent(root, " ")
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True))


def read_kml(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about a KML prescription, read by GDAL; faults become findings.

    Args:
        path: The file.
        rate_column: Name of the data with the rates; None: ``rate_l_ha`` or ``rate``.
    """
    found = Readback("KML", crs=4326)
    root = parse_xml(path, found, _MOST_BYTES)
    if root is None:
        return found
    if root.tag.rpartition("}")[2].rpartition(":")[2] != "kml":
        found.error("not-kml", f"the root is {root.tag[:40]!r}; expected kml")
        return found
    read = read_features(path, found)
    if read is not None:
        found.crs = 4326  # KML has no other
        take_rates(read[1], rate_column, found)
        take_polygons(read[0], found)
        _check_texts(root, found)
    return found


def _check_texts(root: ET.Element, found: Readback) -> None:
    """Whether every rate is a number: GDAL takes a text that is none for 0."""
    wanted, bad = found.facts.get("rate_column"), 0
    for element in root.iter():
        if element.tag.rpartition("}")[2].rpartition(":")[2] == "SimpleData" and element.get("name") == wanted:
            try:
                float(element.text or "")
            except ValueError:
                bad += 1
    if bad:
        found.error("rate-missing", f"{bad} placemarks have no number in {wanted}")
