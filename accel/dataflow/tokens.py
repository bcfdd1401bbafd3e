"""The whole pipeline in time: frames one after another through finite FIFOs, counted exactly and without any data.

Each node's schedule is the one that its gateware states and `accel.dataflow.timing` has the constants of; `tokens.cpp`
plays it, cycle by cycle. As nothing depends on data, one run says what every frame will take, and a pipeline that can
stop stops here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

import numpy as np

from accel import native
from accel.dataflow import timing
from accel.dataflow.pipeline import (
    AddNode,
    ArgMaxNode,
    ArrayNode,
    ConcatNode,
    ConvNode,
    DepthwiseNode,
    Link,
    Node,
    PadNode,
    Pipeline,
    PoolNode,
    RepackNode,
    Stream,
    TableNode,
    TopKNode,
    UpsampleNode,
)
from accel.dataflow.windows import least_capacity, needs
from accel.graph import GraphError, Table

SOURCE, SINK, FIFO, FORK, FLOW, PASS, REPACK, WINDOW, UPSAMPLE, TOPK, ARRAY = range(11)
BORROW, EMIT = 1, 2  # what a beat does in FLOW
UNBOUNDED = 1 << 40
FRAMES = 3  # the first shows the latency, the last two the interval
ENDLESS = 1 << 50


class DeadlockError(GraphError):
    """A pipeline that stops for ever; the message names the nodes that wait for each other."""


class TooSlowError(GraphError):
    """A run that was given up, as it took longer than the limit."""


@dataclass(frozen=True)
class Measured:
    """What a run showed.

    ``latency``: cycles from a lone frame's first input beat to its last output beat, both included; ``interval``:
    between the ends of frames that follow each other. ``held``: the most beats that the FIFO of each link held, in
    the order of the links; ``pixels``: the most beats in each line buffer. ``ends``: when each node gave the last beat
    of the first frame.
    """

    latency: int
    interval: int
    held: tuple[int, ...]
    pixels: Mapping[str, int]
    ends: Mapping[str, int]


def measure(pipeline: Pipeline, *, frames: int = FRAMES, limit: int = ENDLESS) -> Measured:
    """Run ``frames`` frames through a pipeline with the FIFOs that it has.

    Raises DeadlockError where it stops, TooSlowError where it takes more than ``limit`` cycles.
    """
    return Machine(pipeline).run([link.depth for link in pipeline.links], frames=frames, limit=limit)


class Machine:
    """A pipeline as a program for ``tokens.cpp``; the depths of its FIFOs are given anew for each run."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.nodes = {node.name: encode(node) for node in pipeline.nodes}
        self.wires: list[int] = []  # beats of a frame
        self.patience = 1000 + 2 * max(longest_pause(node) for node in pipeline.nodes)

    def wire(self, stream: Stream) -> int:
        self.wires.append(stream.beats)
        return len(self.wires) - 1

    def run(self, depths: Sequence[int], *, frames: int = FRAMES, limit: int = ENDLESS) -> Measured:
        """Run with FIFOs of ``depths`` beats, in the order of the links; see `measure`."""
        pipeline = self.pipeline
        self.wires = []
        components: list[list[int]] = []
        places: dict[str, int] = {}  # of components, by name of a node
        fifos: dict[int, int] = {}  # by index of a link
        ends: dict[tuple[str, int], int] = {}  # the wire into each input
        sides: list[tuple[str, str]] = []  # who gives to and takes from each wire, to name them

        def join(stream: Stream, giver: str, taker: str) -> int:
            sides.append((giver, taker))
            return self.wire(stream)

        def add(kind: int, inputs: Sequence[int], outputs: Sequence[int], rest: Sequence[int]) -> int:
            components.append([kind, len(inputs), *inputs, len(outputs), *outputs, *rest])
            return len(components) - 1

        order = {link: i for i, link in enumerate(pipeline.links)}
        given: dict[str, int] = {}
        for name in ("", *self.nodes):
            links = pipeline.outputs(name)
            stream = pipeline.stream(links[0])
            taker = f"fork of {name or 'the input'}" if len(links) > 1 else described(links[0], depths[order[links[0]]])
            given[name] = wire = join(stream, name or "the input", taker)
            if not name:
                add(SOURCE, [], [wire], [stream.beats * frames])
            else:
                kind, numbers = self.nodes[name]
                inputs = [ends[name, link.port] for link in pipeline.inputs(name)]
                node = pipeline.node(name)
                if isinstance(node, ArrayNode) and node.drain != node.sink.lanes:
                    words = replace(node.sink, lanes=node.drain)
                    inner = join(words, name, name)
                    places[name] = add(kind, inputs, [inner], numbers)
                    kind, numbers = repack(words, node.sink)
                    add(kind, [inner], [wire], numbers)
                else:
                    places[name] = add(kind, inputs, [wire], numbers)
            branches = [wire]
            if len(links) > 1:
                takers = [described(link, depths[order[link]]) for link in links]
                branches = [join(stream, f"fork of {name or 'the input'}", taker) for taker in takers]
                add(FORK, [wire], branches, [len(links)])
            for link, end in zip(links, branches, strict=True):
                depth = depths[order[link]]
                ends[link.consumer, link.port] = end
                if depth:
                    behind = join(stream, described(link, depth), link.consumer or "the output")
                    latency = timing.link_latency(stream, depth) if depth < UNBOUNDED else timing.LINK
                    fifos[order[link]] = add(FIFO, [end], [behind], [depth, latency])
                    ends[link.consumer, link.port] = behind
        add(SINK, [ends["", 0]], [], [])

        numbers = [len(self.wires), *self.wires, len(components), *(n for part in components for n in part)]
        program = np.array(numbers, dtype=np.int64)
        times = np.zeros((len(self.wires), 4), dtype=np.int64)
        finished = np.zeros(frames, dtype=np.int64)
        marks = np.zeros(len(components), dtype=np.int64)
        status = engine().simulate(
            program.ctypes.data_as(ctypes.c_void_p),
            *(ctypes.c_int64(n) for n in (frames, self.patience, limit)),
            *(a.ctypes.data_as(ctypes.c_void_p) for a in (times, finished, marks)),
        )
        if status == 1:
            raise DeadlockError(blocked(pipeline.graph.name, sides, times[:, 2:].astype(bool)))
        if status:
            raise TooSlowError(f"graph {pipeline.graph.name}: not done after {limit} cycles")
        return Measured(
            latency=int(finished[0]) + 1,
            interval=int(finished[-1] - finished[-2]) if frames > 1 else int(finished[0]) + 1,
            held=tuple(int(marks[fifos[i]]) if i in fifos else 0 for i in range(len(depths))),
            pixels={name: int(marks[at]) for name, at in places.items() if marks[at]},
            ends={name: int(times[wire, 1]) for name, wire in given.items()},
        )


