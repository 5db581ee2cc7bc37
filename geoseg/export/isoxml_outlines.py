"""Outlines of fields and zones in ISOXML, read back as polygons for the checker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import shapely

from geoseg.export.readback import Readback

__all__ = ["Outline", "read_outlines"]

_POINT_TYPES = {"3": 9, "4": 11}
_AREAS = ("1", "2")  # field boundary, treatment zone


@dataclass(frozen=True)
class Outline:
    """A polygon and its name."""

    name: str
    polygon: Any


def read_outlines(owner: ET.Element, found: Readback) -> list[Outline]:
    """The outlines right below a field or zone; faults become findings."""
    major = str(found.facts.get("version", "3"))[0]
    outlines = []
    for element in owner.findall("PLN"):
        if element.get("A") not in _AREAS:
            continue
        lines = element.findall("LSG")
        shells = [ring for line in lines if line.get("A") == "1" for ring in _ring(line, major, found)]
        holes = [ring for line in lines if line.get("A") == "2" for ring in _ring(line, major, found)]
        if not shells:
            found.error("polygon-exterior", f"an outline of {owner.tag} {owner.get('A', '')[:40]} has no exterior")
            continue
        if len(shells) > 1 and major == "4":
            found.error("polygon-exterior", f"an outline has {len(shells)} exteriors; version 4 wants one")
        polygon = _polygon(shells, holes)
        if not polygon.is_valid:
            reason = shapely.is_valid_reason(polygon)
            found.warn("outline-invalid", f"an outline of {owner.tag} {owner.get('A', '')[:40]} is not valid: {reason}")
        outlines.append(Outline(element.get("B", ""), polygon))
    return outlines


def _polygon(shells: list[Any], holes: list[Any]) -> Any:
    """The rings as one area; each hole belongs to the smallest shell around it, because a hole may hold a shell."""
    if len(shells) == 1:
        return shapely.Polygon(shells[0], holes)
    around: Any = shapely.polygons(shells)
    tree, size = shapely.STRtree(around), shapely.area(around)
    points = shapely.point_on_surface(shapely.polygons(holes)) if holes else []
    own: list[list[Any]] = [[] for _ in shells]
    for hole, point in zip(holes, points, strict=True):
        within = tree.query(point, predicate="within")
        if within.size:
            own[int(within[np.argmin(size[within])])].append(hole)
    parts = [shapely.Polygon(shell, inner) for shell, inner in zip(shells, own, strict=True)]
    whole: Any = shapely.multipolygons(parts)
    return whole if whole.is_valid else shapely.union_all(shapely.make_valid(parts))


def _ring(line: ET.Element, major: str, found: Readback) -> Iterator[Any]:
    """The line as a closed ring, if it is one."""
    points = []
    for point in line.findall("PNT"):
        kind = point.get("A", "")
        if not (kind.isdecimal() and 1 <= int(kind[:4]) <= _POINT_TYPES.get(major, 11)):
            message = f"points have the type {kind[:10]!r}, which version {major} does not know"
            if all(finding.code != "point-type" for finding in found.findings):
                found.warn("point-type", message)
        try:
            lat, lon = float(point.get("C", "")), float(point.get("D", ""))
        except ValueError:
            lat = lon = float("nan")
        if not (-90 <= lat <= 90 and -180 <= lon <= 180):
            found.error(
                "not-degrees", f"a point is at {point.get('C')!s:.40}, {point.get('D')!s:.40}; expected degrees"
            )
            return
        points.append((lon, lat))
    if len(set(points)) < 3:
        found.error("polygon-points", f"a ring has {len(set(points))} different points; expected three or more")
        return
    yield shapely.linearrings(points if points[0] == points[-1] else [*points, points[0]])
