"""The open flows with mock tools: command lines, what is not done again, what failures say; and the real ECP5 flow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mock_tools import MockTools

from toolchain import flow, process, programs, yosys
from toolchain.device import Device
from toolchain.implementation import ImplementationError, ImplementationReport, TimingError
from toolchain.project import load_plugins
from toolchain.seeds import LARGE_LUT

ARTY = Device.of("xc7a100tcsg324-1")
ULX3S = Device.of("LFE5U-85F-6BG381C")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    mock = MockTools(tmp_path / "bin")
    for name, value in mock.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NEXTPNR", raising=False)
    yosys.find.cache_clear()
    yield mock
    yosys.find.cache_clear()


def build(folder: Path, *, source: str = "wire a;", device: Device = ARTY, **options: Any) -> ImplementationReport:
    verilog = folder / "design.v"
    if not verilog.is_file() or verilog.read_text() != source:
        verilog.write_text(source)
    arguments = {"clock_hz": 50e6, "seeds": 2, "jobs": 1, "say": lambda line: None} | options
    return flow.implement([verilog], top="top", device=device, constraints="pins", out_dir=folder / "out", **arguments)


@pytest.mark.parametrize("variant", ["himbaechel", "xilinx"])
def test_command_lines_of_both_kinds_of_nextpnr_for_xilinx(
    variant: str, tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTPNR", variant)
    report = build(tmp_path, seeds=[3])
    data = str(tmp_path / "bin" / "data")
    common = ["--seed", "3", "--freq", "50", "--timing-allow-fail"]
    golden = {
        "himbaechel": ["nextpnr-himbaechel", "--chipdb", f"{data}/chipdb-xc7a100t.bin",
            "--device", "xc7a100tcsg324-1", "-o", "xdc=../top.xdc",
            "--json", "../synthesis/top.json", "-o", "fasm=top.fasm", *common,
            "--report", "report.json", "--router", "router2"],
        "xilinx": ["nextpnr-xilinx", "--chipdb", f"{data}/xc7a100tcsg324.bin", "--xdc", "../top.xdc",
            "--json", "../synthesis/top.json", "--fasm", "top.fasm", *common, "--router", "router2"],
    }  # fmt: skip
    assert tools.calls == [
        ["yosys", "-s", "top.ys"],
        golden[variant],
        ["fasm2frames", "--part", "xc7a100tcsg324-1", "--db-root", f"{data}/artix7", "top.fasm", "top.frames"],
        ["xc7frames2bit", "--part_file", f"{data}/artix7/xc7a100tcsg324-1/part.yaml",
            "--part_name", "xc7a100tcsg324-1", "--frm_file", "top.frames", "--output_file", "top.bit"],
    ]  # fmt: skip
    assert (tmp_path / "out/synthesis/top.ys").read_text().splitlines() == [
        'read_verilog -sv "../../design.v"',
        "synth_xilinx -flatten -abc9 -arch xc7 -top top",
        "setattr -mod -unset keep_hierarchy",
        "flatten",
        "delete t:$scopeinfo",
        "attrmap -remove src",
        "attrmap -modattr -remove src",
        "rename -wire",
        "tee -q -o top.stat.json stat -json",
        "write_json top.json",
    ]
    assert Path(report.bitstream).read_text().startswith("bits of frames of # seed 3,")
    # The log's first table says 999 MHz; what counts is the last one, or the report.
    assert [(c.name, c.achieved_hz, c.required_hz) for c in report.clocks] == [("clk", 63e6, 50e6)]
    assert report.paths[0].through[0] == "core.array0.sum" and report.paths[0].through[-1] == "core.table1.index"
    assert report.utilization["lut"].used == 1 and report.utilization["lut"].available == 63400
    assert ImplementationReport.load(tmp_path / "out/report.json") == report


def test_command_lines_for_the_ecp5(tools: MockTools, tmp_path: Path) -> None:
    report = build(tmp_path, device=ULX3S, seeds=[1], nextpnr_options=["--tmg-ripup"])
    assert tools.calls[1:] == [
        ["nextpnr-ecp5", "-l", "next.log", "--85k", "--package", "CABGA381", "--speed", "6", "--seed", "1",
            "--freq", "50", "--timing-allow-fail", "--report", "report.json", "--tmg-ripup", "--lpf", "../top.lpf",
            "--json", "../synthesis/top.json", "--textcfg", "top.config"],
        ["ecppack", "--compress", "top.config", "top.bit"],
    ]  # fmt: skip
    assert report.logs["place and route"] == str(tmp_path / "out/logs/seed-1.log")


def test_a_routed_design_can_be_the_end(tools: MockTools, tmp_path: Path) -> None:
    routed = build(tmp_path, seeds=[1], pack=False)
    assert routed.bitstream is None and list(routed.seconds) == list(routed.logs) == ["synthesis", "place and route"]
    assert [call[0] for call in tools.calls] == ["yosys", "nextpnr-himbaechel"]
    tools.forget()
    packed = build(tmp_path, seeds=[1])
    assert packed.clocks == routed.clocks and packed.bitstream and list(packed.seconds)[2:] == ["bitstream"]
    assert [call[0] for call in tools.calls] == ["fasm2frames", "xc7frames2bit"]


def test_large_designs_get_the_static_placer(tools: MockTools, tmp_path: Path) -> None:
    build(tmp_path, source=f"// takes {LARGE_LUT}", seeds=[1])
    assert "static" not in tools.calls[1]
    tools.forget()
    build(tmp_path, source=f"// takes {LARGE_LUT + 1}", seeds=[1])
    assert tools.calls[1][-2:] == ["--placer", "static"]


def test_large_cells_are_placed_first(tools: MockTools, tmp_path: Path) -> None:
    lines: list[str] = []
    build(tmp_path, source="wire a; // holds 1011", seeds=[1], say=lines.append)
    without = "this nextpnr was built without Python, so it places block RAMs and DSP48E1 as it likes"
    assert f"places: {without}" in lines and "--pre-place" not in tools.calls[1]
    tools.set(python=True)
    programs._help.cache_clear()
    grid = tmp_path / "bin/data/artix7/xc7a100t/tilegrid.json"
    build(tmp_path, source="wire a; // holds 1011", seeds=[1], say=lines.append)
    assert f"places: no {grid}, so nextpnr places block RAMs and DSP48E1 as it likes" in lines
    tools.forget()
    grid.parent.mkdir()
    grid.write_text('{"BRAM_L_X6Y0": {"grid_x": 19, "grid_y": 207, "sites": {"RAMB36_X0Y0": "RAMBFIFO36E1"}}}')
    build(tmp_path, source="wire a; // holds 1011", seeds=[1], say=lines.append)
    assert any(re.fullmatch(r"places: 1 block RAMs and DSP48E1, \d+ s", line) for line in lines)
    assert [call[0] for call in tools.calls] == ["nextpnr-himbaechel", "fasm2frames", "xc7frames2bit"]
    assert tools.calls[0][-2:] == ["--pre-place", "../places.py"]
    script = tmp_path / "out/places.py"
    cells = {"rom": SimpleNamespace(setAttr=lambda *said: attributes.append(said))}
    attributes: list[tuple[str, str]] = []
    exec(script.read_text(), {"ctx": SimpleNamespace(cells=cells)})
    assert attributes == [("BEL", "X19Y207/RAMB18_X0Y0.RAMB18E1")]
    written = script.stat().st_mtime_ns
    tools.forget()
    build(tmp_path, source="wire a; // holds 1011", seeds=[1])  # nothing is done again
    build(tmp_path, source="wire a; // holds 1110", seeds=[1])  # nor for other contents
    assert script.stat().st_mtime_ns == written and tools.calls[0][0] == "yosys"
    assert "nextpnr-himbaechel" not in [call[0] for call in tools.calls]
    grid.write_text("{}")
    build(tmp_path, source="wire a; // holds 1011", seeds=[1], say=lines.append)
    none = "places: 1 groups of block RAMs 1 tiles high have room for 0; nextpnr places them as it likes"
    assert none in lines and "--pre-place" not in tools.calls[-3]


def test_long_steps_say_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HEARTBEAT_SECONDS", 0.2)
    lines: list[str] = []
    process.Processes(lines.append).run(
        ["sh", "-c", "printf 'Info: iter=7\n\n'; sleep 0.5"],
        step="place and route: seed 1",
        cwd=tmp_path,
        log=tmp_path / "log",
    )
    assert lines and set(lines) == {"place and route: seed 1: 0 s; iter=7"}


def test_the_best_seed_is_kept_and_nothing_is_done_twice(tools: MockTools, tmp_path: Path) -> None:
    tools.set(mhz={"1": 55, "2": 81, "3": 0, "4": 70, "5": 60})
    lines: list[str] = []
    report = build(tmp_path, seeds=4, jobs=2, say=lines.append)
    assert report.seed == 2 and report.met
    assert [(s.seed, round(s.margin, 2)) for s in report.seeds] == [(1, 1.1), (2, 1.62), (3, 0.0), (4, 1.4)]
    log = tmp_path / "out/logs/seed-3.log"
    assert report.seeds[2].error == f"ERROR: Unable to find legal placement for cell 'carry$12' (log: {log})"
    assert "place and route: nextpnr-himbaechel 1.2.3, 4 seeds, 2 at a time" in lines
    assert lines[-1] == f"bitstream: {report.bitstream} (seed 2, clk 81.0 MHz of 50.0)"

    tools.forget()
    assert build(tmp_path, seeds=4) == report and tools.calls == []
    build(tmp_path, seeds=5)  # one more seed is one more run
    assert [call[0] for call in tools.calls] == ["nextpnr-himbaechel"]
    tools.forget()
    build(tmp_path, source="wire a; // a comment", seeds=4)  # the same netlist
    assert [call[0] for call in tools.calls] == ["yosys"]
    tools.forget()
    build(tmp_path, source="wire a; wire b;", seeds=4)  # another one
    assert sorted({call[0] for call in tools.calls}) == ["fasm2frames", "nextpnr-himbaechel", "xc7frames2bit", "yosys"]
    tools.forget()
    build(tmp_path, source="wire a; wire b;", seeds=4, clock_hz=40e6)  # another option
    assert [call[0] for call in tools.calls].count("nextpnr-himbaechel") == 4


def test_new_contents_of_a_memory_go_into_the_routed_design(tools: MockTools, tmp_path: Path) -> None:
    build(tmp_path, source="wire a; // holds 1011")
    tools.forget()
    report = build(tmp_path, source="wire a; // holds 1110")
    assert report.patched
    assert [call[0] for call in tools.calls] == ["yosys", "fasm2frames", "xc7frames2bit"]
    assert f"INIT_00[255:0] = 256'b{'1110':0>256}\n" in Path(report.bitstream).read_text()
    # Contents that are all zero cannot be found in the routed file: the best seed is routed again.
    build(tmp_path, source="wire a; // holds 0")
    tools.forget()
    report = build(tmp_path, source="wire a; // holds 1")
    assert [call[0] for call in tools.calls] == ["yosys", "nextpnr-himbaechel", "fasm2frames", "xc7frames2bit"]
    assert f"INIT_00[255:0] = 256'b{'1':0>256}\n" in Path(report.bitstream).read_text()


def test_a_missed_clock_is_a_failure_that_shows_its_path(tools: MockTools, tmp_path: Path) -> None:
    tools.set(mhz={"1": 40, "2": 45.5})
    with pytest.raises(TimingError) as error:
        build(tmp_path)
    assert str(error.value) == (
        "timing: clk reaches 45.5 of 50.0 MHz with seed 2, the best of 2. Critical path: 8.0 ns "
        "(7.0 ns of it routing): core.array0.sum → core.table1.index. A lower clock, more SEEDS, "
        "or ALLOW_TIMING_FAIL=1 to take it as it is "
        f"(log: {tmp_path}/out/logs/seed-2.log)"
    )
    assert not (tmp_path / "out/top.bit").exists()
    assert error.value.report == ImplementationReport.load(tmp_path / "out/report.json")
    assert [round(seed.margin, 2) for seed in error.value.report.seeds] == [0.8, 0.91]
    tools.forget()
    report = build(tmp_path, allow_timing_fail=True)
    assert not report.met and report.seed == 2
    assert [call[0] for call in tools.calls] == ["fasm2frames", "xc7frames2bit"]


def test_failures_name_their_log(tools: MockTools, tmp_path: Path) -> None:
    logs = tmp_path / "out/logs"
    with pytest.raises(ImplementationError) as error:
        build(tmp_path, source="syntax error")
    assert str(error.value) == (f"design.v:1: ERROR: syntax error, unexpected TOK_ID (log: {logs}/synthesis.log)")
    tools.set(mhz={"1": 0, "2": 0})
    with pytest.raises(ImplementationError) as error:
        build(tmp_path)
    assert str(error.value) == (
        "place and route: none of 2 seeds came through: ERROR: Unable to find legal placement for cell 'carry$12' "
        f"(log: {logs}/seed-1.log); nextpnr's --placer static may find places for the carry chains"
    )
    tools.set(mhz={"1": 60, "2": 60}, kill=["2"])
    report = build(tmp_path, source="wire a; wire b;")
    assert [result.error for result in report.seeds] == [
        "",
        f"Killed by the system, perhaps for want of memory (log: {logs}/seed-2.log)",
    ]
    tools.set(kill=[])
    tools.forget()
    build(tmp_path, source="wire a; wire b;")  # the seed that was killed is tried again, the other is there
    assert [call[call.index("--seed") + 1] for call in tools.calls if "--seed" in call] == ["2"]

    with pytest.raises(ImplementationError, match=r"missing\.v: no such Verilog file"):
        flow.implement([tmp_path / "missing.v"], top="top", device=ARTY, constraints="", clock_hz=1e6, out_dir=tmp_path)
    with pytest.raises(ValueError, match="seeds must be a positive number or a list of seeds, not 0"):
        build(tmp_path, seeds=0)
    with pytest.raises(ValueError, match="clock_hz must be positive, not -1"):
        build(tmp_path, clock_hz=-1)


def test_an_interrupted_sweep_goes_on_where_it_was(tools: MockTools, tmp_path: Path) -> None:
    tools.set(slow=["2"])
    (tmp_path / "design.v").write_text("wire a;")
    program = (
        "import sys; from pathlib import Path; from toolchain import flow; from toolchain.device import Device\n"
        "flow.implement([Path('design.v')], top='top', device=Device.of('xc7a100tcsg324-1'), constraints='pins',"
        " clock_hz=50e6, out_dir=Path('out'), seeds=2, jobs=1)"
    )
    env = os.environ | {"PYTHONPATH": str(Path(flow.__file__).parent.parent)}
    running = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any("--seed" in call and "2" in call for call in tools.calls):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(20) != 0
    tools.set(slow=[])
    tools.forget()
    assert build(tmp_path).seed == 2
    assert [call[call.index("--seed") + 1] for call in tools.calls if "--seed" in call] == ["2"]


# Here the tools are real. One of each cell that is placed in a way of its own: counter, block RAM, multiplier.
DESIGN = """
module blink (input wire clk, input wire [3:0] switch, output reg [3:0] led);
  reg [25:0] count = 0;
  reg [15:0] memory[0:2047];
  reg [15:0] word = 0, factor = 0;
  reg [31:0] product = 0;
  integer i;
  initial for (i = 0; i < 2048; i = i + 1) memory[i] = i * 40503 + START;
  always @(posedge clk) begin
    count <= count + 1;
    word <= memory[count[10:0]];
    if (switch[3]) memory[count[20:10]] <= product[31:16];
    factor <= {switch, count[25:14]};
    product <= word * factor;
    led <= {count[25], product[31], product[20], ^product[15:0]};
  end
