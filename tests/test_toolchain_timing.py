"""Names of the design's own in a netlist, nextpnr's report and its log, and memories exchanged in routed files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain import memories, timing


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("core.array0.sum[3]", "core.array0.sum"),
        ("core.array0.sum_LUT4_Z_2", "core.array0.sum"),
        ("count[0]\\FDRE", "count"),
        ("product_TRELLIS_FF_Q_DI_MULT18X18D_P7_A2_LUT4_Z", "product"),
        ("$flatten\\core.\\array0.$auto$alumacc.cc:485$7", "core.array0"),
        ("$glbnet$sys_clk$TRELLIS_IO_IN", "sys_clk"),
        ("core.rom.0.12_DOB4_LUT4_A[2]", "core.rom"),
        ("$techmap25245\\core.rom.0.0.CLKARDCLK", "core.rom.0.0.CLKARDCLK"),
        ("switch[2]$tr_io", "switch"),
        ("$abc$25241$lut$not$aiger25240$7", None),
        ("$auto$ff.cc:337:slice$4748", None),
    ],
)
def test_owner(name: str, expected: str | None) -> None:
    assert timing.owner(name) == expected


def test_report(tmp_path: Path) -> None:
    def hop(kind: str, delay: float, name: str) -> dict:
        return {"type": kind, "delay": delay, "from": {"cell": name}} | ({"net": name} if kind == "routing" else {})

    path = [hop("clk-to-q", 0.5, "a.x_FDRE_Q"), hop("routing", 1.5, "a.x[3]"), hop("logic", 0.25, "$abc$1$lut")]
    file = tmp_path / "report.json"
    file.write_text(
        json.dumps(
            {
                "fmax": {
                    "$glbnet$fast": {"achieved": 300.0, "constraint": 100},
                    "$techmap1\\rom.CLK": {"achieved": 60.0, "constraint": 75},
                },
                "critical_paths": [
                    {"from": "<async>", "to": "posedge $glbnet$fast", "path": path},
                    {"from": "posedge $glbnet$fast", "to": "negedge $techmap1\\rom.CLK", "path": path},
                ],
                "utilization": {
                    "SLICE_LUTX": {"used": 62, "available": 126800},
                    "RAMB18E1_RAMB18E1": {"used": 3, "available": 270},
                    "RAMB36E1_RAMB36E1": {"used": 2, "available": 135},
                },
            }
        )
    )
    routed = timing.read(file, family="xc7", aliases={"$techmap1\\rom.CLK": "sys_clk"})
    assert routed.clocks == (timing.Clock("sys_clk", 60e6, 75e6), timing.Clock("fast", 300e6, 100e6))
    assert [clock.met for clock in routed.clocks] == [False, True] and routed.margin == 0.8
    (path_found,) = routed.paths
    assert (path_found.start, path_found.end) == ("fast", "sys_clk")
    assert str(path_found) == "2.2 ns (1.5 ns of it routing): a.x"
    assert routed.utilization == {"lut": timing.Use(62, 63400), "bram36": timing.Use(3.5, 135)}


def test_log_of_nextpnr_xilinx() -> None:
    log = """Info: Device utilisation:
