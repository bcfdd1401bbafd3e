"""The DMA's speed; what it moves, and what stops it, is in test_rtl_face.py."""

from __future__ import annotations

import gc

import pytest
from amaranth.sim import Simulator, SimulatorContext

from accel.rtl.dma import Dma
from accel.rtl.wishbone import CycleType


@pytest.mark.parametrize("burst", [True, False])
def test_full_speed(burst: bool) -> None:
    """A word a cycle each way where memory knows bursts, every second cycle where it does not; nothing lost between."""
    words = 50
    dma = Dma(read_words=words, write_words=words)
    log: list[tuple[int, int, int]] = []  # address, write, data

    async def memory(ctx: SimulatorContext) -> None:
        """Acknowledges in the cycle after the strobe, and goes on to do so within a burst."""
        bus = dma.bus
        while True:
            _, _, stb, ack, cti, adr, we, data = await ctx.tick().sample(
                bus.stb, bus.ack, bus.cti, bus.adr, bus.we, bus.dat_w
            )
            if stb and ack:
                log.append((adr, we, data))
            follows = burst and cti == CycleType.INCREMENTING
            ctx.set(bus.ack, stb and (not ack or follows))
            ctx.set(bus.dat_r, 7 * (adr + ack))

    async def test(ctx: SimulatorContext) -> None:
        ctx.set(dma.o.ready, 1)
        ctx.set(dma.i.valid, 1)
        ctx.set(dma.i.payload, 99)
        ctx.set(dma.source, 1000)
        ctx.set(dma.destination, 2000)
        await ctx.tick().repeat(10)
        assert not ctx.get(dma.bus.cyc) and ctx.get(dma.done)
        ctx.set(dma.start, 1)
        await ctx.tick()
        ctx.set(dma.start, 0)
        assert ctx.get(dma.bus.cyc) and not ctx.get(dma.done)
        received, cycles = [], 0
        while not ctx.get(dma.done):
            _, _, valid, payload = await ctx.tick().sample(dma.o.valid, dma.o.payload)
            received += [payload] * valid
            cycles += 1
        assert received == [7 * (1000 + i) for i in range(words)]
        assert cycles == (2 * (words + 1) if burst else 4 * words) - 1
        await ctx.tick()
        assert log == [(1000 + i, 0, 0) for i in range(words)] + [(2000 + i, 1, 99) for i in range(words)]

    sim = Simulator(dma)
    sim.add_clock(1e-8)
    sim.add_testbench(memory, background=True)
    sim.add_testbench(test)
    sim.run()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_arguments() -> None:
    for words, message in (
        ({"read_words": 0, "write_words": 1}, "DMA must read a positive number of words, not 0"),
        ({"read_words": 1, "write_words": -1}, "DMA must write a positive number of words, not -1"),
    ):
        with pytest.raises(ValueError) as caught:
            Dma(**words)
        assert str(caught.value) == message
    del caught
    gc.collect()  # while the filter of warnings holds
