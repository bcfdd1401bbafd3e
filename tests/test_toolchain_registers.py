"""Registers that move into an ECP5's multipliers: which ones do, and that nothing else changes, by proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolchain import registers, yosys

# What Lattice's TN-02205 says of a MULT18X18D with no register, or with that of the product; Yosys has no model of one.
MODEL = (
    "module MULT18X18D ("
    + ", ".join(f"input {port}{i}" for port in "ABC" for i in range(18))
    + ", input SIGNEDA, input SIGNEDB, input SOURCEA, input SOURCEB, input CLK0, input CE0, input RST0, "
    + ", ".join(f"output P{i}" for i in range(36))
    + ");\n"
    + "\n".join(
        f'parameter REG_{stage}_CLK = "NONE"; parameter REG_{stage}_CE = "CE0"; parameter REG_{stage}_RST = "RST0";'
        for stage in ("INPUTA", "INPUTB", "OUTPUT")
    )
    + '\nparameter GSR = "ENABLED";\n'
    + "".join(
        f"wire [17:0] {port.lower()} = {{{', '.join(f'{port}{i}' for i in range(17, -1, -1))}}};\n" for port in "AB"
    )
    + """
wire signed [35:0] product = $signed({SIGNEDA & a[17], a}) * $signed({SIGNEDB & b[17], b});
reg [35:0] held = 0;
always @(posedge CLK0) if (RST0) held <= 0; else if (CE0) held <= product;
"""
    + f"assign {{{', '.join(f'P{i}' for i in range(35, -1, -1))}}} = "
    + '(REG_OUTPUT_CLK == "CLK0") ? held : product;\nendmodule\n'
)

DESIGN = """
module top (input clk, input other, input enable, input reset, input signed [WIDTH-1:0] a, input [3:0] b,
            output [8:0] y, output z);
  reg signed [WIDTH-1:0] ra = 0; reg [3:0] rb = 0; reg [8:0] p = START; reg [8:0] q = 0;
  always @(posedge clk) begin ra <= a; rb <= b; end
  wire signed [WIDTH+4:0] product = ra * $signed({1'b0, rb});
  always @(posedge CLOCK) begin IF end
  assign y = p, z = ALSO;
endmodule
"""
PLAIN = {"WIDTH": "5", "START": "0", "CLOCK": "clk", "IF": "p <= product;", "ALSO": "0"}
# Of each design what makes it different from that one, and how many registers it saves.
DESIGNS: dict[str, tuple[dict[str, str], int]] = {
    "plain": ({}, 9),
    "lowest bits dropped": ({"IF": "p <= product >>> 3;"}, 7),
    "another clock": ({"CLOCK": "other"}, 9),
    "falling edge": ({"CLOCK": "clk) if (1) begin end always @(negedge clk"}, 0),
    "enabled": ({"IF": "if (enable) p <= product;"}, 0),
    "reset": ({"IF": "if (reset) p <= 0; else p <= product;"}, 0),
    "one at first": ({"START": "1"}, 0),
    "used at once as well": ({"ALSO": "product[7]"}, 0),
    "inverted": ({"IF": "p <= ~product;"}, 0),
    "two clocks": ({"IF": "p[3:0] <= product; end always @(posedge other) begin p[8:4] <= product >>> 4;"}, 0),
    "two multipliers": ({"WIDTH": "20", "IF": "p <= product >>> 15;"}, 9),
    "two multipliers, whole": ({"WIDTH": "20", "IF": "p <= product ^ (product >>> 9);"}, 0),
    "three multipliers and LUTs": ({"WIDTH": "40", "IF": "p <= product >>> 30;"}, 0),
    "a product of a product": ({"WIDTH": "4", "IF": "p <= product[6:0] * $signed({1'b0, rb});"}, 9),
    "a sum": ({"IF": "p <= product + ra;"}, 0),
    "a sum with itself": ({"IF": "p <= product + (product >>> 2);"}, 9),
    "a difference": ({"IF": "p <= product - (product >>> 2);"}, 0),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_registers_move_into_the_multiplier(name: str, tmp_path: Path) -> None:
    changes, expected = DESIGNS[name]
    text = DESIGN
    for key, value in (PLAIN | changes).items():
        text = text.replace(key, value)
    (tmp_path / "top.v").write_text(text)
    (tmp_path / "model.v").write_text(MODEL)
    found = yosys.synthesize(tmp_path / "top.v", "top", family="ecp5", out_dir=tmp_path / "out", flatten=True)
    netlist = json.loads((tmp_path / "out" / "netlist.json").read_text())

    assert registers.absorb(netlist, "top") == expected

    cells = [cell["type"] for cell in netlist["modules"]["top"]["cells"].values()]
    assert (cells.count("TRELLIS_FF"), found.total.dsp > 0) == (found.total.ff - expected, True)
    assert registers.absorb(netlist, "top") == 0  # what it has once, it does not get again
    alone = {"creator": "", "modules": {"top": netlist["modules"]["top"]}}
    (tmp_path / "absorbed.json").write_text(json.dumps(alone))
    prove_equal(tmp_path)


def prove_equal(folder: Path) -> None:
    """Yosys proves that the netlist does what the Verilog does, from power-up on; all clocks are one to it."""
    yosys.find().run(
        [
            'read_verilog "top.v"',
            "prep -flatten -top top",
            "design -stash gold",
            "read_json absorbed.json",
            "read_verilog -DNO_INCLUDES=1 model.v +/lattice/common_sim.vh +/lattice/ccu2c_sim.vh",
            "prep -flatten -top top",
            "design -stash gate",
            "design -copy-from gold -as gold top",
            "design -copy-from gate -as gate top",
            "miter -equiv -flatten -make_assert gold gate both",
            "hierarchy -top both",
            "opt -full",
            "sat -verify -prove-asserts -tempinduct -maxsteps 20 both",
        ],
        folder=folder,
        log=folder / "proof.log",
        timeout=300,
    )
