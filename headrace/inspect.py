"""`headrace inspect`: how a model file was understood."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from accel.graph import Dense, Graph
from accel.passes import lower
from headrace.options import Model
from models import evaluate, registry
from models.registry import DEFAULT


def main(model: Model = DEFAULT) -> None:
    """Read a model and list its integer graph: every operator, with the exact interval of its output."""
    graph = lower(evaluate.graph(registry.find(model)))
    console = Console(soft_wrap=True)
    console.print(describe(graph))
    macs = sum(op.weights.size for op in graph.operators if isinstance(op, Dense))
    console.print(f"{graph.name}: {len(graph.operators)} operators, {macs:,} multiplications an inference")


def describe(graph: Graph) -> Table:
    """A row a tensor, in the order of computation."""
    table = Table("operator", "name", "shape", "values", "bits", box=None)
    rows = [("input", graph.input.name, graph.input)]
    rows += [(type(op).__name__.lower(), op.name, graph.tensors[op.output]) for op in graph.operators]
    for kind, name, tensor in rows:
        values = "-1 or 1" if tensor.type.is_bipolar else f"{tensor.type.lo:,} to {tensor.type.hi:,}"
        shape = " × ".join(map(str, tensor.shape))
        table.add_row(kind, name, shape, values, str(tensor.type.width))
    return table
