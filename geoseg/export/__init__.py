"""From a prescription to files that machines and people read, and back to check them.

`profiles` is the table of terminals; each format has one module; `fit` makes a plan suit a terminal's limits; `check`
reads every file back with other libraries than those that wrote it. `geopackage` writes the layers for QGIS.
"""

from __future__ import annotations

from geoseg.export.check import CheckReport, check
from geoseg.export.coarsen import Loss
from geoseg.export.profiles import profile_names, read_profile
from geoseg.export.writing import Written, write

__all__ = ["CheckReport", "Loss", "Written", "check", "profile_names", "read_profile", "write"]
