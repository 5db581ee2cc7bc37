"""A prescription as ISOXML task data for ISOBUS terminals: a grid of rates, or zones. Knows the format, reads nothing.

The grid lies in longitude and latitude, its first row is the southernmost and its first column the westernmost.
Rates are set points of volume per area (DDI 1) in units of 0.01 mm3/m2: 10000 is 1 litre per hectare. Where the
machine has no grid, has lost its position or is outside the field, the rate is 0.

Reference:
    ISO 11783-10:2009 (version 3.3) and ISO 11783-10:2015 (version 4.3); https://www.isobus.net for the dictionary
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.rategrid import RateGrid, sample
from geoseg.export.shapefile import to_lonlat

__all__ = ["make_isoxml"]

_RAW_PER_L_HA = 10_000
_DDI = "0001"
_GRID = "GRD00001"
_DEFAULT, _LOST, _OUTSIDE, _FIRST = 0, 1, 2, 3
_FALLBACKS = {_DEFAULT: "Default", _LOST: "Position lost", _OUTSIDE: "Out of field"}
_DECIMALS = 9


def make_isoxml(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """``TASKDATA.XML`` and what belongs to it.

    The profile's options say which version (``"3.3"`` or ``"4.3"``) and which kind: a grid of numbers (``grid2``), a
    grid of zone codes (``grid1``) or polygons (``zones``).

    Raises:
        PrescriptionError: If a rate or the number of rates is more than the format holds.
    """
    kind = profile.options["kind"]
    major, minor = profile.options["version"].split(".")
    root, task = _task(plan, name, major, minor)
    files: dict[str, bytes] = {}
    if kind == "zones":
        _add_polygons(task, plan, one_exterior=major != "3")
    else:
        grid = sample(plan, profile.limit("cells"))
        files[f"{_GRID}.bin"] = _add_grid(task, grid, type_=2 if kind == "grid2" else 1)
    ET.indent(root, " ")
    files["TASKDATA.XML"] = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return files


def _task(plan: Planned, name: str, major: str, minor: str) -> tuple[ET.Element, ET.Element]:
    """The document with customer, farm, field and product, and the task in it with its fallback zones."""
    import geoseg

    root = ET.Element(
        "ISO11783_TaskData",
        VersionMajor=major,
        VersionMinor=minor,
        ManagementSoftwareManufacturer="geoseg",
        ManagementSoftwareVersion=geoseg.__version__[:32],
        DataTransferOrigin="1",
    )
    ET.SubElement(root, "CTR", A="CTR1", B="geoseg")
    ET.SubElement(root, "FRM", A="FRM1", B="geoseg", I="CTR1")
    area = str(round(plan.boundary.area))
    field = ET.SubElement(root, "PFD", A="PFD1", C=name, D=area, E="CTR1", F="FRM1")
    _add_boundary(field, plan, one_exterior=major != "3")
    ET.SubElement(root, "PDT", A="PDT1", B="Spray liquid")
    ET.SubElement(root, "VPN", A="VPN1", B="0", C="0.0001", D="2", E="l/ha")
    about = {"A": "TSK1", "B": name, "C": "CTR1", "D": "FRM1", "E": "PFD1", "G": "1"}
    about |= {"H": str(_DEFAULT), "I": str(_LOST), "J": str(_OUTSIDE)}
    task = ET.SubElement(root, "TSK", about)
    for code, title in _FALLBACKS.items():
        _add_zone(task, code, title, 0.0)
    return root, task


def _add_zone(task: ET.Element, code: int, title: str, rate: float) -> ET.Element:
    if code > 254:
        raise PrescriptionError(
            "the prescription has more rates than ISOXML has zone codes (254); use a coarser rate step"
        )
    zone = ET.SubElement(task, "TZN", A=str(code), B=title)
    ET.SubElement(zone, "PDV", A=_DDI, B=str(int(_raw(np.array([rate]))[0])), C="PDT1", E="VPN1")
    return zone


def _raw(rates: NDArray[np.float64]) -> NDArray[np.int32]:
    """Rates as set points.

    Raises:
        PrescriptionError: If one is too large for the format.
    """
    raw = np.round(rates * _RAW_PER_L_HA)
    if raw.max() > np.iinfo(np.int32).max:
        most = np.iinfo(np.int32).max / _RAW_PER_L_HA
        raise PrescriptionError(f"the rate {rates.max():g} l/ha is too large for ISOXML; it takes at most {most:,.0f}")
    return raw.astype(np.int32)


def _add_grid(task: ET.Element, grid: RateGrid, type_: int) -> bytes:
    """Put the grid and its zones into the task; returns the bytes of its file."""
    upward = grid.rates[::-1]
    if type_ == 2:
        data = _raw(upward).astype("<i4").tobytes()
        _add_zone(task, _FIRST, "Grid", 0.0)
    else:
        rates, index = np.unique(upward, return_inverse=True)
        for nth, rate in enumerate(rates.tolist()):
            _add_zone(task, _FIRST + nth, f"{rate:g} l/ha", rate)
        data = (index.reshape(-1) + _FIRST).astype(np.uint8).tobytes()
    rows, cols = grid.rates.shape
    about = {
        "A": _degrees(grid.south),
        "B": _degrees(grid.west),
        "C": f"{grid.step_lat:.12f}",
        "D": f"{grid.step_lon:.12f}",
    }
    about |= {"E": str(cols), "F": str(rows), "G": _GRID, "H": str(len(data)), "I": str(type_)}
    ET.SubElement(task, "GRD", about | ({"J": str(_FIRST)} if type_ == 2 else {}))
    return data


def _add_polygons(task: ET.Element, plan: Planned, *, one_exterior: bool) -> None:
    """Put the zones of the plan into the task.

    Version 4 wants one polygon for each outline; it is named by its number in the plan. Version 3 takes one polygon a
    zone, with all outlines of that rate in it.
    """
    zones = plan.zones
    lonlat = to_lonlat(np.asarray(zones.geometry.values), zones.crs)
    numbers, rates = zones["zone"].tolist(), zones["rate_l_ha"].to_numpy(np.float64)
    areas = zones["area_m2"].to_numpy(np.float64)
    for nth, rate in enumerate(np.unique(rates).tolist()):
        zone = _add_zone(task, _FIRST + nth, f"{rate:g} l/ha", rate)
        values = list(zone)
        zone[:] = []
        of_rate = np.flatnonzero(rates == rate).tolist()
        for group in [[at] for at in of_rate] if one_exterior else [of_rate]:
            label = {"B": f"Z{numbers[group[0]]}"} if one_exterior else {}
            outline = ET.SubElement(zone, "PLN", {"A": "2", **label, "C": str(round(areas[group].sum()))})
            for at in group:
                _add_rings(outline, lonlat[at])
        zone.extend(values)


def _add_boundary(field: ET.Element, plan: Planned, *, one_exterior: bool) -> None:
    """The field's outline: version 4 wants a polygon for each part, version 3 takes them in one."""
    boundary = plan.boundary
    parts = shapely.get_parts(boundary)
    lonlat = to_lonlat(parts, plan.zones.crs)
    outline = None
    for part, moved in zip(parts, lonlat, strict=True):
        if outline is None or one_exterior:
            area = part.area if one_exterior else boundary.area
            outline = ET.SubElement(field, "PLN", A="1", C=str(round(area)))
        _add_rings(outline, moved)


def _add_rings(outline: ET.Element, polygon: Any) -> None:
    for nth, ring in enumerate(shapely.get_rings(polygon)):
        line = ET.SubElement(outline, "LSG", A="2" if nth else "1")
        for lon, lat in shapely.get_coordinates(ring).tolist():
            ET.SubElement(line, "PNT", A="2", C=_degrees(lat), D=_degrees(lon))


def _degrees(value: float) -> str:
    return f"{value:.{_DECIMALS}f}"