endmodule
"""
LPF = 'FREQUENCY PORT "clk" 25 MHZ;\n' + "".join(
    f'LOCATE COMP "{name}" SITE "{site}";\nIOBUF PORT "{name}" IO_TYPE=LVCMOS33;\n'
    for name, site in zip(
        ["clk", *(f"switch[{i}]" for i in range(4)), *(f"led[{i}]" for i in range(4))],
        ["G2", "E8", "D8", "D7", "E7", "B2", "C2", "C1", "D2"],
        strict=True,
    )
)
XDC = "create_clock -period 10.0 [get_ports {clk}]\n" + "".join(
    f"set_property -dict {{PACKAGE_PIN {site} IOSTANDARD LVCMOS33}} [get_ports {{{name}}}]\n"
    for name, site in zip(
        ["clk", *(f"switch[{i}]" for i in range(4)), *(f"led[{i}]" for i in range(4))],
        ["E3", "A8", "C11", "C10", "A10", "H5", "J5", "T9", "T10"],
        strict=True,
    )
)


def build_blink(folder: Path, start: int, device: Device, constraints: str) -> ImplementationReport:
    folder.mkdir(exist_ok=True)
    verilog = folder / "blink.v"
    verilog.write_text(DESIGN.replace("START", str(start)))
    return flow.implement(
        [verilog], top="blink", device=device, constraints=constraints, clock_hz=25e6, out_dir=folder / "out", seeds=[1]
    )


def check_blink(tmp_path: Path, device: Device, constraints: str, magic: bytes) -> None:
    """Build, exchange the memory's contents, and compare with a build of the new contents from nothing: same bits."""
    first = build_blink(tmp_path / "first", 1, device, constraints)
    old = Path(first.bitstream).read_bytes()
    assert magic in old[:200]
    assert [clock.name for clock in first.clocks] == ["clk"] and first.met
    assert first.clocks[0].achieved_hz > 30e6
    used = {name: use.used for name, use in first.utilization.items()}
    assert (used["bram36"], used["dsp"]) == (1, 1) and used["lut"] > 20 and used["ff"] >= 30
    through = first.paths[0].through
    assert through and set(through) <= {"count", "memory", "word", "factor", "product", "led"}
    patched = build_blink(tmp_path / "first", 77, device, constraints)
    assert patched.patched and patched.seeds == first.seeds
    fresh = build_blink(tmp_path / "fresh", 77, device, constraints)
    assert not fresh.patched
    sync = bytes.fromhex("aa995566" if device.family == "xc7" else "ffffbdb3")  # before it: names and time of the build
    bits, again = (Path(report.bitstream).read_bytes().partition(sync)[2] for report in (patched, fresh))
    if device.family == "xc7":
        placed = (tmp_path / "first/out/places.py").is_file()
        assert placed == (programs.xc7(device).variant == "himbaechel" and programs.xc7(device).scripts)
    assert len(bits) > 100_000 and bits == again and bits != old.partition(sync)[2]


