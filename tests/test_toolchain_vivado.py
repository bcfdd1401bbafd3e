"""Vivado by edalize's flow: the golden command lines and Tcl, its reports, and what failures say."""

from __future__ import annotations

from pathlib import Path

import pytest
from mock_tools import MockTools

from toolchain import programs, vivado
from toolchain.device import Device
from toolchain.implementation import ImplementationError, ImplementationReport, TimingError

ARTY = Device.of("xc7a100tcsg324-1")
TIMING = """
------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints
    -------      -------  ---------------------  -------------------
      -0.500       -1.000                      2                 4711

| Clock Summary
| -------------
Clock          Waveform(ns)       Period(ns)      Frequency(MHz)
-----          ------------       ----------      --------------
clk100         {0.000 5.000}      10.000          100.000
  builder_fb   {0.000 5.000}      10.000          100.000
  sys_clk      {0.000 6.666}      13.333          75.000

| Intra Clock Table
| -----------------
Clock             WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints
-----             -------      -------  ---------------------  -------------------
clk100              7.500        0.000                      0                   12
  builder_fb                                                                      
  sys_clk          SLACK        0.000                      0                 4699

| Inter Clock Table
| -----------------
From Clock    To Clock          WNS(ns)
clk100        sys_clk            1.000
"""
UTILIZATION = """
+-------------------------+-------+-------+------------+-----------+-------+
|        Site Type        |  Used | Fixed | Prohibited | Available | Util% |
+-------------------------+-------+-------+------------+-----------+-------+
| Slice LUTs*             | 14086 |     0 |          0 |     63400 | 22.22 |
|   LUT as Logic          | 14000 |     0 |          0 |     63400 | 22.08 |
| Slice Registers         |  5717 |     0 |          0 |    126800 |  4.51 |
| Block RAM Tile          |  27.5 |     0 |          0 |       135 | 20.37 |
| DSPs                    |   220 |     0 |          0 |       240 | 91.67 |
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MockTools:
    mock = MockTools(tmp_path / "bin")
    for name, value in mock.environment().items():
        monkeypatch.setenv(name, value)
    mock.set(vivado={"timing_summary_routed": TIMING.replace("SLACK", "0.833"), "utilization_placed": UTILIZATION})
    return mock


def build(folder: Path, *, allow_timing_fail: bool = False) -> ImplementationReport:
    (folder / "design.v").write_text("module top; endmodule")
    return vivado.implement(
        [folder / "design.v"],
        top="top",
        device=ARTY,
        constraints="pins",
        out_dir=folder / "out",
        jobs=2,
        allow_timing_fail=allow_timing_fail,
        say=lambda line: None,
    )


def test_command_lines_and_reports(tools: MockTools, tmp_path: Path) -> None:
    report = build(tmp_path)
    batch = ["vivado", "-notrace", "-mode", "batch", "-source"]
    assert tools.calls == [[*batch, "top.tcl"], [*batch, "top_synth.tcl", "top_run.tcl", "top.xpr"]]
    project = [line for line in (tmp_path / "out/vivado/top.tcl").read_text().splitlines() if line.strip()]
    assert project == [
        "# Auto-generated project tcl file",
        "create_project top -force",
        "set_property part xc7a100tcsg324-1 [current_project]",
        "read_verilog -sv {../../design.v}",
        "read_xdc {../top.xdc}",
        "set_property include_dirs [list .] [get_filesets sources_1]",
        "set_property top top [current_fileset]",
        "set_property source_mgmt_mode None [current_project]",
    ]
    assert "launch_runs impl_1 -to_step write_bitstream -jobs 2" in (tmp_path / "out/vivado/top_run.tcl").read_text()
    assert (tmp_path / "out/top.xdc").read_text() == "pins" and Path(report.bitstream).read_text() == "bits"
    assert [(c.name, round(c.achieved_hz / 1e6, 3), round(c.required_hz / 1e6, 3)) for c in report.clocks] == [
        ("sys_clk", 80.0, 75.002),
        ("clk100", 400.0, 100.0),
    ]
    assert {name: (use.used, use.available) for name, use in report.utilization.items()} == {
        "lut": (14086, 63400),
        "ff": (5717, 126800),
        "bram36": (27.5, 135),
        "dsp": (220, 240),
    }
    assert ImplementationReport.load(tmp_path / "out/report.json") == report


def test_failures(tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "out/logs/vivado.log"
    tools.set(vivado={"timing_summary_routed": TIMING.replace("SLACK", "-0.500"), "utilization_placed": UTILIZATION})
    with pytest.raises(TimingError) as error:
        build(tmp_path)
    assert str(error.value) == (
        "timing: sys_clk reaches 72.3 of 75.0 MHz. Critical path: not reported. A lower clock, more SEEDS, or "
        f"ALLOW_TIMING_FAIL=1 to take it as it is (log: {log})"
    )
    assert not build(tmp_path, allow_timing_fail=True).met
    tools.set(vivado="fail")
    with pytest.raises(ImplementationError) as failure:
        build(tmp_path)
    assert str(failure.value) == (
        "ERROR: [Place 30-640] Place Check : This design requires more RAMB36/FIFO cells than are available "
        f"(log: {log})"
    )
    with pytest.raises(ImplementationError, match="LFE5U-85F-6BG381C: Vivado builds for AMD's parts"):
        vivado.implement(
            [], top="top", device=Device.of("LFE5U-85F-6BG381C"), constraints="", out_dir=tmp_path / "ecp5"
        )
    monkeypatch.setenv("VIVADO", str(tmp_path / "nowhere"))
    with pytest.raises(programs.MissingError, match=r"VIVADO=.*nowhere: no such program; install AMD Vivado"):
        build(tmp_path)
