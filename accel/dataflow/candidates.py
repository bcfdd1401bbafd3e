"""Candidates: every way to build a group of neighbouring layers as one array, less those that another one beats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.cost import latency, multipliers_cost, resources
from accel.dataflow.pipeline import ArgMaxNode, ArrayNode, Layer, Node, Stream, TableNode
from accel.dataflow.timing import ACCUMULATE, FETCH, MULTIPLY, tree_stages, unit_latency_alone
from accel.graph import ArgMax, GraphError, Table, Threshold

DRAINS = (1, 2, 4, 8, 16, 32)
CHOICES: dict[str, tuple[str, ...]] = {"multiplier": ("dsp", "lut"), "memory": ("bram", "lut")}
OUTPUT_LANES = 4

Item = Layer | Table | Threshold | ArgMax
Pins = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Space:
    """Which sizes are tried: ``"all"``, ``"coarse"`` (powers of two) or ``"smallest"`` (1, when time is no object).

    ``ceiling`` is a latency that is known to be possible: what cannot be part of anything as fast is left out.
    """

    sizes: str = "all"
    ceiling: int | None = None

    @property
    def drains(self) -> tuple[int, ...]:
        return {"all": DRAINS, "coarse": (1, 8), "smallest": (1,)}[self.sizes]

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


def check_pins(items: Sequence[Item], pins: Pins) -> Pins:
    """The pins, when all their names and values make sense. Raises `GraphError`."""
    layers = {item.dense.name for item in items if isinstance(item, Layer)}
    for layer, wishes in pins.items():
        if layer not in layers:
            raise GraphError(f"pins: there is no dense layer {layer!r}; there are {', '.join(sorted(layers))}")
        for key, value in wishes.items():
            if key in CHOICES:
                if value not in CHOICES[key]:
                    raise GraphError(f"pins of {layer}: {key} must be {' or '.join(CHOICES[key])}, not {value!r}")
            elif key in ("pe", "simd", "drain"):
                if not isinstance(value, int) or value < 1:
                    raise GraphError(f"pins of {layer}: {key} must be a positive integer, not {value!r}")
            elif key != "array":
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
    bounds = None if space.ceiling is None else lower_bounds(items, streams, budget=budget, pins=pins)
    for first in range(len(items)):
        for last in range(first + 1, len(items) + 1):
            wishes = common_wishes(items, first, last, pins)
            if wishes is None:
                break
            if last in together:
                continue
            ceiling = never if bounds is None or space.ceiling is None else space.ceiling - bounds.without[first, last]
            for lanes in sorted(reachable[first]):
                found: dict[int, list[Candidate]] = defaultdict(list)
                source = replace(streams[first], lanes=lanes)
                # Where another array follows it takes all that drains in a cycle; elsewhere wide beats only cost.
                follower = items[last] if last < len(items) else None
                limit = max(DRAINS) if isinstance(follower, Layer) else OUTPUT_LANES
                sink = replace(streams[last], lanes=limit)
                most_steps = ceiling + source.beats
                for node in nodes(
                    items[first:last], source, sink, budget=budget, wishes=wishes, space=space, most_steps=most_steps
                ):
                    cycles = latency(node)
                    if cycles > ceiling:
                        continue
                    price = Cost(cycles) + resources(node)
                    if price.fits(budget):
                        found[node.sink.lanes].append(Candidate(first, last, node, price))
                for sink_lanes, some in found.items():
                    reachable[last].add(sink_lanes)
                    yield from pareto(some)


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


@dataclass(frozen=True)
class Bounds:
    """``least``: of any path; ``without[i, j]``: of a path's parts before item ``i`` and from item ``j`` on."""

    least: int
    without: Mapping[tuple[int, int], int]