def test_ecp5_for_real(tmp_path: Path) -> None:
    check_blink(tmp_path, ULX3S, LPF, b"LFE5U-85F")
    routed = (tmp_path / "fresh/out/seed-1/blink.config").read_text()
    assert routed.count("REG_OUTPUT_CLK CLK0") == 1  # the product's register is the multiplier's


def test_artix7_for_real(tmp_path: Path) -> None:
    try:
        programs.xc7(ARTY)
    except programs.MissingError as error:
        pytest.skip(str(error))
    check_blink(tmp_path, ARTY, XDC, b"xc7a100tcsg324-1")


def test_edalize_lists_the_plugins_options() -> None:
    load_plugins()
    Openxc7 = import_module("edalize.flows.openxc7").Openxc7
    Openecp5 = import_module("edalize.flows.openecp5").Openecp5
    assert set(Openxc7.get_tool_options({})) == {
        "yosys_synth_options", "yosys_post_synth", "variant", "device", "nextpnr_options",
        "part", "db_root", "fasm2frames_options", "part_file",
    }  # fmt: skip
    assert set(Openecp5.get_tool_options({})) == {
        "yosys_synth_options", "yosys_post_synth", "nextpnr_options", "device", "device_family", "ecppack_options",
    }  # fmt: skip
    assert {"synth", "pnr"} <= set(Openxc7.get_flow_options())
