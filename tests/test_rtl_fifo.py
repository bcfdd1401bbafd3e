"""FIFOs of links and forks: what a FIFO holds, when it shows it, and that branches go their own way."""

from __future__ import annotations

import gc
import random
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import Stream
from accel.dataflow.timing import LINK, LINK_BLOCK, in_block_ram, link_latency
from accel.graph import IntType
from accel.rtl.fifo import StreamFIFO
from accel.rtl.fork import Fork


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 17, 600])
@pytest.mark.parametrize("paces", [(1.0, 1.0), (1.0, 0.4), (0.4, 1.0), (0.6, 0.5)])
def test_a_fifo_is_what_the_contract_says(depth: int, paces: tuple[float, float]) -> None:
    """Cycle for cycle: ready while fewer than ``depth`` beats are held, valid as late as `link_latency` says."""
    stream = Stream(1, IntType(0, (1 << 16) - 1), 1)
    fifo = StreamFIFO(stream, depth)
    latency = link_latency(stream, depth)
    assert latency == (LINK_BLOCK if depth == 600 else LINK)
    rng = random.Random(depth)
    seen = set()

    async def bench(ctx: SimulatorContext) -> None:
        held: deque[tuple[int, int]] = deque()  # value, first cycle in which it can be taken
        offered = None
        filling = True  # until it is full, then not until it is empty
        for cycle in range(4 * depth + 300):
            filling = len(held) < depth if filling else not held
            if offered is None and rng.random() < paces[0] * (1 if filling else 0.1):
                offered = rng.randrange(1 << 16)
            take = rng.random() < paces[1] * (0.1 if filling else 1)
            ctx.set(fifo.input.valid, offered is not None)
            ctx.set(fifo.input.payload[0], offered or 0)
            ctx.set(fifo.output.ready, take)
            valid = bool(held) and held[0][1] <= cycle
            room = len(held) < depth
            seen.add((bool(held), room))
            assert (ctx.get(fifo.output.valid), ctx.get(fifo.input.ready)) == (valid, room), cycle
            assert ctx.get(fifo.level) == len(held)
            if valid:
                assert ctx.get(fifo.output.payload[0]) == held[0][0]
            if valid and take:
                held.popleft()
            if room and offered is not None:
                held.append((offered, cycle + latency))
                offered = None
            await ctx.tick()

    simulator = Simulator(fifo)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert {(False, True), (True, False)} <= seen  # it was empty, and it was full


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(0, 1 << 30))
def test_a_fork_gives_each_beat_once_to_each_branch(branches: int, seed: int) -> None:
    stream = Stream(1, IntType(0, 255), 1)
    fork = Fork(stream, branches)
    rng = np.random.default_rng(seed)
    paces = rng.choice([0.3, 0.7, 1.0], branches)
    beats = [int(v) for v in rng.integers(0, 256, 30)]
    received: list[list[int]] = [[] for _ in range(branches)]
    cycles = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal cycles
        sent, offered = 0, False
        while any(len(r) < len(beats) for r in received):
            offered = sent < len(beats) and (offered or rng.random() < 0.7)
            ctx.set(fork.input.valid, offered)
            ctx.set(fork.input.payload[0], beats[sent] if offered else 0)
            ready = rng.random(branches) < paces
            for i in range(branches):
                ctx.set(getattr(fork, f"output{i}").ready, bool(ready[i]))
            for i in range(branches):
                branch = getattr(fork, f"output{i}")
                # a branch that has not had the beat is offered it at once, whatever the others do
                assert ctx.get(branch.valid) == (offered and len(received[i]) == sent)
                if ctx.get(branch.valid) and ready[i]:
                    received[i].append(ctx.get(branch.payload[0]))
            taken = ctx.get(fork.input.ready)
            assert taken == all(len(r) > sent or ready[i] for i, r in enumerate(received)) or not offered
            if offered and taken:
                sent, offered = sent + 1, False
            cycles += 1
            assert cycles < 3000
            await ctx.tick()

    simulator = Simulator(fork)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert received == [beats] * branches


def test_where_a_fifo_lies() -> None:
    assert not in_block_ram(64, 4096) and not in_block_ram(600, 8)
    assert in_block_ram(600, 16) and in_block_ram(65, 142)
    assert link_latency(Stream(1, IntType(0, 1), 1), 0) == 0


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_arguments() -> None:
    stream = Stream(1, IntType(0, 255), 1)
    with pytest.raises(ValueError, match=r"^FIFO depth must be a positive integer, not 0$"):
        StreamFIFO(stream, 0)
    with pytest.raises(ValueError, match=r"^a fork must have at least two branches, not 1$"):
        Fork(stream, 1)
    gc.collect()  # while the filter of warnings holds
