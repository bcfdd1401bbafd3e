"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real models and data sets; tests that need it skip, visibly, where it is not set."""
    folder = os.environ.get("HEADRACE_DATA")
    if not folder:
        pytest.skip("HEADRACE_DATA is not set: real models and data sets are not at hand")
    path = Path(folder)
    if not (path / "models").is_dir():
        pytest.skip(f"HEADRACE_DATA={folder} has no models/ folder")
    return path
