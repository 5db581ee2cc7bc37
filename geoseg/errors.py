"""The exceptions that geoseg raises, and nothing else.

Every error that a user can cause derives from `GeosegError` and from the builtin that fits best, so that both
``except GeosegError`` and ``except ValueError`` work. A message says what was found, what was expected and what to do::

    GeosegError
    ├── InputError (ValueError)              something given cannot be used as it is
    │   ├── OrthoError                       the orthomosaic: unreadable, no CRS, no georeference, wrong bands
    │   ├── BoundaryError                    the field boundary: empty, unreadable, does not meet the ortho
    │   ├── LabelError                       labels for training or evaluation
    │   ├── ModelError                       a model directory: card or weights missing, malformed or unsafe
    │   ├── GsdError                         the ortho's resolution is outside what the model was trained for
    │   ├── ConfigError                      a configuration file or a ``--set`` option
    │   └── PrescriptionError                a rule, machine or prescription file that cannot be obeyed
    └── RunError (RuntimeError)              a run that started and could not be finished
        ├── IncompleteError                  some blocks failed: the result has holes, listed in the ledger
        ├── BusyError                        another process works in the same run directory
        └── CheckError                       a written file does not read back as planned
"""

__all__ = [
    "BoundaryError",
    "BusyError",
    "CheckError",
    "ConfigError",
    "GeosegError",
    "GeosegWarning",
    "GsdError",
    "IncompleteError",
    "InputError",
    "LabelError",
    "ModelError",
    "OrthoError",
    "PrescriptionError",
    "RunError",
]


class GeosegError(Exception):
    """The root of everything that geoseg raises on purpose."""


class GeosegWarning(UserWarning):
    """Something that a person should know, and that does not make the result wrong."""


class InputError(GeosegError, ValueError):
    """Something that was given cannot be used as it is. The command line exits with 2."""


class OrthoError(InputError):
    """The orthomosaic cannot be read or placed on the ground."""


class BoundaryError(InputError):
    """The field boundary is empty, unreadable or does not meet the orthomosaic."""


class LabelError(InputError):
    """Labels cannot be read, hold unknown classes or do not lie on the image."""


class ModelError(InputError):
    """A model directory is missing, malformed or does not fit its card."""


class GsdError(InputError):
    """The ground sampling distance is too far from what the model was trained for."""


class ConfigError(InputError):
    """A configuration holds an unknown key or a value that does not fit."""


class PrescriptionError(InputError):
    """A spray rule, a machine or a prescription that cannot be obeyed as given."""


class RunError(GeosegError, RuntimeError):
    """A run that started and could not be finished. The command line exits with 1."""


class IncompleteError(RunError):
    """Some blocks failed, so the result has holes; the ledger names them."""


class BusyError(RunError):
    """Another process is at work in the same run directory."""


class CheckError(RunError):
    """A file that was written does not read back as it was planned."""
