"""The table of resources, and what it fails for."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_manifest import EXAMPLE

from ci import resource_table
from toolchain.yosys import Resources, SynthesisReport


def filled(folder: Path, *, lut: int = 9_500, dsp: int = 220) -> str:
    """A folder with the example and what synthesis made of it."""
    (folder / "synthesis").mkdir(parents=True)
    EXAMPLE.save(folder)
    total = Resources(lut=lut, ff=7_000, bram36=30.5, dsp=dsp, lutram=0, carry4=0, muxf=0)
    report = SynthesisReport("headrace", "xc7", total, {}, {}, 61.6, "yosys 0.70", "netlist.json", "yosys.log")
    report.save(folder / "synthesis" / "report.json")
    return str(folder)


def test_an_estimate_that_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource_table.main([filled(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        "| model | MACs | cycles | LUT | estimated |  | FF | BRAM36 | estimated | DSP | estimated | Yosys, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        "| kws-w3a3 | 134,656 | 474 | 9,500 | 9,120 | -4.0% | 7,000 | 30.5 | 30.5 | 220 | 220 | 62 |",
    ]


@pytest.mark.parametrize("found", [{"lut": 7_900}, {"lut": 10_800}, {"dsp": 219}])
def test_one_that_is_not(tmp_path: Path, found: dict[str, int]) -> None:
    with pytest.raises(SystemExit, match="the estimate of kws-w3a3 is not true to synthesis"):
        resource_table.main([filled(tmp_path, **found)])
