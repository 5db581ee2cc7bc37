"""For which terminal a prescription is meant, as far as names tell. Reads nothing but a README.txt."""

from __future__ import annotations

import re
from pathlib import Path

from geoseg.export.profiles import Profile, profile_names, read_profile
from geoseg.export.readback import Readback

__all__ = ["detect", "named_in_readme"]

_README = re.compile(r"^Profile: (\w+)\s*$", re.MULTILINE)
_MOST_README = 100_000
_LAYOUTS = {
    "aggps/prescriptions": "trimble",
    "agdata/prescriptions": "trimble",
    "epro/workorders/rxmaps": "envizio",
    "dados/mapas": "stara",
    "rxmaps": "viper",
    "shapefile": "cnh",
    "shp": "mueller",
    "xag": "xag",
    "rx": "deere",
}
_FORMATS = {
    "shapefile": "generic",
    "rate raster": "geotiff",
    "XAG levels": "xag",
    "GeoPackage": "gpkg",
    "KML": "kml",
    "GeoJSON": "geojson",
    "CSV": "csv",
}


def detect(found: Readback, path: Path, top: Path, packed: Path | None = None) -> tuple[Profile | None, bool]:
    """The profile that a file was written for, and whether that is certain.

    Args:
        found: What was read of it.
        path: The file.
        top: The folder that is checked; no other is looked at above it.
        packed: The zip that it was in.
    """
    named = named_in_readme(packed or path, top)
    if named is not None:
        return read_profile(named), True
    guess = _guess(found, path)
    return (None if guess is None else read_profile(guess)), False


def named_in_readme(path: Path, top: Path) -> str | None:
    """The profile that the README.txt nearest above a file says, up to the folder `top`; None if there is none."""
    for folder in path.parents:
        text = folder / "README.txt"
        if text.is_file() and text.stat().st_size < _MOST_README:
            match = _README.search(text.read_text(encoding="latin-1"))
            return match[1] if match and match[1] in profile_names() else None
        if folder == top:
            return None
    return None


def _guess(found: Readback, path: Path) -> str | None:
    format_ = found.format.removesuffix(" in a zip")
    zipped = format_ != found.format
    if format_ == "ISOXML":
        return _isoxml(found, zipped=zipped)
    if format_ == "field outline":
        return "xag" if path.suffix.lower() == ".kml" else "dji"
    place = path.parent.as_posix().lower()
    layout = next((name for end, name in _LAYOUTS.items() if f"/{place}".endswith(f"/{end}")), None)
    if format_ == "rate raster":
        return "dji" if layout == "deere" else "geotiff"
    if format_ == "shapefile":
        if zipped:
            return "deere_cloud" if layout == "deere" else "cloud"
        columns = [str(column).split()[0] for column in found.facts.get("columns", ())]
        return "aog" if {"ProductA", "ZoneType"} <= set(columns) else layout or "generic"
    return _FORMATS.get(format_)


def _isoxml(found: Readback, *, zipped: bool) -> str:
    if zipped:
        return "isoxml_zip"
    version = "_v3" if found.facts.get("version", "").startswith("3") else "_v4"
    if found.polygons is not None:
        return "isoxml_zones_v3" if version == "_v3" else "isoxml_zones"
    if found.facts.get("grid_type") == 1:
        return "isoxml_codes"
    return "isoxml" if version == "_v3" else "isoxml_v4"
