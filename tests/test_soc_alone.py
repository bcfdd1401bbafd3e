"""The accelerator alone between two shift registers, for place and route."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from soc_probe import build_soc

import boards
from soc.alone import generate_alone
from toolchain import yosys

CONSTRAINTS = {
    "arty": """\
set_property LOC E3 [get_ports {clk100}]
set_property IOSTANDARD LVCMOS33 [get_ports {clk100}]
set_property LOC A9 [get_ports {serial_rx}]
set_property IOSTANDARD LVCMOS33 [get_ports {serial_rx}]
set_property LOC D10 [get_ports {serial_tx}]
set_property IOSTANDARD LVCMOS33 [get_ports {serial_tx}]
create_clock -period 8.000 [get_ports clk100]
""",
    "ulx3s": """\
LOCATE COMP "clk25" SITE "G2";
IOBUF PORT "clk25" IO_TYPE=LVCMOS33;
LOCATE COMP "serial_rx" SITE "M1";
IOBUF PORT "serial_rx" IO_TYPE=LVCMOS33;
LOCATE COMP "serial_tx" SITE "L4";
IOBUF PORT "serial_tx" IO_TYPE=LVCMOS33;
BLOCK RESETPATHS;
BLOCK ASYNCPATHS;
FREQUENCY PORT "clk25" 125 MHZ;
""",
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_three_pins_and_nothing_is_left_out(tmp_path: Path, name: str) -> None:
    """All ports of the accelerator are connected, and synthesis keeps the flip-flops at them."""
    build_soc(tmp_path)
    board = boards.find(name)
    verilog = generate_alone(
        tmp_path / "alone", board=board, accelerator=tmp_path / "accelerator.v", clock_hz=125_000_000
    )
    (constraints,) = (path for path in verilog.parent.iterdir() if path != verilog)
    assert constraints.read_text() == CONSTRAINTS[name]
    text = verilog.read_text()
    instance = re.search(r"^headrace headrace\((.*?)\);", text, re.DOTALL | re.MULTILINE)
    header = re.search(r"^module headrace\((.*?)\);", text, re.DOTALL | re.MULTILINE)
    assert instance and header
    connected = re.findall(r"\.(\w+)\s*\(\S", instance[1])
    assert sorted(connected) == sorted(re.findall(r"\w+", header[1]))
    family = "xc7" if name == "arty" else "ecp5"
    report = yosys.synthesize(verilog, "alone", family=family, out_dir=tmp_path / "synthesis", keep=["headrace"])
    # The bus has 10 + 32 + 4 + 3 inputs and 34 outputs, the DMA 34 and 32 + 32 + 4 + 3 + 5, and there are rst, irq and
    # active; inputs are shifted, outputs taken over and shifted, and one bit waits for its pin. Some are constant.
    inputs, outputs = 49 + 34 + 1, 34 + 76 + 2
    assert report.modules["alone"].ff >= inputs + 2 * outputs + 1 - 8


def test_simulation_has_no_place_and_route(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the simulated board has no place and route; choose one with an FPGA"):
        generate_alone(tmp_path, board=boards.find("sim"), accelerator=tmp_path / "none.v", clock_hz=1e8)
