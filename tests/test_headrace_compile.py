"""The larger TFLite references become accelerators for the Arty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accel.manifest import Manifest
from boards import find
from headrace.__main__ import app


@pytest.mark.slow
@pytest.mark.skipif(
    "HEADRACE_DATA" not in os.environ, reason="HEADRACE_DATA is not set: the references are not shipped"
)
@pytest.mark.parametrize("name", ["sww01", "ic02"])
def test_larger_references(name: str, tmp_path: Path) -> None:
    """Within the board's budget; what each takes is printed (pytest -s)."""
    result = CliRunner().invoke(app, ["compile", name, "--board", "arty", "--out", str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    found, budget = Manifest.load(tmp_path / "model").estimate, find("arty").budget
    used = f"{found.lut:,} LUT, {found.bram36:g} BRAM36, {found.dsp} DSP48E1, {found.cycles:,} cycles"
    print(f"{name}: {used}")
    assert found.lut <= budget.lut and found.bram36 <= budget.bram36 and found.dsp <= budget.dsp, used
