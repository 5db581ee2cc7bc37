"""The folder that goes on the stick: files that fit the terminal, and README.txt. Knows which writer makes what."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from geoseg.errors import GeosegWarning, PrescriptionError
from geoseg.export.coarsen import Loss
from geoseg.export.compare_grid import compare_grid
from geoseg.export.fit import Fitted, Maker, fit
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile, read_profile
from geoseg.export.putting import put
from geoseg.export.rategrid import usual_side_m
from geoseg.export.readback import Readback
from geoseg.export.readers import is_prescription, read
from geoseg.export.readme import readme
from geoseg.export.zipped import unpack
from geoseg.qgis.fieldstyles import rate_raster_style, rate_style

__all__ = ["FORMATS", "Written", "fitted_plan", "write"]

FORMATS = ("shapefile", "zip", "isoxml", "dji", "xag", "geotiff", "gpkg", "kml", "geojson", "csv")
"""Formats that there is a writer for."""


@dataclass(frozen=True)
class Written:
    """An export.

    Attributes:
        files: What was written, README.txt last.
        plan: What the files hold: the plan, or a coarser one where the terminal takes no more.
        loss: What being coarser costs; None where nothing was changed.
    """

    files: tuple[Path, ...]
    plan: Planned
    loss: Loss | None


def write(
    prescription: Planned,
    folder: Path | str,
    profile: Profile | str = "generic",
    *,
    name: str = "SPRAY",
    nominal: bool = False,
    force: bool = False,
) -> Written:
    """Write a prescription for a terminal, with a README.txt; `check` then reads it back.

    Where a limit of the terminal does not hold, the prescription is made coarser until it does: nothing is treated
    less, what is treated more is stated in README.txt, in the result and in a `GeosegWarning`.

    Args:
        prescription: What to write.
        folder: Where; it is made. The profile's own folders come below it.
        profile: A terminal, or its name in the table.
        name: Base name of the files, ASCII capitals and digits; most terminals stop at 8 characters.
        nominal: The map's position was invented, because the ortho had none.
        force: Write although it was.

    Raises:
        PrescriptionError: If the position is nominal, the profile is unknown, or a limit cannot be met by a coarser
            prescription.
    """
    if nominal and not force:
        raise PrescriptionError(
            "the position of this map is nominal: nobody can tell where on the ground this prescription would spray; "
            "export the ortho with coordinates"
        )
    terminal = read_profile(profile) if isinstance(profile, str) else profile
    folder = Path(folder)
    fitted = fit(prescription, terminal, name, _maker(terminal.format))
    files: list[Path] = []
    for place in terminal.folders:
        stale = (folder / place).glob("GRD*.bin") if terminal.format == "isoxml" else ()
        files += put(fitted.files, folder / place, stale)
    if terminal.options.get("style") == "qml":
        style = {f"{name}.qml": _style(fitted.plan, terminal)}
        files += [file for place in terminal.folders for file in put(style, folder / place)]
    grid = _grid_in(files, fitted.plan)
    loss = fitted.loss or (None if grid is None else _grid_loss(grid, fitted, terminal))
    text = readme(fitted.plan, terminal, name, grid, loss).encode("ascii")
    files += put({"README.txt": text}, folder)
    if loss is not None:
        warnings.warn(f"{terminal.name}: {'; '.join(loss.lines())}", GeosegWarning, stacklevel=2)
    return Written(tuple(files), fitted.plan, loss)


def fitted_plan(prescription: Planned, profile: Profile | str, name: str = "SPRAY") -> Planned:
    """What `write` would write: the plan, or a coarser one where the terminal takes no more."""
    terminal = read_profile(profile) if isinstance(profile, str) else profile
    return fit(prescription, terminal, name, _maker(terminal.format)).plan


def _style(plan: Planned, profile: Profile) -> bytes:
    """How QGIS draws the file; beside it only where the profile asks for it, since a terminal may stumble over it."""
    rate_column = next((column.name for column in profile.columns if column.kind == "rate"), None)
    style = rate_raster_style(plan.rates) if rate_column is None else rate_style(plan.rates, rate_column)
    return style.qml().encode()


def _maker(format_: str) -> Maker:
    from geoseg.export.csvtable import make_csv
    from geoseg.export.dji import make_dji
    from geoseg.export.geojson import make_geojson
    from geoseg.export.geotiff import make_geotiff
    from geoseg.export.gpkg import make_gpkg
    from geoseg.export.isoxml import make_isoxml
    from geoseg.export.kml import make_kml
    from geoseg.export.shapefile import make_shapefile
    from geoseg.export.xag import make_xag
    from geoseg.export.zipped import make_zip

    makers: tuple[Maker, ...] = (
        make_shapefile, make_zip, make_isoxml, make_dji, make_xag, make_geotiff, make_gpkg, make_kml, make_geojson,
        make_csv,
    )  # fmt: skip
    return dict(zip(FORMATS, makers, strict=True))[format_]


def _grid_in(files: list[Path], plan: Planned) -> Readback | None:
    """What the first file with a grid holds, and how it differs from the plan."""
    with TemporaryDirectory() as folder:
        unpacked = []
        for file in files:
            if file.suffix == ".zip":
                unpack(file, Path(folder))
                unpacked += sorted(Path(folder).rglob("*"))
        for file in filter(is_prescription, [*files, *unpacked]):
            found = read(file)
            if found.grid is not None:
                compare_grid(found, plan, None)
                return found
    return None


def _grid_loss(written: Readback, fitted: Fitted, profile: Profile) -> Loss | None:
    """What a grid costs that is coarser than usual, because the terminal takes no finer one."""
    facts, usual = written.facts, usual_side_m(fitted.plan)
    side = max(facts["cell_m"])
    if side < 1.05 * usual:
        return None
    reason = fitted.reason or f"{profile.title} takes at most {profile.limit('cells') or 0:,} cells of a grid"
    if fixed := profile.options.get("cell_m"):
        reason = f"{profile.title} take cells of {fixed} m"
    zones, rates = len(fitted.plan.zones), len(fitted.plan.rates)
    return Loss(
        reason=reason,
        polygons=(zones, zones),
        rates=(rates, rates),
        detail=f"cells of the grid: {usual:.3f} m before, {side:.3f} m now",
        over_treated_m2=facts["over_treated_m2"],
        over_treated_litres=facts["over_treated_litres"],
        under_treated_m2=facts["under_treated_m2"],
    )
