"""Build: a lowered Graph becomes the Pipeline of least latency within a budget."""

from __future__ import annotations

from dataclasses import dataclass

from accel.dataflow.budget import Budget, Cost
from accel.dataflow.candidates import Item, Pins
from accel.dataflow.folding import Folding, fold
from accel.dataflow.pipeline import Layer, Pipeline, Stream
from accel.graph import ArgMax, Dense, Graph, GraphError, IntType, Requantize, Table, Threshold


@dataclass(frozen=True)
class Built:
    """A pipeline with the cost of each of its nodes, and the resource that keeps it from being faster (or None).

    ``cost.cycles`` of a node is what it adds to the latency, from its last input beat to its last output beat.
    """

    pipeline: Pipeline
    costs: tuple[Cost, ...]
    binding: str | None

    @property
    def total(self) -> Cost:
        """Resources of all nodes; cycles from the first input beat to the last output beat, both included."""
        return sum(self.costs, start=Cost(cycles=self.pipeline.source.beats))


def pipeline(graph: Graph, *, budget: Budget, objective: str = "latency", pins: Pins | None = None) -> Pipeline:
    """The pipeline of least latency at batch 1; see `build`."""
    return build(graph, budget=budget, objective=objective, pins=pins).pipeline


def build(graph: Graph, *, budget: Budget, objective: str = "latency", pins: Pins | None = None) -> Built:
    """Fold a lowered graph (Dense with Threshold or Requantize behind it, Table, Threshold, ArgMax; a chain).

    Raises `GraphError` for operators that no hardware node computes, `FoldingError` when nothing fits the budget.
    """
    if objective != "latency":
        raise GraphError(f"graph {graph.name}: the objective must be latency, not {objective!r}")
    items, names = chain(graph)
    types = [graph.tensors[name] for name in names]
    streams = [Stream(tensor.size, tensor.type, 1) for tensor in types]
    streams[0] = Stream(streams[0].elements, streams[0].type, input_lanes(graph.input.type))
    folding: Folding = fold(graph.name, items, streams, budget=budget, pins=pins)
    return Built(Pipeline(graph, folding.nodes), folding.costs, folding.binding)


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