def lower_bounds(items: Sequence[Item], streams: Sequence[Stream], *, budget: Budget, pins: Pins) -> Bounds:
    """Bounds on latency, from the steps that a group takes with the whole budget for itself."""
    count, never = len(items), 1 << 40
    spans = [(i, j) for i in range(count) for j in range(i + 1, count + 1)]
    least: dict[tuple[int, int], int] = {}
    for first, last in spans:
        wishes = common_wishes(items, first, last, pins)
        if wishes is None:
            continue
        layers = tuple(item for item in items[first:last] if isinstance(item, Layer))
        if not layers:
            least[first, last] = 0
            continue
        source = replace(streams[first], lanes=streams[0].lanes if first == 0 else max(DRAINS))
        sizes = arrays(
            layers,
            source,
            streams[last],
            budget=budget,
            wishes={"drain": 1, "memory": "lut"} | wishes,
            space=Space(),
            most_steps=never,
        )
        steps = min((least_steps(layers, node.pe, node.simd) for node in sizes), default=never)
        least[first, last] = max(steps - source.beats, 0)
    before, after = [0] + [never] * count, [never] * count + [0]
    for (first, last), cycles in least.items():
        before[last] = min(before[last], before[first] + cycles)
    for (first, last), cycles in reversed(least.items()):
        after[first] = min(after[first], after[last] + cycles)
    return Bounds(before[count], {(i, j): before[i] + after[j] for i, j in spans})


def least_steps(layers: Sequence[Layer], pe: int, simd: int) -> int:
    """Cycles that layers take at least, one after another: their steps, or what it takes until the next one has inputs."""
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
    most_steps: int,
) -> Iterator[Node]:
    """Every way to build a group; the lanes of ``sink`` are the most that its output may have."""
    item = group[0]
    if isinstance(item, ArgMax):
        yield ArgMaxNode(item.name, item, source, replace(sink, lanes=1))
    elif isinstance(item, Table | Threshold):
        yield TableNode(item.name, item, source, replace(sink, lanes=source.lanes))
    else:
        layers = tuple(layer for layer in group if isinstance(layer, Layer))
        yield from arrays(layers, source, sink, budget=budget, wishes=wishes, space=space, most_steps=most_steps)


def arrays(
    layers: tuple[Layer, ...],
    source: Stream,
    sink: Stream,
    *,
    budget: Budget,
    wishes: Mapping[str, object],
    space: Space,
    most_steps: int,
) -> Iterator[ArrayNode]:
    """Every array for these layers whose multipliers fit the budget and whose steps alone do not take too long."""

    def options(key: str, values: Sequence) -> Sequence:
        return (wishes[key],) if key in wishes else values

    simds = options("simd", space.widths([layer.inputs for layer in layers], 1))
    for drain in options("drain", space.drains):
        for pe in options("pe", space.widths([layer.outputs for layer in layers], drain)):
            if pe % drain:
                continue
            for simd in simds:
                if least_steps(layers, pe, simd) > most_steps:
                    continue
                fitting = [
                    multiplier
                    for multiplier in options("multiplier", CHOICES["multiplier"])
                    if multipliers_cost(layers, source.type, pe, simd, multiplier).fits(budget)
                ]
                if not fitting:
                    break
                for multiplier in fitting:
                    for memory in options("memory", CHOICES["memory"]):
                        yield ArrayNode(
                            name="array",
                            layers=layers,
                            source=source,
                            sink=replace(sink, lanes=min(sink.lanes, drain)),
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


def pareto(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other one equals or beats in cycles and every resource; of equals the first stays."""
    ordered = sorted(candidates, key=lambda c: vector(c.cost))
    front = np.empty((0, len(RESOURCES) + 1))
    kept = []
    for candidate in ordered:
        point = np.asarray(vector(candidate.cost))
        if not (front <= point).all(axis=1).any():
            front = np.vstack([front, point])
            kept.append(candidate)
    return kept


def vector(cost: Cost) -> tuple[int, ...]:
    """Cycles and resources as integers; block RAMs are counted in halves."""
    return cost.cycles, cost.lut, cost.ff, round(2 * cost.bram36), cost.dsp