Info: \t          SLICE_LUTX: 39083/126800    30%
Info: \t           SLICE_FFX: 15608/126800    12%
Info: \t            RAMB18E1:    24/  270     8%
Info: \t        RAMBFIFO36E1:     0/  135     0%
Info: \t            RAMB36E1:    20/  135    14%
Info: \t             DSP48E1:     4/  240     1%
Info: Max frequency for clock 'VexRiscv.clk': 60.82 MHz (FAIL at 75.00 MHz)
Info: Critical path report for clock 'VexRiscv.clk' (posedge -> posedge):
Info: curr total
Info:  0.1  0.1  Source core.array0.control3[1]\\FDRE.Q
Info: 10.0 10.1    Net core.array0.control3[1] budget 2.195000 ns (72,131) -> (51,63)
Info:                Sink $abc$1449122$lut$aiger$o7124.A1
Info:  0.1 10.2  Source $abc$1449122$lut$aiger$o7124.O6
Info:  0.1 10.3  Setup core.array0.finished50[15]\\FDRE.D
Warning: Max frequency for clock 'VexRiscv.clk': 71.91 MHz (FAIL at 75.00 MHz)
"""
    routed = timing.read_log(log, family="xc7")
    assert routed.clocks == (timing.Clock("VexRiscv.clk", 71.91e6, 75e6),)
    assert [str(path) for path in routed.paths] == [
        "10.3 ns (10.0 ns of it routing): core.array0.control3 → core.array0.finished50"
    ]
    assert routed.utilization == {
        "lut": timing.Use(39083, 63400), "ff": timing.Use(15608, 126800),
        "bram36": timing.Use(32, 135), "dsp": timing.Use(4, 240),
    }  # fmt: skip


def test_clock_names_are_found_through_buffers() -> None:
    cells = {
        "pad": {"type": "IBUF", "connections": {"I": [2], "O": [115]}},
        "buffer": {"type": "BUFG", "connections": {"I": [115], "O": [116]}},
        "lut": {"type": "LUT2", "connections": {"I0": [2], "O": [117]}},
    }
    nets = {"clk": [2], "$iopad$1": [115], "$techmap\\rom.CLK": [116], "$abc$1": [117], "$many": [115, 116]}
    module = {"cells": cells, "netnames": {name: {"bits": bits} for name, bits in nets.items()}}
    assert timing.aliases({"modules": {"top": module}}, "top") == {"$iopad$1": "clk", "$techmap\\rom.CLK": "clk"}


bits = st.integers(0, 2**256 - 1)


def contents(values: list[int], kind: str) -> memories.Contents:
    width = 320 if kind == "DP16KD" else 256
    name = "INITVAL_00" if kind == "DP16KD" else "INIT_00"
    return {f"top/rom{i}": {"": kind, name: f"{value:0{width}b}"} for i, value in enumerate(values)}


def routed_file(values: list[int], kind: str) -> str:
    """What nextpnr writes of memories with these first rows (the rest is zero)."""
    text = ["# before"]
    for i, value in enumerate(values):
        if kind == "DP16KD":
            words = [f"{value >> 20 * (n // 2) + 9 * (n % 2) & 511:03x}" for n in range(32)] + ["000"] * 2016
            text += [f".bram_init {i}", *(" ".join(words[n : n + 8]) for n in range(0, 2048, 8)), ""]
        elif kind == "RAMB18E1":
            text.append(f"BRAM{i}.RAMB18_Y1.INIT_00[255:0] = 256'b{value:0256b}")
        else:
            for half in (0, 1):
                row = f"{value:0256b}"[1 - half :: 2]
                text.append(f"BRAM{i}.RAMB18_Y{half}.INIT_00[255:0] = 256'b{row:0>256}")
        text.append("# between")
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("kind", ["DP16KD", "RAMB18E1", "RAMB36E1"])
@given(pairs=st.lists(st.tuples(bits, bits), min_size=1, max_size=4))
def test_exchanged_contents_are_those_of_a_new_run_or_refused(kind: str, pairs: list[tuple[int, int]]) -> None:
    old, new = ([pair[i] for pair in pairs] for i in (0, 1))
    before, after = contents(old, kind), contents(new, kind)
    exchanged = memories.exchange(routed_file(old, kind), before, after)
    if exchanged is None:  # only where contents cannot tell memories apart
        images = [image for cell in before.values() for image in memories._images(cell)]
        assert len(set(images)) < len(images) or any(not image.strip("0 \n") for image in images)
        return
    kept = [line for line in exchanged.splitlines() if not line.endswith("'b" + "0" * 256)]
    wanted = [line for line in routed_file(new, kind).splitlines() if not line.endswith("'b" + "0" * 256)]
    assert kept == wanted


def test_structure_ignores_contents_and_nothing_else() -> None:
    def netlist(init: str, *, width: str = "18", kind: str = "RAMB18E1") -> dict:
        cell = {"type": kind, "parameters": {"INIT_3F": init, "READ_WIDTH_A": width}, "connections": {}}
        library = {"attributes": {"blackbox": "1"}, "parameter_default_values": {"INIT_3F": init}}
        return {"modules": {"top": {"cells": {"rom": cell}}, f"$paramod${init}\\RAMB18E1": library}}

    structure, held = memories.split(netlist("01x1"))
    assert held == {"top/rom": {"": "RAMB18E1", "INIT_3F": "0101"}}
    assert memories.split(netlist("1111"))[0] == structure
    assert memories.split(netlist("01x1", width="9"))[0] != structure
    assert memories.split(netlist("01x1", kind="LUT6"))[0] != memories.split(netlist("1111", kind="LUT6"))[0]
