"""Folding: which layers share an array, and how wide every array is, so that latency at batch 1 is smallest.

A chain of items (dense layers, and what stands between them) is cut into groups of neighbours; each group becomes one
node. For every group the candidates are enumerated (PE, SIMD, drain, multiplier style, weight memory) and reduced to
those that nothing beats in all of latency and resources. CP-SAT then picks the path of candidates from the input to the
output whose latencies add up to the least within the budget; where two take as long, the one that leaves more of the
device free.

The optimum is exact over what is tried. A node's latency, from its last input beat to its last output beat, does not
depend on the nodes before it, as every node gives a beat a cycle once it begins; so latencies add up. Of PE and SIMD,
only the smallest values for each number of tiles are tried: a larger one takes as long and needs as many multipliers
and as much weight memory, or more. Of the rest, what makes sense (`accel.dataflow.candidates` has the rules): few
values of drain, LUTs for small products and shallow memories only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ortools.sat.python import cp_model

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.candidates import (
    FF_UNITS,
    LUT_UNITS,
    Bounds,
    Candidate,
    Item,
    Pins,
    Space,
    check_pins,
    enumerate_candidates,
    vector,
)
from accel.dataflow.pipeline import ArrayNode, Layer, Node, Stream, TableNode, sources
from accel.graph import GraphError
from accel.graph.names import free_name


class FoldingError(GraphError):
    """No folding fits the budget; the message names the resource that binds and the part that needs most of it."""


@dataclass(frozen=True)
class Folding:
    """The nodes in order, their costs, and the resource that binds.

    That is the one of which twice as much would save the most cycles (tried on sizes that are powers of two); None when
    none would save any.
    """

    nodes: tuple[Node, ...]
    costs: tuple[Cost, ...]
    binding: str | None


def fold(
    name: str,
    items: Sequence[Item],
    streams: Sequence[Stream],
    *,
    budget: Budget,
    pins: Pins | None = None,
) -> Folding:
    """The folding of least latency for the graph ``name``.

    ``streams[i]`` enters item ``i``, the last one leaves the chain; of all but the first the lanes are chosen here.
    ``pins`` fixes, by name of a dense layer, any of pe, simd, drain, multiplier, memory, and ``array``: layers that
    name the same array share it, layers that name different ones do not. Raises `FoldingError`.
    """
    pins = check_pins(items, pins or {})
    lanes = streams[0].lanes
    doubled = replace(budget, **{r: 2 * getattr(budget, r) for r in RESOURCES})
    coarse = list(enumerate_candidates(items, streams, budget=doubled, pins=pins, space=Space("coarse")))
    first = solve(coarse, len(items), lanes, budget)
    best = deepen(items, streams, budget=budget, pins=pins, reached=None if first is None else latency_of(first))
    if best is None:
        raise FoldingError(explain(name, items, streams, budget=budget, pins=pins))
    savings = dict.fromkeys(RESOURCES, 0)
    for resource in RESOURCES if first is not None else ():
        other = solve(coarse, len(items), lanes, replace(budget, **{resource: getattr(doubled, resource)}))
        assert first is not None and other is not None, "more room cannot make it harder"
        savings[resource] = latency_of(first) - latency_of(other)
    binding = max(RESOURCES, key=lambda r: savings[r])
    # by its name `accel.dataflow.pins` tells such an array from one that is named after its first layer
    taken = {item.dense.name for item in items if isinstance(item, Layer)}
    nodes = tuple(replace(c.node, name=free_name(f"{kind_of(c.node)}{i}", taken)) for i, c in enumerate(best))
    return Folding(nodes, tuple(c.cost for c in best), binding if savings[binding] > 0 else None)


def deepen(
    items: Sequence[Item], streams: Sequence[Stream], *, budget: Budget, pins: Pins, reached: int | None
) -> list[Candidate] | None:
    """The best path, looked for among those of at most so many cycles: from a lower bound up to what is ``reached``.

    The closer the limit is to the optimum, the fewer candidates can be part of a path that keeps it; and the best of
    those that keep it is the best of all.
    """

    def best_within(limit: int | None) -> list[Candidate] | None:
        space = Space("all", limit)
        candidates = list(enumerate_candidates(items, streams, budget=budget, pins=pins, space=space))
        return solve(candidates, len(items), streams[0].lanes, budget)

    if reached is None:
        return best_within(None)
    limit = Bounds(items, streams, budget).outside(0, 0, Cost())
    while True:
        limit = min(limit * 5 // 4 + 8, reached)
        best = best_within(limit)
        if best is not None and latency_of(best) <= limit:
            return best
        if best is not None:
            reached = min(reached, latency_of(best))


def latency_of(path: Sequence[Candidate]) -> int:
    """Cycles of a path, beyond the beats of its input."""
    return sum(c.cost.cycles for c in path)


def kind_of(node: Node) -> str:
    """The word for a node in names and tables: array, table or argmax."""
    return "array" if isinstance(node, ArrayNode) else "table" if isinstance(node, TableNode) else "argmax"


def solve(
    candidates: Sequence[Candidate], items: int, lanes: int, budget: Budget, objective: str = "cycles"
) -> list[Candidate] | None:
    """The path from the stream of ``lanes`` at item 0 to the end with the least sum of ``objective`` (a field of Cost).

    None when no path fits the budget.
    """
    model = cp_model.CpModel()
    chosen = [model.new_bool_var("") for _ in candidates]
    leaving: dict[tuple[int, int], list[cp_model.IntVar]] = defaultdict(list)
    entering: dict[tuple[int, int], list[cp_model.IntVar]] = defaultdict(list)
    for candidate, variable in zip(candidates, chosen, strict=True):
        leaving[candidate.first, sources(candidate.node)[0].lanes].append(variable)
        entering[candidate.last, candidate.node.sink.lanes].append(variable)
    for place in leaving.keys() | entering.keys():
        if place[0] < items:
            inflow = sum(entering[place]) if place != (0, lanes) else 1
            model.add(sum(leaving[place]) == inflow)
    model.add(sum(v for place, some in entering.items() if place[0] == items for v in some) == 1)

    vectors = np.array([vector(c.cost, budget) for c in candidates], dtype=np.int64).reshape(-1, len(RESOURCES) + 1)
    limits = (LUT_UNITS, FF_UNITS, math.floor(2 * budget.bram36), budget.dsp)
    # The objective decides; shares of the budget, at most 1000 a resource, only between paths that are equally good.
    weights = np.array([round(2 * getattr(c.cost, objective)) for c in candidates], dtype=np.int64)
    weights *= 1000 * len(RESOURCES) + 1
    for column, limit in enumerate(limits, start=1):
        model.add(cp_model.LinearExpr.weighted_sum(chosen, vectors[:, column].tolist()) <= limit)
        weights += vectors[:, column] * 1000 // max(limit, 1)
    model.minimize(cp_model.LinearExpr.weighted_sum(chosen, weights.tolist()))

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.catch_sigint_signal = False  # else Ctrl-C ends Python without cleaning up ever after
    solver.parameters.random_seed = 1
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    assert status == cp_model.OPTIMAL, solver.status_name(status)
    return sorted((c for c, v in zip(candidates, chosen, strict=True) if solver.value(v)), key=lambda c: c.first)


def explain(name: str, items: Sequence[Item], streams: Sequence[Stream], *, budget: Budget, pins: Pins) -> str:
    """Why nothing fits: the resource of which the smallest folding needs too much, and the node that needs most."""
    most = 1 << 40
    unlimited = Budget(most, most, most, most, name=budget.name)
    smallest = list(enumerate_candidates(items, streams, budget=unlimited, pins=pins, space=Space("smallest")))

    def relaxed(resource: str) -> Budget:
        return replace(budget, **{resource: most})  # type: ignore[arg-type]

    def path(limits: Budget, objective: str = "cycles") -> list[Candidate] | None:
        return solve(smallest, len(items), streams[0].lanes, limits, objective)

    for resource in RESOURCES:
        # Alone it may be too much; or it is what the others, with their limits, leave too little of.
        needed = path(unlimited, resource)
        if needed is None:
            return f"{name}: no folding obeys the pins"
        if sum(getattr(c.cost, resource) for c in needed) > getattr(budget, resource):
            return too_much(name, budget, resource, needed)
    for resource in RESOURCES:
        needed = path(relaxed(resource), resource)
        if needed is not None and sum(getattr(c.cost, resource) for c in needed) > getattr(budget, resource):
            return too_much(name, budget, resource, needed)
    return f"{name}: no folding fits the budget {budget.name} with these pins"


def too_much(name: str, budget: Budget, resource: str, needed: Sequence[Candidate]) -> str:
    """The sentence for a resource of which ``needed`` takes more than there is."""
    total, limit = (sum(getattr(c.cost, resource) for c in needed), getattr(budget, resource))
    worst = max(needed, key=lambda c: getattr(c.cost, resource))
    node = worst.node
    part = ", ".join(layer.dense.name for layer in node.layers) if isinstance(node, ArrayNode) else node.name
    return (
        f"{name} does not fit the budget {budget.name}: its smallest folding needs {total:g} {resource} of {limit:g}, "
        f"{getattr(worst.cost, resource):g} of them for {part}; choose a larger device or a smaller model"
    )
