"""A shapefile in a flat zip, as the farm clouds take it; written and read back.

A zip from somewhere else may try to write outside its folder or to fill the disk, so names and sizes are looked at
before anything is unpacked.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from geoseg.export.isoxml_reader import read_isoxml
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.shapefile import shapefile_bytes
from geoseg.export.shapefile_reader import read_shapefile
from geoseg.spray.prescription import Prescription

__all__ = ["read_zip", "write_zip"]

_MOST_FILES = 100
_MOST_BYTES = 2**31
_WANTED = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_TASKDATA = (".xml", ".bin")


def write_zip(prescription: Prescription, folder: Path, profile: Profile, name: str) -> list[Path]:
    """Write the zones as ``NAME.zip`` without folders in it; returns the file, which appears when it is whole.

    Raises:
        PrescriptionError: If a limit of the profile, or of the format, does not hold.
    """
    parts = shapefile_bytes(prescription, profile, name)
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / f"{name}.zip", folder / f".{name}.{os.getpid()}.zip"
    try:
        with ZipFile(draft, "w", ZIP_DEFLATED) as archive:
            for part in _WANTED:
                entry = ZipInfo(f"{name}{part}")  # dated 1980, so that the same plan gives the same bytes
                entry.compress_type = ZIP_DEFLATED
                archive.writestr(entry, parts[part])
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return [path]


def read_zip(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about the shapefile or task data in a zip; faults become findings.

    Args:
        path: The ``.zip`` file.
        rate_column: Column with the rates; None: found by its name.
    """
    refused = Readback("zip")
    try:
        with ZipFile(path) as archive, TemporaryDirectory() as folder:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if not _harmless(entries, refused):
                return refused
            for entry in entries:
                name = PurePosixPath(entry.filename.replace("\\", "/")).name
                if Path(name).suffix.lower() in (*_WANTED, *_TASKDATA):
                    (Path(folder) / name).write_bytes(archive.read(entry))
            main = [file for file in Path(folder).iterdir() if file.suffix.lower() in (".shp", ".xml")]
            if len(main) != 1:
                refused.error("zip-content", f"the zip holds {len(main)} .shp or .xml files; expected one")
                return refused
            taskdata = main[0].suffix.lower() == ".xml"
            found = read_isoxml(main[0]) if taskdata else read_shapefile(main[0], rate_column)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error) as error:
        refused.error("unreadable", f"the zip cannot be read: {error}")
        return refused
    if found.format == "ISOXML":
        found.format = "ISOXML in a zip"
        return found
    found.format = "shapefile in a zip"
    nested = [entry.filename for entry in entries if "/" in entry.filename]
    if nested:
        found.warn("zip-folders", f"{len(nested)} files lie in folders, such as {nested[0]}; most clouds want none")
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
