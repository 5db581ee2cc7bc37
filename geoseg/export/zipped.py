"""A shapefile in a flat zip, or task data, as farm clouds and terminals take it; written and unpacked.

A zip from somewhere else may try to write outside its folder or to fill the disk, so names and sizes are looked at
before anything is unpacked.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from geoseg.export.isoxml import make_isoxml
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.shapefile import make_shapefile

__all__ = ["make_zip", "unpack"]

_MOST_FILES = 100
_MOST_BYTES = 2**29


def make_zip(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """``NAME.zip`` with a shapefile, or ``TASKDATA.zip`` with task data, as the profile's options say.

    The option ``inside`` names the folder in the zip.

    Raises:
        PrescriptionError: If a value does not fit the format.
    """
    taskdata = "kind" in profile.options
    inside = make_isoxml(plan, profile, name) if taskdata else make_shapefile(plan, profile, name)
    place = profile.options.get("inside", "")
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for file, data in inside.items():
            entry = ZipInfo(f"{place}/{file}" if place else file)  # dated 1980: the same plan gives the same bytes
            entry.compress_type = ZIP_DEFLATED
            archive.writestr(entry, data)
    return {"TASKDATA.zip" if taskdata else f"{name}.zip": packed.getvalue()}


def unpack(path: Path, folder: Path) -> Readback:
    """Unpack a zip; the readback says with a finding why it was refused.

    Args:
        path: The ``.zip`` file.
        folder: An empty folder.
    """
    found = Readback("zip")
    try:
        with ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if not _harmless(entries, found):
                return found
            for entry in entries:
                target = folder / PurePosixPath(entry.filename.replace("\\", "/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as sink:
                    copyfileobj(source, sink)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, zlib.error) as error:
        found.error("unreadable", f"the zip cannot be read: {error}")
    return found


def _harmless(entries: list[ZipInfo], found: Readback) -> bool:
    names = [PurePosixPath(entry.filename.replace("\\", "/")) for entry in entries]
    climbing = [str(name) for name in names if name.is_absolute() or ".." in name.parts or ":" in str(name)]
    if climbing:
        found.error("zip-path", f"the zip wants to write outside its folder: {climbing[0]!r}")
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_FILES or size > _MOST_BYTES:
        found.error(
            "zip-size", f"the zip would unpack to {len(entries)} files of {size:,} bytes; expected a prescription"
        )
    return not found.findings
