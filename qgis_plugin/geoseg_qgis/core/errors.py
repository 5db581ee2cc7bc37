"""What can go wrong, each with one line for a person."""

from __future__ import annotations

__all__ = ["CancelledError", "FailedError", "GeosegNotFoundError", "InputError", "PluginError"]


class PluginError(Exception):
    """The root of what the plugin raises on purpose; its text is shown as it is."""


class GeosegNotFoundError(PluginError):
    """No geoseg that can be used was found."""


class InputError(PluginError):
    """A parameter cannot be used as it is."""


class FailedError(PluginError):
    """The child process ended with an error; the text is its own."""


class CancelledError(PluginError):
    """A person stopped it."""
