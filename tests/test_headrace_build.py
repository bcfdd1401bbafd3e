"""A whole SoC becomes a bitstream that meets its clock, with Python packages alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import fpga
from headrace.__main__ import app


@pytest.mark.slow
@pytest.mark.skipif("HEADRACE_DATA" not in os.environ, reason="HEADRACE_DATA is not set: kws-w3a3 is not shipped")
def test_kws_for_the_ulx3s(tmp_path: Path) -> None:
    arguments = ["build", "kws-w3a3", "--board", "ulx3s", "--seeds", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    report = fpga.load(tmp_path)
    assert report is not None and report.met
    assert (tmp_path / "bitstream" / "soc.bit").read_bytes().find(b"LFE5U-85F") > 0