def engine() -> ctypes.CDLL:
    """The compiled ``tokens.cpp``."""
    return native.library(Path(__file__).with_name("tokens.cpp"))


def described(link: Link, depth: int) -> str:
    """A link's FIFO, or without one what is behind it, in words."""
    if depth:
        fifo = f"the FIFO of {depth}" if depth < UNBOUNDED else "the unbounded FIFO"
        return f"{fifo} from {link.producer or 'the input'} to {link.consumer or 'the output'}"
    return link.consumer or "the output"


def blocked(graph: str, sides: Sequence[tuple[str, str]], state: np.ndarray) -> str:
    """Who waits for whom in a pipeline that stopped; ``state`` has valid and ready of each wire.

    What has something to give waits for who does not take it; who else cannot go on waits for what does not come.
    """
    at, seen = "the output", []
    while at not in seen:
        seen.append(at)
        full = [
            taker
            for (giver, taker), (valid, ready) in zip(sides, state, strict=True)
            if giver == at and valid and not ready
        ]
        empty = [giver for (giver, taker), (valid, _) in zip(sides, state, strict=True) if taker == at and not valid]
        at = next(iter(full or empty), at)
    cycle = [*seen[seen.index(at) :], at]
    if len(cycle) == 2:
        return f"graph {graph} stops: the line buffer of {at} is too small for its window"
    return f"graph {graph} stops: {' waits for '.join(cycle)}; a deeper FIFO on one of these links lets it go on"


def longest_pause(node: Node) -> int:
    """Cycles in which a node may work without taking or giving anything, at most."""
    if isinstance(node, ConvNode | DepthwiseNode):
        return node.folds[0] * node.folds[1]
    if isinstance(node, PoolNode):
        return node.window.taps
    return node.steps if isinstance(node, ArrayNode) else 1


def encode(node: Node) -> tuple[int, list[int]]:
    """The kind of a node's schedule, and its numbers in the order in which ``tokens.cpp`` reads them."""
    if isinstance(node, ConvNode | DepthwiseNode):
        products = node.taps if isinstance(node, DepthwiseNode) else node.simd * node.taps
        latency = timing.window_latency(products) + timing.FETCH + timing.unit_latency_alone(node.activation)
        return WINDOW, window(node, *node.folds, node.beats, latency)
    if isinstance(node, PoolNode) and node.overlaps:
        tiles = node.image.channels // node.source.lanes
        return WINDOW, window(node, tiles, node.window.taps, (1, 1), timing.pool_latency(node))
    if isinstance(node, PoolNode):
        return FLOW, flow(timing.pool_latency(node), pool_steps(node))
    if isinstance(node, AddNode):
        return FLOW, flow(timing.add_latency(node) - timing.FIFO, [BORROW | EMIT], joint=True)
    if isinstance(node, TableNode):
        unit = 0 if isinstance(node.function, Table) else timing.unit_latency_alone(node.function)
        return FLOW, flow(timing.FETCH + unit, [BORROW | EMIT])
    if isinstance(node, ArgMaxNode):
        levels = (node.source.lanes - 1).bit_length()
        steps = [0] * node.source.beats
        steps[0] |= BORROW
        steps[-1] |= EMIT
        return FLOW, flow(timing.FETCH + levels + 1, steps)
    if isinstance(node, TopKNode):
        return TOPK, [node.source.elements, node.topk.k, timing.TOPK]
    if isinstance(node, UpsampleNode):
        each = node.image.channels // node.source.lanes
        places = node.image.width * each
        rest = [*node.upsample.factors, timing.FETCH + timing.FIFO, timing.lent_places(timing.FETCH, 1, 1)]
        return UPSAMPLE, [places, each, *rest]
    if isinstance(node, ArrayNode):
        return ARRAY, array(node)
    if isinstance(node, RepackNode):
        return repack(node.source, node.sink)
    steps = concat_steps(node) if isinstance(node, ConcatNode) else pad_steps(node)
    return PASS, [len(steps), *steps]


