"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_FIELDS = Path(__file__).resolve().parents[2] / "shared" / "fields"


@pytest.fixture(scope="session")
def fields() -> Path:
    """The folder of real labelled fields beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_FIELDS.is_dir():
        pytest.skip(f"the real fields are not at {SHARED_FIELDS}")
    return SHARED_FIELDS
