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

| Timing Details
| --------------

From Clock:  sys_clk
  To Clock:  sys_clk

Setup :            0  Failing Endpoints,  Worst Slack        0.833ns,  Total Violation        0.000ns

Max Delay Paths
--------------------------------------------------------------------------------------
Slack (MET) :             0.833ns  (required time - arrival time)
  Source:                 core/array0/control3_reg[1]/C
                            (rising edge-triggered cell FDRE clocked by sys_clk  {rise@0.000ns fall@6.666ns})
  Destination:            core/array0/held7_reg[3]/D
                            (rising edge-triggered cell FDRE clocked by sys_clk  {rise@0.000ns fall@6.666ns})
  Path Group:             sys_clk
  Path Type:              Setup (Max at Slow Process Corner)
  Requirement:            13.333ns  (sys_clk rise@13.333ns - sys_clk rise@0.000ns)
  Data Path Delay:        9.404ns  (logic 1.104ns (11.74%)  route 8.300ns (88.26%))
  Logic Levels:           2  (CARRY4=1 LUT3=1)

    Location             Delay type                Incr(ns)  Path(ns)    Netlist Resource(s)
  -------------------------------------------------------------------    -------------------
                         (clock sys_clk rise edge)    0.000     0.000 r
    E3                                                0.000     0.000 r  clk100 (IN)
                         net (fo=0)                   0.000     0.000    clk100
    E3                   IBUF (Prop_ibuf_I_O)         1.482     1.482 r  clk100_IBUF_inst/O
                         net (fo=1, routed)           1.233     2.715    clk100_IBUF
  -------------------------------------------------------------------    -------------------
    SLICE_X36Y45         FDRE (Prop_fdre_C_Q)         0.456     3.171 r  core/array0/control3_reg[1]/Q
                         net (fo=1152, routed)        7.800    10.971    core/array0/control3[1]
    SLICE_X37Y44         LUT3 (Prop_lut3_I1_O)        0.124    11.095 r  core/array0/held7[3]_i_5/O
                         net (fo=1, routed)           0.000    11.095    core/array0/held7[3]_i_5_n_0
    SLICE_X37Y44         CARRY4 (Prop_carry4_S[3]_O[3])
                                                      0.500    11.595 r  core/array0/held7_reg[3]_i_1/O[3]
                         net (fo=2, routed)           0.500    12.095    core/array0/added7[3]
    SLICE_X40Y44         FDRE                                         r  core/array0/held7_reg[3]/D
  -------------------------------------------------------------------    -------------------
                         (clock sys_clk rise edge)   13.333    13.333 r
    SLICE_X40Y44         FDRE (Setup_fdre_C_D)        0.024    13.200    core/array0/held7_reg[3]
  -------------------------------------------------------------------
                         required time                         12.928
                         arrival time                         -12.095

Min Delay Paths
--------------------------------------------------------------------------------------
Slack (MET) :             0.033ns  (arrival time - required time)
  Source:                 core/b_reg/C
  Destination:            core/c_reg/D
  Path Group:             sys_clk
  Path Type:              Hold (Min at Fast Process Corner)
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


def build(folder: Path, *, constraints: str = "pins", allow_timing_fail: bool = False) -> ImplementationReport:
    (folder / "design.v").write_text("module top; endmodule")
    return vivado.implement(
        [folder / "design.v"],
        top="top",
        device=ARTY,
        constraints=constraints,
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
    assert [str(path) for path in report.paths] == [
        "9.4 ns (8.3 ns of it routing): core.array0.control3 → core.array0.held7 → core.array0.added7"
    ]
    assert {name: (use.used, use.available) for name, use in report.utilization.items()} == {
        "lut": (14086, 63400),
        "ff": (5717, 126800),
        "bram36": (27.5, 135),
        "dsp": (220, 240),
    }
    assert ImplementationReport.load(tmp_path / "out/report.json") == report

    tools.forget()
    (tmp_path / "out/top.bit").unlink()
    assert build(tmp_path) == report and tools.calls == [] and (tmp_path / "out/top.bit").is_file()
    build(tmp_path, constraints="other pins")
    assert len(tools.calls) == 2


def test_failures(tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "out/logs/vivado.log"
    tools.set(vivado={"timing_summary_routed": TIMING.replace("SLACK", "-0.500"), "utilization_placed": UTILIZATION})
    with pytest.raises(TimingError) as error:
        build(tmp_path)
    assert str(error.value) == (
        "timing: sys_clk reaches 72.3 of 75.0 MHz. Critical path: 9.4 ns (8.3 ns of it routing): "
        "core.array0.control3 → core.array0.held7 → core.array0.added7. A lower clock, or "
        f"ALLOW_TIMING_FAIL=1 to take it as it is (log: {log})"
    )
    assert error.value.report == ImplementationReport.load(tmp_path / "out/report.json")
    assert not (tmp_path / "out/top.bit").exists()
    tools.forget()
    assert not build(tmp_path, allow_timing_fail=True).met
    assert tools.calls == [] and (tmp_path / "out/top.bit").exists()  # what missed its clock need not be built again
    tools.set(vivado={"timing_summary_routed": "of another shape", "utilization_placed": UTILIZATION})
    with pytest.raises(ImplementationError, match="timing: no clock is told of a design with registers"):
        build(tmp_path, constraints="other pins")
    tools.set(vivado="fail")
    with pytest.raises(ImplementationError) as failure:
        build(tmp_path, constraints="third pins")
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
