"""The Processing provider ``geoseg``."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from geoseg_qgis.algorithms.adapt import AdaptAlgorithm, CheckAlgorithm
from geoseg_qgis.algorithms.base import ICON
from geoseg_qgis.algorithms.export import ExportAlgorithm
from geoseg_qgis.algorithms.labels import LabelsCheckAlgorithm
from geoseg_qgis.algorithms.prescribe import PrescribeAlgorithm
from geoseg_qgis.algorithms.run import RunAlgorithm, SegmentAlgorithm
from geoseg_qgis.settings import SETTING, executable

__all__ = ["GeosegProvider"]

ALGORITHMS = (
    RunAlgorithm, SegmentAlgorithm, PrescribeAlgorithm, ExportAlgorithm, CheckAlgorithm, AdaptAlgorithm,
    LabelsCheckAlgorithm,
)  # fmt: skip


class GeosegProvider(QgsProcessingProvider):
    """The algorithms, and the setting on Processing's options page."""

    def id(self) -> str:
        """The part of an algorithm's id before the colon."""
        return "geoseg"

    def name(self) -> str:
        """What the toolbox shows."""
        return "geoseg"

    def longName(self) -> str:  # noqa: N802
        """The name with what it is for."""
        return "geoseg: weed maps and sprayer prescriptions from drone orthomosaics"

    def icon(self) -> QIcon:
        """The plugin's icon."""
        return QIcon(str(ICON))

    def svgIconPath(self) -> str:  # noqa: N802
        """The icon's file."""
        return str(ICON)

    def load(self) -> bool:
        """Add the setting, then the algorithms."""
        from processing.core.ProcessingConfig import ProcessingConfig, Setting

        ProcessingConfig.settingIcons["geoseg"] = self.icon()
        ProcessingConfig.addSetting(Setting(
            "geoseg", SETTING, "geoseg program (empty: look for it)", executable(), valuetype=Setting.FILE,
        ))  # fmt: skip
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Remove the setting from the options page; its value stays."""
        from processing.core.ProcessingConfig import ProcessingConfig

        ProcessingConfig.removeSetting(SETTING)

    def loadAlgorithms(self) -> None:  # noqa: N802
        """Add the algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputVectorLayerExtensions(self) -> list[str]:  # noqa: N802
        """What the layer of suspicious labels can be."""
        return ["gpkg"]

    def supportsNonFileBasedOutput(self) -> bool:  # noqa: N802
        """Geoseg writes files, no layers in memory."""
        return False
