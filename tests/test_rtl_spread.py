"""Registers that are several stay several through synthesis, and say what one would."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from accel.rtl.spread import LISTENERS, spread
from accel.rtl.verilog import to_verilog
from toolchain import yosys

WIDTH, COUNT = 3, 2 * LISTENERS + 1  # of which the last one listens alone


class Listeners(wiring.Component):
    """Each output is the input of the cycle before, and something of its own."""

    def __init__(self) -> None:
        super().__init__({"input": In(WIDTH), **{f"output{i}": Out(WIDTH) for i in range(COUNT)}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for i, heard in enumerate(spread(m, "heard", self.input, COUNT)):
            m.d.comb += getattr(self, f"output{i}").eq(heard + i)
        return m


def test_all_hear_the_same() -> None:
    dut = Listeners()

    async def bench(context) -> None:  # type: ignore[no-untyped-def]
        for value in (1, 6, 3):
            context.set(dut.input, value)
            await context.tick()
            assert [context.get(getattr(dut, f"output{i}")) for i in range(COUNT)] == [
                (value + i) % 8 for i in range(COUNT)
            ]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_each_few_keep_a_register_of_their_own(family: str, tmp_path: Path) -> None:
    verilog = tmp_path / "listeners.v"
    verilog.write_text(to_verilog(Listeners(), "listeners"))
    report = yosys.synthesize([verilog], top="listeners", family=family, out_dir=tmp_path / "out")
    assert report.total.ff == 3 * WIDTH
