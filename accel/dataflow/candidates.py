"""Candidates: every way to build a group of neighbouring layers as one array, less those that another one beats."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.cost import latency, multipliers_cost, resources, weight_bits, widths
from accel.dataflow.multipliers import BLOCKS
from accel.dataflow.pipeline import ArgMaxNode, ArrayNode, Layer, Node, Stream, TableNode
from accel.dataflow.timing import ACCUMULATE, FETCH, MULTIPLY, tree_stages, unit_latency_alone
from accel.graph import ArgMax, GraphError, Table, Threshold

DRAINS = (1, 4, 16)
SMALL = 32  # bits of a weight times bits of an input: larger products belong into DSP48E1s, if there are any
SHALLOW = 64  # words that a LUT holds of each bit: deeper weight memories belong into block RAM, if there is any
CHOICES: dict[str, tuple[str, ...]] = {"multiplier": (*BLOCKS, "lut"), "memory": ("bram", "lut")}
SIZES = range(1, 1 << 16)
OUTPUT_LANES = 4
LUT_UNITS, FF_UNITS = 128, 64

Item = Layer | Table | Threshold | ArgMax
Pins = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Space:
    """Which sizes are tried: ``"all"``, ``"coarse"`` (powers of two) or ``"smallest"`` (1 of everything, with
    multipliers and memories of any kind: what is needed when time is no object).

    ``ceiling`` is a latency that is known to be possible: what cannot be part of anything as fast is left out.
    """

    sizes: str = "all"
    ceiling: int | None = None

    @property
    def drains(self) -> tuple[int, ...]:
        return {"all": DRAINS, "coarse": (1, 16), "smallest": (1,)}[self.sizes]

    def widths(self, sizes: Sequence[int], unit: int) -> list[int]:
        """Values of PE or SIMD for layers of these sizes, multiples of ``unit``, ascending."""
        if self.sizes == "all":
            return breakpoints(sizes, unit)
        if self.sizes == "smallest":
            return [unit]
        return [unit << i for i in range((max(sizes) // unit).bit_length())] or [unit]


@dataclass(frozen=True)
class Candidate:
    """One way to build the items ``first`` up to, not including, ``last``."""

    first: int
    last: int
    node: Node
    cost: Cost


def among(value: object, values: Sequence) -> bool:
    """Whether a value is one of those, and of their type: 2.0 and True are equal to integers, but are none."""
    return type(value) is type(values[0]) and value in values


def check_pins(items: Sequence[Item], pins: Pins) -> Pins:
    """The pins, when all their names and values make sense. Raises `GraphError`."""
    layers = {item.dense.name for item in items if isinstance(item, Layer)}
    for layer, wishes in pins.items():
        if layer not in layers:
            raise GraphError(f"pins: there is no dense layer {layer!r}; there are {', '.join(sorted(layers))}")
        for key, value in wishes.items():
            if key in CHOICES:
                if not among(value, CHOICES[key]):
                    raise GraphError(f"pins of {layer}: {key} must be {' or '.join(CHOICES[key])}, not {value!r}")
            elif key in ("pe", "simd", "drain"):
                if not among(value, SIZES):
                    raise GraphError(f"pins of {layer}: {key} must be an integer from 1 to {SIZES[-1]}, not {value!r}")
            elif key == "array":
                if not isinstance(value, str):
                    raise GraphError(f"pins of {layer}: array must be a name, not {value!r}")
            else:
                raise GraphError(f"pins of {layer}: unknown key {key!r}; pe, simd, drain, multiplier, memory, array")
        pe, drain = wishes.get("pe"), wishes.get("drain")
        if isinstance(pe, int) and isinstance(drain, int) and pe % drain:
            raise GraphError(f"pins of {layer}: pe {pe} must be a multiple of drain {drain}")
    return pins


def enumerate_candidates(
    items: Sequence[Item],
    streams: Sequence[Stream],
    *,
    budget: Budget,
    pins: Pins,
    space: Space,
) -> Iterator[Candidate]:
    """Every candidate that fits the budget by itself and is not beaten by another one between the same streams."""
    reachable: dict[int, set[int]] = defaultdict(set)
    reachable[0].add(streams[0].lanes)
    arrays_of = [pins.get(item.dense.name, {}).get("array") if isinstance(item, Layer) else None for item in items]
    together = {i for i in range(1, len(items)) if arrays_of[i] is not None and arrays_of[i] == arrays_of[i - 1]}
    never = 1 << 40
    ceiling = never if space.ceiling is None else space.ceiling
    bounds = Bounds(items, streams, budget)
    for first in range(len(items)):
        for last in range(first + 1, len(items) + 1):
            wishes = common_wishes(items, first, last, pins)
            if wishes is None:
                break
            if last in together:
                continue
            # Where another array follows it takes all that drains in a cycle; elsewhere wide beats only cost.
            follower = items[last] if last < len(items) else None
            sink = replace(streams[last], lanes=max(DRAINS) if isinstance(follower, Layer) else OUTPUT_LANES)

            def room(used: Cost, first: int = first, last: int = last) -> int:
                """The cycles that a node which takes ``used`` may last."""
                return ceiling - bounds.outside(first, last, used)

            for lanes in sorted(reachable[first]):
                found: dict[int, list[Candidate]] = defaultdict(list)
                source = replace(streams[first], lanes=lanes)
                for node in nodes(
                    items[first:last], source, sink, budget=budget, wishes=wishes, space=space, room=room
                ):
                    price = resources(node)
                    most = room(price)
                    if not price.fits(budget) or least_cycles(node) > most or (cycles := latency(node)) > most:
                        continue
                    found[node.sink.lanes].append(Candidate(first, last, node, Cost(cycles) + price))
                for sink_lanes, some in found.items():
                    reachable[last].add(sink_lanes)
                    yield from pareto(some, budget) if space.sizes != "smallest" else some


def common_wishes(items: Sequence[Item], first: int, last: int, pins: Pins) -> dict[str, object] | None:
    """The pins of the items ``first`` to ``last`` together, or None where these cannot be one node."""
    group = items[first:last]
    if len(group) > 1 and not all(isinstance(item, Layer) for item in group):
        return None
    wishes: dict[str, object] = {}
    for item in group:
        if isinstance(item, Layer):
            own = {"array": None} | dict(pins.get(item.dense.name, {}))
            for key, value in own.items():
                if wishes.setdefault(key, value) != value:
                    return None
    return wishes


class Bounds:
    """Lower bounds on latency: no array can multiply more in a cycle than all that the others leave of the budget."""

    def __init__(self, items: Sequence[Item], streams: Sequence[Stream], budget: Budget) -> None:
        self.budget = budget
        self.loads = [
            load(item, streams[0].lanes if i == 0 else max(DRAINS), streams[i], streams[i + 1], i == len(items) - 1)
            for i, item in enumerate(items)
            if isinstance(item, Layer)
        ]
        # how many loads there are before each item
        self.before = [sum(isinstance(item, Layer) for item in items[:i]) for i in range(len(items) + 1)]

    def outside(self, first: int, last: int, used: Cost) -> int:
        """What the items before ``first`` and from ``last`` on take at least, when ``used`` is gone from the budget."""
        dsp, lut = self.budget.dsp - used.dsp, self.budget.lut - used.lut
        total = 0
        for one in self.loads[: self.before[first]] + self.loads[self.before[last] :]:
            most = max(one.share * dsp, int(lut / one.luts), 1)
            total += max(-(-one.work // most) - one.overlap, one.through)
        return total


@dataclass(frozen=True)
class Load:
    """What a layer asks of any array: products, how many share a multiplier at most, and the LUTs of one at least.

    ``overlap``: cycles that may be gone before its last input; ``through``: from its last input to its last output.
    """

    work: int
    share: int
    luts: float
    overlap: int
    through: int


def load(layer: Layer, lanes: int, source: Stream, sink: Stream, ends: bool) -> Load:
    """The least that a layer needs whose input has at most ``lanes``; ``ends``: it is the one that gives the output."""
    # many neurons and one input: the cheapest products there are, without adder trees
    prices = {style: multipliers_cost((layer,), source.type, 840, 1, style) for style in CHOICES["multiplier"]}
    beats = -(-sink.elements // OUTPUT_LANES) if ends else 1
    return Load(
        work=layer.inputs * layer.outputs,
        share=max(-(-840 // max(prices[style].dsp, 1)) for style in BLOCKS),
        luts=prices["lut"].lut / 840,
        overlap=-(-source.elements // lanes),
        through=MULTIPLY + tree_stages(1) + ACCUMULATE + FETCH + unit_latency_alone(layer.activation) + beats - 1,
    )


def least_cycles(node: Node) -> int:
    """A lower bound on the latency of a node, faster than its schedule."""
    return least_steps(node.layers, node.pe, node.simd) - node.source.beats if isinstance(node, ArrayNode) else 0


def least_steps(layers: Sequence[Layer], pe: int, simd: int) -> int:
    """What layers take at least, one after another: their steps, or the time until the next one has its inputs."""
    total = 0
    for layer in layers:
        tiles, rows = -(-layer.inputs // simd), -(-layer.outputs // pe)
        through = MULTIPLY + tree_stages(simd) + ACCUMULATE + FETCH + unit_latency_alone(layer.activation)
        total += (tiles - 1) * rows + max(rows, through)
    return total


def nodes(
    group: Sequence[Item],
    source: Stream,
    sink: Stream,
    *,
    budget: Budget,
    wishes: Mapping[str, object],
    space: Space,
    room: Callable[[Cost], int],
) -> Iterator[Node]:
    """Every way to build a group; the lanes of ``sink`` are the most that its output may have."""
    item = group[0]
    if isinstance(item, ArgMax):
        yield ArgMaxNode(item.name, item, source, replace(sink, lanes=1))
    elif isinstance(item, Table | Threshold):
        yield TableNode(item.name, item, source, replace(sink, lanes=source.lanes))
    else:
        layers = tuple(layer for layer in group if isinstance(layer, Layer))
        yield from arrays(layers, source, sink, budget=budget, wishes=wishes, space=space, room=room)


def arrays(
    layers: tuple[Layer, ...],
    source: Stream,
    sink: Stream,
    *,
    budget: Budget,
    wishes: Mapping[str, object],
    space: Space,
    room: Callable[[Cost], int],
) -> Iterator[ArrayNode]:
    """Every array for these layers whose multipliers fit the budget and whose steps alone do not take too long."""

    def options(key: str, values: Sequence) -> Sequence:
        return (wishes[key],) if key in wishes else values

    anything = space.sizes == "smallest"
    small = weight_bits(layers, source.type) * widths(layers, source.type).code <= SMALL
    styles = budget.multipliers
    multipliers = options("multiplier", styles if anything or small or not budget.dsp else styles[:1])
    simds = options("simd", space.widths([layer.inputs for layer in layers], 1))
    for drain in options("drain", space.drains):
        # a divisor of drain, so that there is an output beat a cycle
        lanes = max(n for n in range(1, sink.lanes + 1) if drain % n == 0)
        for pe in options("pe", space.widths([layer.outputs for layer in layers], drain)):
            if pe % drain:
                continue
            for simd in simds:
                steps = least_steps(layers, pe, simd) - source.beats
                prices = {m: multipliers_cost(layers, source.type, pe, simd, m) for m in multipliers}
                if not any(price.fits(budget) for price in prices.values()):
                    if widths(layers, source.type).bipolar:  # a larger SIMD that divides the inputs has smaller weights
                        continue
                    break
                fitting = [m for m, price in prices.items() if price.fits(budget) and steps <= room(price)]
                for multiplier in fitting:
                    shallow = sum(-(-layer.inputs // simd) * -(-layer.outputs // pe) for layer in layers) <= SHALLOW
                    memories = CHOICES["memory"] if anything or shallow or not budget.bram36 else ("bram",)
                    for memory in options("memory", memories):
                        yield ArrayNode(
                            name="array",
                            layers=layers,
                            source=source,
                            sink=replace(sink, lanes=lanes),
                            pe=pe,
                            simd=simd,
                            drain=drain,
                            multiplier=multiplier,
                            memory=memory,
                        )


def breakpoints(sizes: Sequence[int], unit: int) -> list[int]:
    """The multiples of ``unit`` at which the number of tiles of one of the ``sizes`` becomes smaller, ascending."""
    found = {unit}
    for size in sizes:
        units = -(-size // unit)
        found |= {-(-units // tiles) * unit for tiles in range(1, units + 1)}
    return sorted(found)


def pareto(candidates: Iterable[Candidate], budget: Budget) -> list[Candidate]:
    """Those that no other one equals or beats in cycles and every resource; of equals the first stays."""
    ordered = sorted(((vector(c.cost, budget), i, c) for i, c in enumerate(candidates)), key=lambda entry: entry[:2])
    front = np.empty((len(ordered), len(RESOURCES) + 1), dtype=np.int64)
    kept: list[Candidate] = []
    for point, _, candidate in ordered:
        if not (front[: len(kept)] <= point).all(axis=1).any():
            front[len(kept)] = point
            kept.append(candidate)
    return kept


def vector(cost: Cost, budget: Budget) -> tuple[int, ...]:
    """Cycles and resources in whole units, rounded up: block RAMs in halves, LUT and FF in parts of the budget.

    These two are estimates; units finer than they are would only make many candidates of a few.
    """
    lut, ff = -(-LUT_UNITS * cost.lut // max(budget.lut, 1)), -(-FF_UNITS * cost.ff // max(budget.ff, 1))
    return cost.cycles, lut, ff, math.ceil(2 * cost.bram36), cost.dsp
