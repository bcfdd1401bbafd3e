"""The face against a memory that waits and fails at random: bytes, errors, recovery, counters, bus protocol."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable

import numpy as np
import pytest
from amaranth.hdl import EnableInserter, Module
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_core import StreamCore

from accel.dataflow.pipeline import Stream
from accel.graph import IntType
from accel.rtl.face import MAGIC, Error, Face, Register
from accel.rtl.wishbone import CycleType

BASE, SIZE, HASH = 0x8000_0000, 512, 0x8F3A_91C2
BUSY, DONE, ERROR = 1, 2, 4


class Memory:
    """A Wishbone slave that checks its master: requests stand, announced words come, addresses stay inside."""

    def __init__(self, face: Face, seed: int, latency: int) -> None:
        self.bus, self.random, self.latency = face.dma, random.Random(seed), latency
        self.bytes = bytearray(self.random.randbytes(SIZE))
        self.fail_at: tuple[bool, int] | None = None  # (write, how many words of that kind go well before)
        self.stuck = False
        self.words = 0  # acknowledged

    async def serve(self, ctx: SimulatorContext) -> None:
        bus, waiting, request, follows = self.bus, 0, None, None
        while True:
            await ctx.tick()
            assert not (ctx.get(bus.err) and ctx.get(bus.cyc)), "what failed is asked for again"
            ctx.set(bus.ack, 0)
            ctx.set(bus.err, 0)
            if not ctx.get(bus.cyc):
                request = follows = None
                continue
            data = ctx.get(bus.dat_w) if ctx.get(bus.we) else 0
            now = (ctx.get(bus.adr), ctx.get(bus.we), data, ctx.get(bus.cti))
            if request is None:
                assert ctx.get(bus.stb) and ctx.get(bus.sel) == 0b1111 and ctx.get(bus.bte) == 0
                assert BASE <= 4 * now[0] < BASE + SIZE
                if follows is not None:
                    assert now[:2] == follows
                waiting = 0 if follows and self.random.random() < 0.8 else self.random.randint(1, self.latency)
                request = now
            assert now == request
            if waiting or self.stuck:
                waiting -= not self.stuck
                continue
            adr, we, data, cti = now
            request, follows = None, (adr + 1, we) if cti == CycleType.INCREMENTING else None
            if self.fail_at is not None and self.fail_at[0] == we:
                if self.fail_at[1] == 0:
                    self.fail_at = None
                    ctx.set(bus.err, 1)
                    follows = None
                    continue
                self.fail_at = (self.fail_at[0], self.fail_at[1] - 1)
            at = 4 * adr - BASE
            if we:
                self.bytes[at : at + 4] = data.to_bytes(4, "little")
            else:
                ctx.set(bus.dat_r, int.from_bytes(self.bytes[at : at + 4], "little"))
            self.words += 1
            ctx.set(bus.ack, 1)


class Bus:
    """The CPU's side: reads and writes registers."""

    def __init__(self, face: Face, ctx: SimulatorContext) -> None:
        self.bus, self.ctx = face.bus, ctx

    async def access(self, address: int, data: int | None = None) -> int:
        ctx, bus = self.ctx, self.bus
        for signal, value in ((bus.adr, address), (bus.cyc, 1), (bus.stb, 1), (bus.we, data is not None)):
            ctx.set(signal, value)
        ctx.set(bus.dat_w, data or 0)
        assert not ctx.get(bus.ack)
        await ctx.tick()
        if Register.COUNTERS <= address < Register.COUNTERS + 4:  # both counters of two streams
            for _ in range(2):
                assert not ctx.get(bus.ack)
                await ctx.tick()
        assert ctx.get(bus.ack) and not ctx.get(bus.err)
        value = ctx.get(bus.dat_r)
        await ctx.tick()
        ctx.set(bus.cyc, 0)
        ctx.set(bus.stb, 0)
        return value

    async def settle(self) -> int:
        """Poll until not busy; the status."""
        for _ in range(5000):
            if not (status := await self.access(Register.STATUS)) & BUSY:
                return status
        raise AssertionError("the face stays busy")


def to_memory(values: list[int], kind: IntType) -> bytes:
    narrow = kind.is_bipolar or kind.width <= 8
    return np.array(values, np.int64).astype(np.int8 if narrow else np.int16).tobytes()


