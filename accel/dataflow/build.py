"""Build: a lowered Graph becomes the Pipeline of least latency, or of least area at a given rate, within a budget.

Chains of dense layers share arrays (`accel.dataflow.folding`); networks of images work all parts at a time
(`accel.dataflow.network`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from accel.dataflow.assemble import assemble
from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.candidates import OUTPUT_LANES, Item, Pins
from accel.dataflow.cost import resources
from accel.dataflow.fifos import Sized, size
from accel.dataflow.folding import FoldingError, fold
from accel.dataflow.network import Chosen, all_options, choose
from accel.dataflow.node_cost import fifo_cost, resources_of
from accel.dataflow.parts import Part, parts
from accel.dataflow.pins import Pinned, check, depths, of_parts
from accel.dataflow.pipeline import ArrayNode, Layer, Node, Pipeline, Stream
from accel.dataflow.rate import at_rate
from accel.dataflow.tokens import measure
from accel.graph import ArgMax, Dense, Graph, GraphError, IntType, Requantize, Table, Threshold

OBJECTIVES = ("latency", "area")
KEPT = 16  # LUTs for each part, at first, for what is between them
TRIES = 5
MARGIN = 256  # part of a budget that a try which failed leaves free


@dataclass(frozen=True)
class Built:
    """A pipeline with what it costs, and the resource that keeps it from being faster (or None).

    Of the least area at a rate ``binding`` says what keeps it from being smaller: the rate, or a resource (or None).

    ``costs`` are those of the nodes; their cycles are what each adds to the latency of a frame. ``fifos`` are those of
    the links (none of a chain). ``latency``: cycles from the first input beat to the last output beat, both included;
    ``interval``: between frames that follow each other.
    """

    pipeline: Pipeline
    costs: tuple[Cost, ...]
    binding: str | None
    latency: int
    interval: int
    fifos: tuple[Cost, ...] = ()

    @property
    def total(self) -> Cost:
        """Resources of all nodes and FIFOs; the cycles are the latency."""
        return replace(sum(self.costs + self.fifos, start=Cost()), cycles=self.latency)


Around = Callable[[int], Cost]


def nothing_around(links: int) -> Cost:
    """A pipeline by itself."""
    return Cost()


def pipeline(
    graph: Graph, *, budget: Budget, objective: str = "latency", pins: Pins | Pinned | None = None
) -> Pipeline:
    """The pipeline of least latency at batch 1; see `build`."""
    return build(graph, budget=budget, objective=objective, pins=pins).pipeline


def build(
    graph: Graph,
    *,
    budget: Budget,
    objective: str = "latency",
    rate: int | None = None,
    pins: Pins | Pinned | None = None,
    around: Around = nothing_around,
) -> Built:
    """Fold a lowered graph.

    The objective is ``latency`` of a frame, or ``area``: the least that takes a frame every ``rate`` cycles. ``pins``
    fix choices by operator, or whatever a file of them does (`accel.dataflow.pins`). ``around`` says what is taken
    of the budget around a pipeline of so many links. Raises `GraphError` for operators that no hardware node
    computes, `FoldingError` when nothing fits the budget or keeps the rate, `DeadlockError` when pinned FIFOs are
    too small for the pipeline to go on.
    """
    # of a graph's operators hardly any makes more than one link, repacks included
    inner = budget.less(around(len(graph.operators) + 2))
    if objective not in OBJECTIVES:
        raise GraphError(f"graph {graph.name}: the objective must be {' or '.join(OBJECTIVES)}, not {objective!r}")
    if (objective == "area") != (rate is not None):
        raise GraphError(f"graph {graph.name}: a rate in cycles a frame belongs to the objective area, and only there")
    if rate is not None and rate < 1:
        raise GraphError(f"graph {graph.name}: the rate must be a positive number of cycles a frame, not {rate}")
    pinned = pins if isinstance(pins, Pinned) else Pinned(pins or {})
    if objective == "latency" and is_chain(graph) and not of_parts(pinned):
        items, names = chain(graph)
        check([], pinned, chain=items)
        types = [graph.tensors[name] for name in names]
        streams = [Stream(tensor.size, tensor.type, 1) for tensor in types]
        streams[0] = Stream(streams[0].elements, streams[0].type, input_lanes(graph.input.type))
        folding = fold(graph.name, items, streams, budget=inner.for_arrays, pins=pinned.nodes)
        latency = streams[0].beats + sum(cost.cycles for cost in folding.costs)
        found = Pipeline(graph, folding.nodes)
        if pinned.fifos:
            found = found.with_depths(depths(found, pinned))
            latency = measure(found).latency
        return Built(found, folding.costs, folding.binding, latency, measure(found).interval)
    some = parts(graph)
    check(some, pinned)
    return build_network(graph, some, budget=budget, inner=inner, around=around, rate=rate, pins=pinned)


def build_network(
    graph: Graph,
    some: Sequence[Part],
    *,
    budget: Budget,
    inner: Budget,
    around: Around,
    rate: int | None,
    pins: Pinned,
) -> Built:
    """Fold what is no chain of dense layers, and size its FIFOs.

    What these, the repacks and all ``around`` take is known only afterwards, and ``inner`` is what is thought to be
    left for the parts; if it was too much, folding has to do with as much less. Likewise only then is known how
    long parts wait for each other; if it is too long for the rate, the slowest have to be faster by as much.
    """
    lanes = input_lanes(graph.input.type)
    beats = -(-graph.input.size // lanes)
    if rate is not None and beats > rate:
        raise FoldingError(f"{graph.name}: cannot take a frame every {rate} cycles; its input alone takes {beats}")
    left = inner.less(Cost(lut=min(KEPT * len(some), inner.lut // 100)))
    wide = all_options(some, budget=inner, pins=pins.nodes, steady=rate is not None)
    work = rate  # cycles a frame that a part may take
    reached: list[int] = []  # cycles between frames of what fits the budget and is too slow

    def fold_within(budget: Budget) -> Chosen:
        if work is None:
            return choose(graph.name, some, wide, budget=budget, pins=pins.nodes, beats=beats)
        return at_rate(graph.name, some, wide, budget=budget, pins=pins.nodes, beats=beats, rate=work)

    for number in range(TRIES):
        try:
            chosen = fold_within(left)
        except FoldingError:
            if number:
                break  # what was too much the last time says why
            left = inner  # nothing was to be kept, or what does not fit is said of the whole budget
            chosen = fold_within(left)
        nodes = [option.node for option in chosen.options]
        found = assemble(graph, some, nodes, lanes=lanes, output_lanes=OUTPUT_LANES)
        sized = size(found, pins=depths(found, pins), rate=rate)
        built = finished(sized)
        slow = rate is not None and built.interval > rate
        taken = built.total + around(len(built.pipeline.links))
        if taken.fits(budget):
            if not slow:
                return replace(built, binding=chosen.binding())
            reached.append(built.interval)
        if rate is not None and slow:
            work = max(option.work for option in chosen.options) * rate // built.interval
        over = {r: max(getattr(taken, r) - getattr(budget, r), 0) for r in RESOURCES}
        # a little more than is missing, or each try misses by as little as the one before
        less = {r: more and more + getattr(inner, r) // MARGIN for r, more in over.items()}
        left = replace(left, **{r: max(getattr(left, r) - more, 0) for r, more in less.items()})
    if reached:
        raise FoldingError(
            f"{graph.name}: no folding within {budget.name} takes a frame every {rate} cycles, with all that its parts "
            f"wait for each other; one every {min(reached)} is possible"
        )
    raise FoldingError(
        f"{graph.name} does not fit the budget {budget.name} with its FIFOs: "
        + ", ".join(f"{over[r]:g} {r} too many" for r in RESOURCES if over[r])
    )


def finished(sized: Sized) -> Built:
    """A sized pipeline with its costs; a node's cycles are those by which it ends after what it takes from."""
    found, measured = sized.pipeline, sized.measured

    def delay(node: Node) -> int:
        return measured.ends[node.name] - max(measured.ends[link.producer] for link in found.inputs(node.name))

    costs = tuple(replace(price(node), cycles=delay(node)) for node in found.nodes)
    fifos = tuple(fifo_cost(found.stream(link), link.depth) for link in found.links)
    return Built(found, costs, None, measured.latency, measured.interval, fifos)


