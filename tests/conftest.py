"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Machines that run tests are shared: time is no property. In CI the same examples are drawn each time.
settings.register_profile("geoseg", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("geoseg")

# A job in the background of a shell script ignores this signal, and all that it starts: nothing could be cancelled.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_FIELDS = Path(__file__).resolve().parents[2] / "shared" / "fields"


@pytest.fixture(scope="session")
def fields() -> Path:
    """The folder of real labelled fields beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_FIELDS.is_dir():
        pytest.skip(f"the real fields are not at {SHARED_FIELDS}")
    return SHARED_FIELDS
