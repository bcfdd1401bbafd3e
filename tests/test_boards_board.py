"""Every board is found, the SoC can be built for it, and a new one is one more file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import boards
from accel.dataflow.budget import Budget
from boards.devices import (
    LFE5U_85F,
    MOST_BRAM,
    MOST_DSP,
    ROUTABLE_ARRAY_LUT,
    ROUTABLE_LUT,
    ROUTABLE_ON_ECP5_DSP,
    ROUTABLE_ON_ECP5_LUT,
    SOC,
    XC7A35T,
    XC7A100T,
    left_for_accelerator,
)
from headrace import route
from headrace.target import Target, TargetError
from soc import generate
from toolchain.device import Device

ARTY_XDC = """\
set_property LOC E3 [get_ports {clk100}]
set_property IOSTANDARD LVCMOS33 [get_ports {clk100}]
set_property LOC C2 [get_ports {cpu_reset}]
set_property IOSTANDARD LVCMOS33 [get_ports {cpu_reset}]
set_property LOC A9 [get_ports {serial_rx}]
set_property IOSTANDARD LVCMOS33 [get_ports {serial_rx}]
set_property LOC D10 [get_ports {serial_tx}]
set_property IOSTANDARD LVCMOS33 [get_ports {serial_tx}]
set_property LOC G13 [get_ports {timestamp0}]
set_property IOSTANDARD LVCMOS33 [get_ports {timestamp0}]
set_property LOC H5 [get_ports {user_led0}]
set_property IOSTANDARD LVCMOS33 [get_ports {user_led0}]
set_property LOC J5 [get_ports {user_led1}]
set_property IOSTANDARD LVCMOS33 [get_ports {user_led1}]
set_property LOC T9 [get_ports {user_led2}]
set_property IOSTANDARD LVCMOS33 [get_ports {user_led2}]
create_clock -period 10.000 [get_ports clk100]
"""
ULX3S_LPF = """\
LOCATE COMP "clk25" SITE "G2";
IOBUF PORT "clk25" IO_TYPE=LVCMOS33;
LOCATE COMP "reset" SITE "R1";
IOBUF PORT "reset" IO_TYPE=LVCMOS33;
IOBUF PORT "reset" PULLMODE=DOWN;
LOCATE COMP "serial_rx" SITE "M1";
IOBUF PORT "serial_rx" IO_TYPE=LVCMOS33;
LOCATE COMP "serial_tx" SITE "L4";
IOBUF PORT "serial_tx" IO_TYPE=LVCMOS33;
LOCATE COMP "timestamp0" SITE "B11";
IOBUF PORT "timestamp0" IO_TYPE=LVCMOS33;
LOCATE COMP "user_led0" SITE "B2";
IOBUF PORT "user_led0" IO_TYPE=LVCMOS33;
LOCATE COMP "user_led1" SITE "C2";
IOBUF PORT "user_led1" IO_TYPE=LVCMOS33;
LOCATE COMP "user_led2" SITE "C1";
IOBUF PORT "user_led2" IO_TYPE=LVCMOS33;
LOCATE COMP "wifi_en" SITE "F1";
IOBUF PORT "wifi_en" IO_TYPE=LVCMOS33;
LOCATE COMP "wifi_gpio0" SITE "L2";
IOBUF PORT "wifi_gpio0" IO_TYPE=LVCMOS33;
BLOCK RESETPATHS;
BLOCK ASYNCPATHS;
FREQUENCY PORT "clk25" 25 MHZ;
"""
GOLDEN = {"arty": ARTY_XDC, "ulx3s": ULX3S_LPF}  # constraints; a board need not have any here
PLLS = {"xc7": ("PLLE2_ADV", "MMCME2_ADV"), "ecp5": ("EHXPLLL",)}
EVERY_BOARD = [board.name for name in boards.names() for board in boards.variants(name).values()]
NEW_BOARD = """
from dataclasses import replace
from boards.ulx3s import BOARD
BOARD = replace(BOARD, name="made_up", title="A board of mine", clock_hz=50_000_000)
"""


def soc_files(folder: Path, board: boards.Board, rom: bytes | None = b"\x6f\0\0\0" * 99) -> dict[str, str]:
    """What the SoC of a board is made of, around an accelerator of which only the name counts."""
    folder.mkdir(exist_ok=True)
    accelerator = folder / "accelerator.v"
    accelerator.write_text("module headrace; endmodule\n")
    generate(folder, board=board, accelerator=accelerator, rom=rom)
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", EVERY_BOARD)
def test_every_board(tmp_path: Path, name: str) -> None:
    """The SoC of each file in boards/ and of each of its variants, whichever there are."""
    board, device = boards.find(name), Device.of(boards.find(name).device)
    assert board.name == name and board.title
    assert min(board.budget.lut, board.budget.ff, board.budget.bram36, board.budget.dsp) > 0
    assert board.budget.name == device.part
    files = soc_files(tmp_path / "a", board)
    assert files == soc_files(tmp_path / "b", board)
    assert "module soc (" in files["soc.v"]
    # Without it Yosys makes the buffer of the ECP5 of flip-flops: 262,144 of them.
    assert ("(* no_rw_check *) reg [31:0] buffer[" in files["soc.v"]) == (device.family == "ecp5")
    assert any(f"{pll} " in files["soc.v"] for pll in PLLS[device.family]) == (not board.simulated)
    assert board.simulated == (board.usb is None) == (board.programmer is None)
    constraints = {file: text for file, text in files.items() if file.endswith((".xdc", ".lpf"))}
    if board.crystal is None:
        assert constraints == {}
        return
    text = constraints.pop(f"soc{device.constraints_suffix}")
    assert constraints == {}
    assert text == GOLDEN.get(name.partition("-")[0], text)
    if name == "ulx3s":  # low, they would let the ESP32 take the FPGA over
        assert all(f"assign wifi_{pin} = 1'd1;" in files["soc.v"] for pin in ("gpio0", "en"))
    (clock,) = (line for line in text.splitlines() if line.startswith(("create_clock", "FREQUENCY")))
    assert board.crystal[0] in clock


def test_golden_constraints_are_of_boards() -> None:
    assert set(GOLDEN) <= set(boards.names()) and "sim" in boards.names()
    assert {"arty-a7-100", "arty-a7-35"} < set(EVERY_BOARD)


def test_a_new_board_is_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_up.py").write_text(NEW_BOARD)
    monkeypatch.setattr(boards, "__path__", [*boards.__path__, str(tmp_path)])
    assert "made_up" in boards.names()
    assert soc_files(tmp_path / "soc", boards.find("made_up"))["soc.lpf"] == ULX3S_LPF
    assert Target.of("mnist-w2a2", board="made_up", engine="stream").out_dir == Path("build/made_up-mnist-w2a2-stream")
    routed = " or ".join(name for name in boards.names() if boards.find(name).flow == "open")
    assert "made_up" in routed
    with pytest.raises(TargetError) as caught:
        route.main(board="sim")
    assert str(caught.value) == f"only boards of the open flow are routed: --board {routed}"


def test_a_board_chooses_cpu_and_memories(tmp_path: Path) -> None:
    sim = boards.find("sim")
    assert (sim.cpu, sim.rom, sim.sram) == ("standard", 64 << 10, 16 << 10)
    small = replace(sim, cpu="lite", rom=32 << 10, sram=8 << 10)
    files, default = soc_files(tmp_path / "small", small, rom=None), soc_files(tmp_path / "default", sim, rom=None)
    assert "CONFIG_CPU_VARIANT_LITE" in files["soc.h"] and "CONFIG_CPU_VARIANT_STANDARD" in default["soc.h"]
    assert "reg [31:0] rom[0:8191];" in files["soc.v"] and "reg [31:0] rom[0:16383];" in default["soc.v"]
    assert "reg [31:0] sram[0:2047];" in files["soc.v"] and "reg [31:0] sram[0:4095];" in default["soc.v"]
    # The linker's regions and the firmware's headers say so, too.
    regions = dict(re.findall(r"(rom|sram) : ORIGIN = \w+, LENGTH = (\w+)", files["regions.ld"]))
    assert {name: int(size, 16) for name, size in regions.items()} == {"rom": small.rom, "sram": small.sram}
    assert "#define ROM_SIZE 0x00008000" in files["mem.h"] and "#define SRAM_SIZE 0x00002000" in files["mem.h"]
    with pytest.raises(ValueError) as caught:
        soc_files(tmp_path / "full", small, rom=bytes((32 << 10) + 1))
    assert str(caught.value) == "the firmware has 32769 bytes; the ROM takes 1 to 32768"


def test_budgets() -> None:
    left = {"ff": XC7A100T.ff - SOC.ff, "dsp": int(MOST_DSP * XC7A100T.dsp) - SOC.dsp}
    for name in ("sim", "arty"):
        budget = boards.find(name).budget
        array = {"name": XC7A100T.name, "array_lut": ROUTABLE_ARRAY_LUT}
        assert budget == Budget(ROUTABLE_LUT, bram36=MOST_BRAM, **left, **array)
        assert budget.for_arrays.lut == ROUTABLE_ARRAY_LUT
        assert Target.of("rn07", board=name, engine="stream").budget == budget
        own = Target.of("cnv-w1a1", board=name, engine="stream").budget
        assert (own.lut, own.bram36, own.dsp) == (28_500, 99.5, budget.dsp) and own.lut < ROUTABLE_LUT
    assert left_for_accelerator(XC7A35T).bram36 == 50 - SOC.bram36
    assert left_for_accelerator(XC7A35T).lut == 20_800 - SOC.lut
    assert boards.find("arty-a7-35").budget == left_for_accelerator(XC7A35T)
    ecp5 = boards.find("ulx3s").budget
    # A product of requantization is two multipliers here, a LUT6 at most three or four LUT4: all of it must be there.
    assert 2 * ecp5.dsp + SOC.dsp <= LFE5U_85F.dsp and 4 * ecp5.lut + SOC.lut <= LFE5U_85F.lut
    assert ecp5.multipliers == ("dsp18", "lut")
    assert ecp5.dsp == ROUTABLE_ON_ECP5_DSP and ecp5.lut == ROUTABLE_ON_ECP5_LUT == ecp5.for_arrays.lut
    assert ecp5.bram36 == LFE5U_85F.bram36 - SOC.bram36


def test_refusals() -> None:
    known = f"BOARD must be one of {', '.join(boards.names())}, not "
    for name, message in (
        ("spartan", known + "'spartan'"),
        ("board", known + "'board'"),
        ("devices", known + "'devices'"),
        ("../sim", known + "'../sim'"),
        ("", known + "''"),
        ("arty-z7", "VARIANT of the board arty must be one of a7-100, a7-35, not 'z7'"),
        ("ulx3s-12f", "VARIANT of the board ulx3s must be empty, not '12f'"),
    ):
        with pytest.raises(boards.BoardError) as caught:
            boards.find(name)
        assert str(caught.value) == message
    sim = boards.find("sim")
    sizes = "must be a power of two from 4096 to 268435456 bytes"
    changes: list[tuple[dict[str, Any], str]] = [
        ({"clock_hz": 0}, "clock_hz must be positive, not 0"),
        ({"flow": "ise"}, "flow must be one of verilator, open, vivado, not 'ise'"),
        ({"flow": "open"}, "a board that is no simulation needs a crystal"),
        ({"cpu": "minimal"}, "cpu must be one of lite, standard, full, not 'minimal'"),
        ({"rom": 0}, f"rom {sizes}, not 0"),
        ({"rom": 2048}, f"rom {sizes}, not 2048"),
        ({"sram": 12 << 10}, f"sram {sizes}, not 12288"),
        ({"sram": 1 << 29}, f"sram {sizes}, not 536870912"),
        ({"baud": 0}, "baud must be positive, not 0"),
    ]
    for change, message in changes:
        with pytest.raises(ValueError) as error:
            replace(sim, name="x", **change)
        assert str(error.value) == f"board x: {message}"
    assert replace(sim, rom=4 << 10, sram=1 << 28).sram == 1 << 28


def test_the_flow_is_the_boards_own_or_another_that_fits() -> None:
    def flow(board: str, name: str | None) -> str:
        return Target.of("mnist-w2a2", board=board, engine="stream", flow=name).board.flow

    assert [flow("arty", name) for name in (None, "open", "vivado")] == ["open", "open", "vivado"]
    for board, name, known in (("sim", "open", "verilator"), ("arty", "verilator", "open or vivado")):
        with pytest.raises(TargetError) as caught:
            flow(board, name)
        assert str(caught.value) == f"FLOW of the board {board} must be {known}, not {name!r}"
