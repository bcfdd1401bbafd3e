"""report.html."""

from __future__ import annotations

from pathlib import Path


def write_report(*, model_dir: Path, out_dir: Path) -> Path:
    raise NotImplementedError
