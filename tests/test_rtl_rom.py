"""Read-only memories: their words, also those of many thousand bits."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator, SimulatorContext

from accel.rtl.rom import rom


@pytest.mark.parametrize("style", ["block", "logic", None])
@pytest.mark.parametrize(("width", "count"), [(1, 2), (100, 5), (8000, 3)])
def test_words_come_a_cycle_after_their_address(style: str | None, width: int, count: int) -> None:
    words = [random.Random(i).getrandbits(width) for i in range(count)]
    m, address, word = Module(), Signal(range(count)), Signal(width)
    m.d.comb += word.eq(rom(m, "words", words, width, address, style=style))

    async def bench(ctx: SimulatorContext) -> None:
        for i in (*range(count), 0):
            ctx.set(address, i)
            await ctx.tick()
            assert ctx.get(word) == words[i]

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
