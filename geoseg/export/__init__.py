"""From a prescription to files that machines and people read, and back to check them.

`profiles` is the table of terminals; each format has one module; `check` reads every file back with other libraries
than those that wrote it. `geopackage` writes the layers for QGIS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import PrescriptionError
from geoseg.export.check import CheckReport, check, is_prescription, read
from geoseg.export.compare_grid import compare_grid
from geoseg.export.profiles import profile_names, read_profile

if TYPE_CHECKING:
    from geoseg.export.readback import Readback
    from geoseg.spray.prescription import Prescription

__all__ = ["CheckReport", "check", "profile_names", "read_profile", "write"]


def write(
    prescription: Prescription,
    folder: Path | str,
    profile: str = "generic",
    *,
    name: str = "SPRAY",
    nominal: bool = False,
    force: bool = False,
) -> list[Path]:
    """Write a prescription for a terminal, with a README.txt; `check` then reads it back.

    Args:
        prescription: What to write.
        folder: Where; it is made. The profile's own folders come below it.
        profile: Name in the table of terminals.
        name: Base name of the files, ASCII capitals and digits; most terminals stop at 8 characters.
        nominal: The map's position was invented, because the ortho had none.
        force: Write although it was.

    Returns:
        The files, README.txt last.

    Raises:
        PrescriptionError: If the position is nominal, the profile is unknown or one of its limits does not hold.
    """
    if nominal and not force:
        raise PrescriptionError(
            "the position of this map is nominal: nobody can tell where on the ground this prescription would spray; "
            "export the ortho with coordinates"
        )
    from geoseg.export.csvtable import write_csv
    from geoseg.export.dji import write_dji
    from geoseg.export.geojson import write_geojson
    from geoseg.export.isoxml import write_isoxml
    from geoseg.export.readme import readme
    from geoseg.export.shapefile import write_shapefile
    from geoseg.export.zipped import write_zip

    terminal, folder = read_profile(profile), Path(folder)
    writers = {
        "shapefile": write_shapefile,
        "geojson": write_geojson,
        "zip": write_zip,
        "isoxml": write_isoxml,
        "dji": write_dji,
        "csv": write_csv,
    }
    files: list[Path] = []
    for place in terminal.folders:
        files += writers[terminal.format](prescription, folder / place, terminal, name)
    text = folder / "README.txt"
    text.write_text(readme(prescription, terminal, name, _grid_in(files, prescription)), encoding="ascii", newline="")
    return [*files, text]


def _grid_in(files: list[Path], prescription: Prescription) -> Readback | None:
    """What the first file with a grid holds, and how it differs from the plan."""
    for file in files:
        if not is_prescription(file):
            continue
        found = read(file)
        if found.grid is not None:
            compare_grid(found, prescription, None)
            return found
    return None