def flow(latency: int, steps: Sequence[int], *, joint: bool = False) -> list[int]:
    """What takes beats by a program, with a LendingFIFO ``latency`` cycles behind."""
    return [latency + timing.FIFO, timing.lent_places(latency, 1, 1), int(joint), len(steps), *steps]


def window(
    node: ConvNode | DepthwiseNode | PoolNode, tiles: int, each: int, beats: tuple[int, int], latency: int
) -> list[int]:
    """What reads a line buffer; ``latency`` is from a tile's last step to its first beat in the result FIFO.

    ``beats`` are those of a tile and of the last one.
    """
    assert timing.WRITTEN == 1, "tokens.cpp lets a step be issued in the cycle after its beat was accepted"
    words = node.image.channels // node.source.lanes
    capacity = node.capacity or least_capacity(node.window, node.image)
    needed, gone = needs(node.window, node.image.height, node.image.width)
    places = timing.lent_places(latency, beats[0], each)
    numbers = [capacity * words, tiles, each, *beats, latency + timing.FIFO, places, timing.RELEASE, node.source.beats]
    return [*numbers, len(needed), *(needed * words).tolist(), len(gone), *(gone * words).tolist()]


def pool_steps(node: PoolNode) -> list[int]:
    """Which beats of a frame end a window that has its place in the output."""
    image, pool = node.image, node.window
    rows, columns = pool.output(image.height, image.width)

    def ends(size: int, axis: int, outputs: int) -> np.ndarray:
        at = np.zeros(size, dtype=bool)
        at[np.arange(outputs) * pool.stride[axis] + pool.kernel[axis] - 1] = True
        return at

    pixels = np.outer(ends(image.height, 0, rows), ends(image.width, 1, columns)).ravel()
    return (pixels.repeat(image.channels // node.source.lanes) * (BORROW | EMIT)).tolist()


def concat_steps(node: ConcatNode) -> list[int]:
    """A pixel's beats, input by input."""
    return [2 * i + 1 for i, channels in enumerate(node.channels) for _ in range(channels // node.sink.lanes)]


def pad_steps(node: PadNode) -> list[int]:
    """A frame's beats: of the border or of the image; the first one waits for the image in any case."""
    top, left, bottom, right = node.pad.pads
    inside = np.ones((node.image.height, node.image.width), dtype=np.int64)
    steps = np.pad(inside, ((top, bottom), (left, right)), constant_values=-1).ravel()
    beats = steps.repeat(node.image.channels // node.sink.lanes)
    beats[0] = max(beats[0], 0)
    return [int(beat) for beat in beats]


def repack(source: Stream, sink: Stream) -> tuple[int, list[int]]:
    """A change of lanes: whole beats, parts of a beat, or by a store."""
    if source.lanes % sink.lanes == 0:
        parts = source.lanes // sink.lanes
        steps = ([0] * (parts - 1) + [1]) * source.beats
        steps = steps[: sink.beats]
        steps[-1] = 1
        return PASS, [len(steps), *steps]
    lanes = gcd(source.lanes, sink.lanes)
    return REPACK, [source.beats, sink.beats, source.lanes // lanes, sink.lanes // lanes]


def array(node: ArrayNode) -> list[int]:
    """Dense layers that share an array."""
    layers = node.layers
    tiles, rows = zip(*(node.tiles(layer) for layer in layers), strict=True)
    groups = [-(-layer.outputs // node.drain) for layer in layers]
    latency = [timing.FETCH + timing.unit_latency(node, layer.activation) for layer in layers]
    numbers = [len(layers), node.source.lanes, node.drain, node.simd]
    numbers += [timing.MULTIPLY + timing.tree_stages(node.simd), node.pe // node.drain]
    numbers += [timing.lent_places(latency[-1], 1, 1)]
    for values in ([node.source.beats, *groups[:-1]], tiles, rows, groups, latency):
        numbers += [len(values), *values]
    return numbers
