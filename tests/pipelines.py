"""Random types, values and activations, small pipelines made of them, and their core in Amaranth's simulator."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import strategies as st

from accel.dataflow.pipeline import Activation, Link, Node, Pipeline, Stream
from accel.graph import Graph, IntType, Operator, Requantize, Tensor, Threshold
from accel.rtl.core import Core
from accel.rtl.simulate import from_beats, to_beats

Draw = Callable[[st.SearchStrategy], int]
PAUSES = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.8))


@st.composite
def int_types(draw: Draw, max_width: int) -> IntType:
    """Full, narrow, odd and bipolar types."""
    kind = draw(st.sampled_from(["plain", "plain", "plain", "bipolar", "any"]))
    if kind == "bipolar":
        return IntType.bipolar()
    width = draw(st.integers(1, max_width))
    if kind == "plain":
        signed = draw(st.booleans())
        return IntType.of(width=width, signed=signed, narrow=bool(width > 1 and draw(st.booleans())))
    bound = 1 << (width - 1)
    lo = draw(st.integers(-bound, bound))
    return IntType(lo, draw(st.integers(lo, bound)))


def values_of(type: IntType, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random values, the bounds more often than others."""
    values = type.lo + type.step * rng.integers(0, type.levels, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([type.lo, type.hi], shape), values)


def random_threshold(name: str, x: Tensor, out: IntType, rng: np.random.Generator, channels: int) -> Threshold:
    """Thresholds around the reachable values and beyond, with equal neighbours; some channels fall."""
    span = max(x.type.hi - x.type.lo, 1)
    shape = (channels, out.levels - 1)
    steps = np.rint(x.type.lo + span * rng.uniform(-0.2, 1.2, shape)).astype(np.int64)
    steps = np.where(rng.random(shape) < 0.05, rng.choice([-(1 << 50), 1 << 50, x.type.lo, x.type.hi], shape), steps)
    falling = rng.random(channels) < rng.choice([0.0, 0.5])
    return Threshold(name, (x.name,), f"{name}.y", np.sort(steps, axis=1), falling, out)


def random_requantize(name: str, x: Tensor, out: IntType, rng: np.random.Generator) -> Requantize:
    """Multipliers of either sign, sometimes one power of two for all, sometimes with sums of more than 64 bits."""
    channels, shift = x.shape[-1], int(rng.integers(1, 12))
    bits = int(rng.integers(0, 10))
    multiplier = rng.integers(-(1 << bits), (1 << bits) + 1, channels)
    if rng.random() < 0.3:
        multiplier = np.full(channels, 1 << int(rng.integers(0, 3)), dtype=np.int64)
    bias = rng.integers(-(1 << 14), 1 << 14, channels)
    turns = ()
    if rng.random() < 0.4:
        turns = (rng.integers(x.type.lo - 1, x.type.hi + 2, channels), rng.integers(-(1 << 12), 1 << 12, channels))
    if rng.random() < 0.2:
        further = int(rng.integers(40, 60))
        multiplier, bias, *turns = (each.astype(object) for each in (multiplier, bias, *turns))
        multiplier, bias, shift = (multiplier << further) + rng.integers(0, 1 << 30), bias << further, shift + further
    ties, near = bool(rng.integers(2)), int(rng.integers(0, shift)) or None
    rest = {"turn": turns[0], "above": turns[1]} if turns else {}
    return Requantize(
        name, (x.name,), f"{name}.y", multiplier, bias, shift, out, ties, near=near if ties else None, **rest
    )


@st.composite
def activations(draw: Draw, name: str, x: Tensor) -> Activation | None:
    """A threshold of few or of many levels, a requantization, or nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kind = draw(st.sampled_from(["threshold", "search", "requantize", "none"]))
    if kind == "threshold":
        return random_threshold(name, x, draw(int_types(4)), rng, x.shape[-1])
    if kind == "search":
        lo = draw(st.integers(-40, 40))
        return random_threshold(name, x, IntType(lo, lo + draw(st.integers(16, 70))), rng, x.shape[-1])
    if kind == "requantize":
        return random_requantize(name, x, draw(int_types(16).filter(lambda t: t.step == 1)), rng)
    return None


def pipeline_of(
    x: Tensor, operators: tuple[Operator, ...], nodes: tuple[Node, ...], links: tuple[Link, ...] = ()
) -> Pipeline:
    """A pipeline whose graph ends with the last operator."""
    output = operators[-1].output if operators else x.name
    return Pipeline(Graph("net", x, output, operators), nodes, links)


def stream_of(x: Tensor, lanes: int) -> Stream:
    """The stream that carries a tensor."""
    return Stream(x.size, x.type, lanes)


def simulate(
    pipeline: Pipeline, x: np.ndarray, *, seed: int = 0, pauses: tuple[float, float] = (0, 0), clear: int = 0
) -> tuple[np.ndarray, list[int]]:
    """Outputs of the core and the cycle of each output beat, in Amaranth's simulator, its first input beat in cycle 0.

    Checks that a payload stands until it is taken. With ``clear`` the core is cleared in that cycle, all is sent anew.
    """
    core = Core(pipeline)
    source, sink = pipeline.source, pipeline.sink
    words, _ = to_beats(x, source)
    payloads = [int.from_bytes(word.tobytes(), "little") for word in words]
    rng = random.Random(seed)
    outputs, times = list[int](), list[int]()

    async def bench(ctx: SimulatorContext) -> None:
        sent, cycle, offered, standing = 0, 0, False, None
        while len(outputs) < len(x) * sink.beats:
            assert cycle < 20_000, "the core has stopped"
            offered = sent < len(payloads) and (offered or rng.random() >= pauses[0])
            ctx.set(core.input.valid, offered)
            if offered:
                ctx.set(core.input.payload.as_value(), payloads[sent])
            take = rng.random() >= pauses[1]
            ctx.set(core.output.ready, take)
            ctx.set(core.clear, clear != 0 and cycle == clear)
            given_ = ctx.get(core.output.payload.as_value()) if ctx.get(core.output.valid) else None
            if standing is not None:
                assert given_ == standing
            standing = None if take else given_
            if offered and ctx.get(core.input.ready):
                sent, offered = sent + 1, False
            if take and given_ is not None:
                outputs.append(given_)
                times.append(cycle)
            if clear and cycle == clear:
                sent, offered, standing = 0, False, None
                outputs.clear()
                times.clear()
            cycle += 1
            await ctx.tick()

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    width = sink.lanes * sink.type.width
    raw = b"".join(value.to_bytes(4 * -(-width // 32), "little") for value in outputs)
    return from_beats(np.frombuffer(raw, dtype="<u4").reshape(len(x), sink.beats, -1), sink), times


def check(pipeline: Pipeline, seed: int = 0, *, frames: int = 3) -> list[int]:
    """Holds the core to the graph, frames back to back, with pauses and at times an interruption as ``seed`` has it.

    Returns the cycles of the output beats; with seed 0 there are neither pauses nor interruptions.
    """
    rng = np.random.default_rng(seed)
    x = values_of(pipeline.source.type, rng, (frames, *pipeline.graph.input.shape))
    pauses = PAUSES[seed % len(PAUSES)]
    clear = seed // len(PAUSES) % 3 * (seed % 37)
    outputs, times = simulate(pipeline, x, seed=seed, pauses=pauses, clear=clear)
    np.testing.assert_array_equal(outputs, pipeline.graph.run(x).reshape(frames, -1))
    return times