def price(node: Node) -> Cost:
    """What a node of a network takes of a device."""
    return resources(node) if isinstance(node, ArrayNode) else resources_of(node)


def is_chain(graph: Graph) -> bool:
    """Whether all operators are dense layers and what a chain of them may have around: one after another."""
    names = [graph.input.name, *(op.output for op in graph.operators)]
    chained = all(tuple(op.inputs) == (name,) for op, name in zip(graph.operators, names, strict=False))
    known = all(isinstance(op, Dense | Threshold | Requantize | Table | ArgMax) for op in graph.operators)
    return chained and known and names[-1] == graph.output and any(isinstance(op, Dense) for op in graph.operators)


def input_lanes(kind: IntType) -> int:
    """Elements a beat of the input: as many as one 32-bit word of memory holds."""
    width = 2 if kind.is_bipolar else kind.width
    if width > 16:
        raise GraphError(f"an input of type {kind} has {width} bits; the input stream takes at most 16")
    return 4 if width <= 8 else 2


def chain(graph: Graph) -> tuple[list[Item], list[str]]:
    """The items of a chain of operators and the names of the tensors between them (one more than items)."""
    items: list[Item] = []
    names = [graph.input.name]
    for op in graph.operators:
        if tuple(op.inputs) != (names[-1],):
            raise GraphError(
                f"{op.name}: takes {', '.join(op.inputs)}; a pipeline is a chain, so it must take {names[-1]}"
            )
        last = items[-1] if items else None
        joins = isinstance(last, Layer) and last.activation is None
        if isinstance(op, Dense):
            items.append(Layer(op, None))
        elif isinstance(op, Threshold | Requantize) and joins:
            assert isinstance(last, Layer)
            items[-1] = Layer(last.dense, op)
            names.pop()
        elif isinstance(op, Table | Threshold | ArgMax):
            items.append(op)
        else:
            raise GraphError(f"{op.name}: no hardware node computes {type(op).__name__} here; lower the graph first")
        names.append(op.output)
    if names[-1] != graph.output:
        raise GraphError(f"graph {graph.name}: its output {graph.output} is not the end of the chain, {names[-1]}")
    if not items:
        raise GraphError(f"graph {graph.name}: has no operators")
    return items, names
