"""The plugin as QGIS loads it: the provider, a menu entry and, the first time without geoseg, a hint."""

from __future__ import annotations

from typing import Any

from qgis.core import Qgis, QgsApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction as WidgetAction
from qgis.PyQt.QtWidgets import QPushButton

from geoseg_qgis.algorithms.base import ICON
from geoseg_qgis.core.errors import GeosegNotFoundError
from geoseg_qgis.provider import GeosegProvider
from geoseg_qgis.settings import find_geoseg

__all__ = ["GeosegPlugin"]

MENU = "geoseg"


class GeosegPlugin:
    """What QGIS calls."""

    def __init__(self, iface: Any) -> None:
        """Keep the interface; None in ``qgis_process``."""
        self._iface = iface
        self._provider: GeosegProvider | None = None
        self._action: WidgetAction | None = None

    def initProcessing(self) -> None:  # noqa: N802
        """Add the provider; all that ``qgis_process`` needs."""
        self._provider = GeosegProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:  # noqa: N802
        """Add the provider and the menu entry."""
        self.initProcessing()
        self._action = WidgetAction(QIcon(str(ICON)), "Set up geoseg…", self._iface.mainWindow())
        self._action.triggered.connect(self.set_up)
        self._iface.addPluginToMenu(MENU, self._action)
        try:
            find_geoseg()
        except GeosegNotFoundError:
            self._hint()

    def unload(self) -> None:
        """Take everything away again."""
        if self._action is not None:
            self._iface.removePluginMenu(MENU, self._action)
            self._action = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None

    def set_up(self) -> None:
        """Show the page that finds or installs geoseg."""
        from geoseg_qgis.dialog import SetupDialog

        SetupDialog(self._iface.mainWindow()).exec()

    def _hint(self) -> None:
        bar = self._iface.messageBar()
        item = bar.createMessage("geoseg", "The geoseg program was not found; choose or install it once.")
        button = QPushButton("Set up…", item)
        button.clicked.connect(self.set_up)
        item.layout().addWidget(button)
        bar.pushWidget(item, Qgis.MessageLevel.Info)