def make(kind: IntType, elements: int, lanes_in: int, lanes_out: int, *, pauses: bool) -> tuple[Face, StreamCore]:
    wide = kind if kind.is_bipolar else IntType(min(kind.lo, 0), 2 * kind.hi + 1)
    source, sink = Stream(elements, kind, lanes_in), Stream(elements, wide, lanes_out)
    core = StreamCore(source=source, sink=sink, pauses=pauses)
    face = Face(core, source=source, sink=sink, hash_value=HASH, memory_base=BASE, memory_size=SIZE)
    return face, core


def run(elaboratable: object, *processes: Callable, background: tuple[Callable, ...] = ()) -> None:
    sim = Simulator(elaboratable)
    sim.add_clock(1e-8)
    for process in background:
        sim.add_testbench(process, background=True)
    for process in processes:
        sim.add_testbench(process)
    sim.run()


KINDS = [
    *(IntType(-128, 127), IntType(0, 255), IntType(0, 1), IntType(-4, 3), IntType.bipolar()),
    *(IntType(-1000, 1000), IntType(0, 65535)),
]


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    elements=st.integers(1, 40),
    lanes_in=st.integers(1, 9),
    lanes_out=st.integers(1, 5),
    pauses=st.booleans(),
    latency=st.integers(1, 3),
    seed=st.integers(0, 1 << 32),
)
def test_inferences_errors_and_recovery(
    *, kind: IntType, elements: int, lanes_in: int, lanes_out: int, pauses: bool, latency: int, seed: int
) -> None:
    face, core = make(kind, elements, lanes_in, lanes_out, pauses=pauses)
    memory = Memory(face, seed, latency)
    rng = memory.random
    words_in, words_out = -(-face.source_bytes // 4), -(-face.sink_bytes // 4)
    narrow = face.sink.type.is_bipolar or face.sink.type.width <= 8
    assert face.sink_bytes == elements * (1 if narrow else 4)
    seen: dict[str, list[int]] = {}

    async def watch(ctx: SimulatorContext) -> None:
        """Counts what the face should count."""
        bus, now = face.bus, 0
        strobe = bus.cyc & bus.stb & bus.we & ~bus.ack & (bus.adr == Register.START) & (bus.dat_w == HASH)
        streams = [flag for port in (core.input, core.output) for flag in (port.valid, port.ready)]
        while True:
            _, _, starting, busy, irq, *flags = await ctx.tick().sample(strobe, face.dma.cyc, face.irq, *streams)
            now += 1
            if starting and not busy:
                seen.update(start=[now], took=[], gave=[], end=[], counters=[0, 0, 0, 0])
            elif seen and irq and not seen["end"]:
                seen["end"].append(now)
            elif seen and not seen["end"] and now > seen["start"][0] + 1:  # from when it is busy on
                for i, name in enumerate(("took", "gave")):
                    valid, ready = flags[2 * i : 2 * i + 2]
                    seen["counters"][2 * i] += ready and not valid
                    seen["counters"][2 * i + 1] += valid and not ready
                    if valid and ready:
                        seen[name].append(now)

    async def cpu(ctx: SimulatorContext) -> None:
        bus = Bus(face, ctx)

        def place() -> tuple[int, int]:
            room_in, room_out = SIZE // 2 - 4 * words_in, SIZE // 2 - 4 * words_out
            halves = rng.sample((0, SIZE // 2), 2)
            return halves[0] + rng.randrange(room_in // 4 + 1) * 4, halves[1] + rng.randrange(room_out // 4 + 1) * 4

        async def prepare() -> tuple[int, bytes]:
            """A new input somewhere in memory; where the output will end, and what memory will hold then."""
            source, destination = place()
            values = [rng.randrange(kind.lo, kind.hi + 1, kind.step) for _ in range(elements)]
            raw = to_memory(values, kind)
            memory.bytes[source : source + len(raw)] = raw
            await bus.access(Register.SOURCE, BASE + source)
            await bus.access(Register.DESTINATION, BASE + destination)
            after = bytearray(memory.bytes)
            end = destination + face.sink_bytes
            after[destination:end] = np.array(values).astype(np.int8 if narrow else "<i4").tobytes()
            return end, bytes(after)

        def matches(end: int, after: bytes) -> bool:
            """Whether memory is as expected, but for what fills the output's last word."""
            rest = slice(end, end + -face.sink_bytes % 4)
            found, expected = bytearray(memory.bytes), bytearray(after)
            found[rest] = expected[rest] = b""
            return found == expected

        async def good_inference() -> None:
            expected = await prepare()
            seen.clear()
            await bus.access(Register.START, HASH)
            assert await bus.settle() == DONE
            assert matches(*expected)
            assert await bus.access(Register.ERROR) == Error.NONE
            assert ctx.get(face.irq) and seen["end"]
            assert len(seen["took"]) == face.source.beats and len(seen["gave"]) == face.sink.beats
            assert await bus.access(Register.CYCLES) == seen["end"][0] - seen["start"][0]
            assert await bus.access(Register.CORE_CYCLES) == seen["gave"][-1] - seen["took"][0] + 1
            counters = [await bus.access(Register.COUNTERS + i) for i in range(4)]
            assert counters == seen["counters"]

        async def refused(cause: Error, hash_value: int = HASH) -> None:
            before, words = bytes(memory.bytes), memory.words
            await bus.access(Register.START, hash_value)
            assert await bus.access(Register.STATUS) == ERROR
            assert await bus.access(Register.ERROR) == cause
            assert ctx.get(face.irq)
            assert memory.bytes == before and memory.words == words

        await bus.access(Register.IRQ_ENABLE, 1)
        constants = {
            Register.MAGIC: MAGIC, Register.HASH: HASH, Register.SOURCE_BYTES: face.source_bytes,
            Register.DESTINATION_BYTES: face.sink_bytes, Register.STREAMS: 2, Register.STATUS: 0,
            Register.IRQ_ENABLE: 1, 14: 0, Register.COUNTERS + 4: 0, Register.START: 0,
        }  # fmt: skip
        for register, value in constants.items():
            assert await bus.access(register) == value
        await refused(Error.SOURCE)  # addresses are 0 after reset
        await good_inference()
        await good_inference()

        # Refused before anything moves; the registers keep what was written.
        await refused(Error.HASH, HASH ^ 1 << rng.randrange(32))
        await good_inference()
        outside = [BASE - 4, BASE + SIZE, 0, 0xFFFF_FFFC, BASE ^ 0x4000_0000, BASE + 1, BASE + 2, BASE + 3]
        for register, words, cause in (
            (Register.SOURCE, words_in, Error.SOURCE),
            (Register.DESTINATION, words_out, Error.DESTINATION),
        ):
            await prepare()
            bad = rng.choice([*outside, BASE + SIZE - 4 * words + 4])
            await bus.access(register, bad)
            assert await bus.access(register) == bad
            await refused(cause)
            await bus.access(register, BASE + SIZE - 4 * words)  # the last place that is good
            await bus.access(Register.START, HASH)
            assert await bus.settle() == DONE
        await bus.access(Register.CLEAR, 1)
        assert await bus.access(Register.STATUS) == 0 and not ctx.get(face.irq)

        # A start while busy, of whatever hash, leaves the inference alone.
        expected = await prepare()
        memory.stuck = True
        await bus.access(Register.START, HASH)
        await bus.access(Register.START, rng.choice((HASH, 0)))
        assert await bus.access(Register.STATUS) == BUSY | ERROR
        assert not ctx.get(face.irq)
        memory.stuck = False
        assert await bus.settle() == DONE | ERROR
        assert await bus.access(Register.ERROR) == Error.BUSY and ctx.get(face.irq)
        assert matches(*expected)
        await good_inference()

        # A bus error ends the inference wherever it comes.
        for write, words, cause in ((0, words_in, Error.READ), (1, words_out, Error.WRITE)):
            await prepare()
            memory.fail_at = (bool(write), rng.randrange(words))
            await bus.access(Register.START, HASH)
            assert await bus.settle() == ERROR
            assert await bus.access(Register.ERROR) == cause
            assert memory.fail_at is None and not ctx.get(face.dma.cyc)
            await good_inference()

        # Starts in the cycles around the bus error that ends an inference are refused, or taken up.
        outcomes = set()
        for wait in range(7):
            await prepare()
            memory.fail_at = (False, 0)
            await bus.access(Register.START, HASH)
            if wait:
                await ctx.tick().repeat(wait)
            await bus.access(Register.START, HASH)
            status, cause = await bus.settle(), await bus.access(Register.ERROR)
            assert (status, cause) in ((ERROR, Error.BUSY), (ERROR, Error.READ), (DONE, Error.NONE))
            assert memory.fail_at is None
            outcomes.add(cause)
        assert Error.NONE in outcomes and len(outcomes) > 1  # the others are refused, one in the cycle of the abort
        await good_inference()

        # An abort, at any time, even when memory does not answer.
        for _ in range(2):
            await prepare()
            await bus.access(Register.START, HASH)
            await ctx.tick().repeat(rng.randrange(1, 40))
            memory.stuck = rng.random() < 0.5
            await bus.access(Register.CLEAR, 2)
            assert await bus.access(Register.STATUS) == 0 and not ctx.get(face.dma.cyc)
            memory.stuck = False
            await good_inference()

    run(face, cpu, background=(memory.serve, watch))


def test_clock_may_stop_while_inactive() -> None:
    """A face that is clocked only while it is active cannot be told from one that always is."""
    kind = IntType(0, 255)
    free, _ = make(kind, 21, 3, 2, pauses=True)
    gated, _ = make(kind, 21, 3, 2, pauses=True)
    m = Module()
    m.submodules.free = free
    m.submodules.gated = EnableInserter(gated.active)(gated)
    for name in ("adr", "dat_w", "sel", "cyc", "stb", "we"):
        m.d.comb += getattr(gated.bus, name).eq(getattr(free.bus, name))
    for name in ("dat_r", "ack", "err"):
        m.d.comb += getattr(gated.dma, name).eq(getattr(free.dma, name))
    memory = Memory(free, 7, 3)
    idle = 0

    async def compare(ctx: SimulatorContext) -> None:
        nonlocal idle
        while True:
            await ctx.tick()
            idle += not ctx.get(gated.active)
            for name in ("cyc", "adr", "we", "cti"):
                assert ctx.get(getattr(free.dma, name)) == ctx.get(getattr(gated.dma, name))
            assert ctx.get(free.irq) == ctx.get(gated.irq)
            if ctx.get(free.bus.ack):
                assert ctx.get(gated.bus.ack) and ctx.get(free.bus.dat_r) == ctx.get(gated.bus.dat_r)

    async def cpu(ctx: SimulatorContext) -> None:
        bus = Bus(free, ctx)
        await bus.access(Register.IRQ_ENABLE, 1)
        await bus.access(Register.DESTINATION, BASE + 256)
        for i in range(6):
            await bus.access(Register.SOURCE, BASE + 4 * i if i != 2 else 0)
            if i == 4:
                memory.fail_at = (True, 5)
            await bus.access(Register.START, HASH)
            await ctx.tick().repeat(20)
            if i == 3:
                await bus.access(Register.CLEAR, 2)
            await bus.settle()
            for register in (*range(16), *range(Register.COUNTERS, Register.COUNTERS + 4)):
                await bus.access(register)
            await ctx.tick().repeat(memory.random.randrange(100))

    run(m, cpu, background=(memory.serve, compare))
    assert idle > 100


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_arguments() -> None:
    kind = IntType(-128, 127)

    def build(elements: int = 4, sink: IntType = kind, **changes: int) -> None:
        source, target = Stream(elements, kind, 4), Stream(elements, sink, 1)
        core = StreamCore(source=source, sink=target)
        arguments = {"hash_value": HASH, "memory_base": BASE, "memory_size": SIZE} | changes
        Face(core, source=source, sink=target, **arguments)

    for changes, message in (
        ({"hash_value": 1 << 32}, "the model's hash must have 32 bits, not 0x100000000"),
        ({"memory_base": BASE + 2}, "DMA memory must be 32-bit words, not 512 bytes at 0x80000002"),
        ({"memory_base": 0xFFFFFF00}, "DMA memory must be 32-bit words, not 512 bytes at 0xffffff00"),
        ({"elements": 129, "sink": IntType(0, 999)}, "an output of 516 bytes does not fit the DMA memory of 512 bytes"),
        ({"elements": 513}, "an input of 513 bytes does not fit the DMA memory of 512 bytes"),
        ({"sink": IntType(0, 1 << 32)}, "an output of type u33[0..4294967296] does not fit a 32-bit word"),
    ):
        with pytest.raises(ValueError) as caught:
            build(**changes)  # type: ignore[arg-type]
        assert str(caught.value) == message
    del caught
    gc.collect()  # while the filter of warnings holds
