#!/usr/bin/env python3
"""Make the plugin's zip: ``python qgis_plugin/build.py OUT.zip``. The same files give the same bytes.

With ``--catalogue`` it first writes the list of machines and terminals anew, from the geoseg of this Python.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLUGIN = "geoseg_qgis"
KINDS = {".py", ".json", ".svg", ".txt"}


def catalogue() -> dict[str, dict[str, str]]:
    """Machines and terminals of the geoseg that is installed here, name to title."""
    from geoseg.export.profiles import profile_names, read_profile
    from geoseg.spray.machine import machine_names, read_machine

    return {
        "machines": {name: read_machine(name).title for name in machine_names()},
        "profiles": {
            name: profile.title + (" (EXPERIMENTAL)" if profile.experimental else "")
            for name, profile in ((name, read_profile(name)) for name in profile_names())
        },
    }


def build(out: Path) -> list[str]:
    """Write the zip and return the names in it."""
    files = {
        f"{PLUGIN}/{path.relative_to(HERE / PLUGIN).as_posix()}": path
        for path in (HERE / PLUGIN).rglob("*")
        if path.suffix in KINDS and "__pycache__" not in path.parts
    }
    files[f"{PLUGIN}/LICENSE"] = HERE.parent / "LICENSE"
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, files[name].read_bytes().replace(b"\r\n", b"\n"))
    return sorted(files)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.zip")
    parser.add_argument("--catalogue", action="store_true", help="write the list of machines and terminals anew")
    options = parser.parse_args()
    if options.catalogue:
        text = json.dumps(catalogue(), indent=2, ensure_ascii=False) + "\n"
        (HERE / PLUGIN / "core" / "catalogue.json").write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(build(options.out))} files in {options.out}")


if __name__ == "__main__":
    main()
