"""The environment of a child process: that of QGIS without what QGIS sets for its own Python, GDAL and PROJ."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["child_environment", "qgis_roots"]

FOREIGN = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__",
    "GDAL_DATA", "GDAL_DRIVER_PATH", "GDAL_PYTHON_DRIVER_PATH", "GEOTIFF_CSV", "PROJ_DATA", "PROJ_LIB",
    "QT_PLUGIN_PATH", "QT_QPA_PLATFORM_PLUGIN_PATH", "QML_IMPORT_PATH", "QML2_IMPORT_PATH",
)  # fmt: skip
"""Variables that lead another Python, GDAL or PROJ to the files of QGIS."""
SEARCHED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH")
"""Lists of folders, of which those that belong to QGIS are taken out."""
_OWN = {
    "PYTHONIOENCODING": "utf-8",
    "PYTHONUTF8": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",  # a folder called geoseg where QGIS was started is not the package
}
SYSTEM = ("/", "/usr", "/usr/local", "/opt", "/opt/homebrew")
"""Prefixes that are no bundle: a QGIS installed there shares its folders with everything else."""


def qgis_roots(environ: Mapping[str, str], prefix: str = "") -> list[str]:
    """The folders that are QGIS and nothing else, such as an OSGeo4W tree, a mounted AppImage or QGIS.app.

    Args:
        environ: The environment of QGIS.
        prefix: What QGIS calls its prefix path.
    """
    found = [environ.get(name, "") for name in ("OSGEO4W_ROOT", "APPDIR", "SNAP")]
    bundle, mark, _ = prefix.replace("\\", "/").partition(".app/Contents")
    found.append(bundle + ".app" if mark else prefix)
    roots = [os.path.normcase(os.path.normpath(path)) for path in found if path]
    return [root for root in dict.fromkeys(roots) if root not in SYSTEM]


def child_environment(environ: Mapping[str, str], command: str, prefix: str = "") -> dict[str, str]:
    """The environment for a Python that is not that of QGIS.

    Args:
        environ: The environment of QGIS.
        command: The program that is started; its own folder stays on the search path.
        prefix: What QGIS calls its prefix path.
    """
    clean = {name: value for name, value in environ.items() if name.upper() not in FOREIGN}
    roots, own = qgis_roots(environ, prefix), os.path.normcase(os.path.dirname(command))  # noqa: PTH120 - text in, text out
    for name in SEARCHED:
        if name not in clean:
            continue
        parts = clean[name].split(os.pathsep)
        kept = [part for part in parts if part and (os.path.normcase(part) == own or not _inside(part, roots))]
        if name != "PATH":
            kept = [part for part in kept if "/grass" not in part.replace("\\", "/")]  # Debian's start script adds it
        if kept:
            clean[name] = os.pathsep.join(kept)
        elif name != "PATH":
            del clean[name]
    if sys.platform == "win32":
        clean = _with_conda(clean, Path(command))
    return clean | _OWN


def _inside(part: str, roots: list[str]) -> bool:
    path = os.path.normcase(os.path.normpath(part))
    return any(path == root or path.startswith(root + os.sep) for root in roots)


def _with_conda(environ: dict[str, str], command: Path) -> dict[str, str]:
    """An environment of conda finds its libraries on Windows only through PATH."""
    for folder in command.parents[:2]:
        if (folder / "conda-meta").is_dir():
            places = [folder, folder / "Library" / "bin", folder / "Scripts"]
            path = os.pathsep.join([*map(str, places), environ.get("PATH", "")])
            return environ | {"PATH": path, "CONDA_PREFIX": str(folder)}
    return environ
