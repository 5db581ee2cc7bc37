"""Progress bars on stderr, silent when stderr is no terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["bar"]


def bar(label: str, total: float, unit: str = "it") -> Any:
    """A bar with rate and remaining time; use as a context manager and call ``update(n)``."""
    return tqdm(total=total, desc=f"{label:<10}", unit=unit, unit_scale=True, disable=None, smoothing=0.1)
