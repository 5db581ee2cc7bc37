"""The page of the first use: finds geoseg, or makes an environment with it when the person asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QThread, pyqtSignal
from qgis.PyQt.QtGui import QFontDatabase
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from geoseg_qgis.core.errors import PluginError
from geoseg_qgis.core.locate import own_environment, version_of
from geoseg_qgis.core.setup import choose_python, make_environment
from geoseg_qgis.settings import executable, find_geoseg, prefix, set_executable

__all__ = ["SetupDialog"]


class Work(QThread):
    """A function in a thread; its lines, and how it ended, come as signals."""

    said = pyqtSignal(str)
    ended = pyqtSignal(str, str)

    def __init__(self, function: Callable[[Callable[[str], None], Callable[[], bool]], str], parent: QWidget) -> None:
        """Take a function of `say` and `cancelled` that returns a line, or raises `PluginError`."""
        super().__init__(parent)
        self._function = function

    def run(self) -> None:
        """Do it; emits ``ended`` with a result or an error."""
        try:
            self.ended.emit(self._function(self.said.emit, self.isInterruptionRequested), "")
        except PluginError as error:
            self.ended.emit("", str(error))
        except OSError as error:
            self.ended.emit("", f"{error.filename or 'a file'}: {error.strerror or error}")


class SetupDialog(QDialog):
    """Which geoseg is used, and how to get one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build it and look for geoseg."""
        super().__init__(parent)
        self.setWindowTitle("Set up geoseg")
        self.resize(680, 560)
        self._work: Work | None = None
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(5000)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.busy = QProgressBar()
        self.busy.setVisible(False)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (self.status, self._choose_box(), self._make_box(), self.log, self.busy, buttons):
            layout.addWidget(widget)
        self.look()

    def _choose_box(self) -> QGroupBox:
        box = QGroupBox("geoseg is on this machine")
        row = QHBoxLayout(box)
        self.program = QgsFileWidget()
        self.program.setFilePath(executable())
        self.program.lineEdit().setPlaceholderText("empty: look on PATH and in the usual environments")
        self.use = QPushButton("Use and check")
        self.use.clicked.connect(self.choose)
        row.addWidget(self.program, 1)
        row.addWidget(self.use)
        return box

    def _make_box(self) -> QGroupBox:
        box = QGroupBox("Or install it into an environment of its own")
        form = QFormLayout(box)
        self.python = QgsFileWidget()
        self.python.lineEdit().setPlaceholderText("empty: look for Python 3.11 or newer")
        self.folder = QgsFileWidget()
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.setFilePath(str(own_environment(os.environ, Path.home())))
        self.package = QLineEdit("geoseg")
        self.package.setToolTip(
            "What pip installs: geoseg from the package index, or a wheel or checkout on this machine"
        )
        self.install = QPushButton("Install (downloads some gigabytes)")
        self.install.clicked.connect(self.make)
        self.cancel = QPushButton("Stop")
        self.cancel.setEnabled(False)
        self.cancel.clicked.connect(self.stop)
        row = QHBoxLayout()
        row.addWidget(self.install, 1)
        row.addWidget(self.cancel)
        form.addRow("Python", self.python)
        form.addRow("Folder", self.folder)
        form.addRow("Package", self.package)
        form.addRow(row)
        return box

    def choose(self) -> None:
        """Keep the chosen program and look whether it works."""
        set_executable(self.program.filePath().strip())
        self.look()

    def look(self) -> None:
        """Say which geoseg is used, or what is wrong."""
        self._start(lambda say, cancelled: _found())

    def make(self) -> None:
        """Make the environment; only ever called by a click."""
        python, folder = self.python.filePath().strip(), Path(self.folder.filePath().strip())
        package = self.package.text().strip() or "geoseg"

        def work(say: Callable[[str], None], cancelled: Callable[[], bool]) -> str:
            command = choose_python(os.environ, [[python]] if python else None)
            say(f"> with {' '.join(command)}")
            make_environment(command, folder, package, os.environ, say, cancelled)
            if folder != own_environment(os.environ, Path.home()) or executable():
                set_executable(str(folder))
            return _found()

        self._start(work)

    def stop(self) -> None:
        """Ask the work to stop."""
        if self._work is not None:
            self._work.requestInterruption()

    def reject(self) -> None:
        """Close, but not over a running installation."""
        if self._work is not None:
            self.stop()
            self._work.wait()
        super().reject()

    def _start(self, function: Callable[[Callable[[str], None], Callable[[], bool]], str]) -> None:
        self._set_busy(True)
        self._work = Work(function, self)
        self._work.said.connect(self.log.appendPlainText)
        self._work.ended.connect(self._ended)
        self._work.start()

    def _ended(self, result: str, error: str) -> None:
        if self._work is not None:
            self._work.wait()
            self._work = None
        self._set_busy(False)
        self.program.setFilePath(executable())
        self.status.setText(result or error)
        self.log.appendPlainText(result or error)

    def _set_busy(self, busy: bool) -> None:
        self.busy.setRange(0, 0 if busy else 1)
        self.busy.setVisible(busy)
        self.cancel.setEnabled(busy)
        self.use.setEnabled(not busy)
        self.install.setEnabled(not busy)


def _found() -> str:
    geoseg = find_geoseg()
    version = version_of(geoseg, os.environ, prefix())
    return f"geoseg {version} is ready: {' '.join(geoseg.command)} (found through {geoseg.source})"
