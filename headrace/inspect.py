"""`headrace inspect`: how a model file was understood, and of what a compiled model consists."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from accel.dataflow.narrow import significant_bits
from accel.frontends import reads_reals
from accel.graph import Affine, Conv, Dense, Graph, Requantize
from accel.manifest import Manifest
from accel.passes import lower
from headrace import nodes
from headrace.options import Model
from models import evaluate, fetch, registry
from models.registry import DEFAULT


def main(model: Model = DEFAULT) -> None:
    """Read a model and list its integer graph, operator by operator; or a compiled model's folder, node by node."""
    console = Console(soft_wrap=True, highlight=False)
    if (folder := nodes.compiled(model)) is not None:
        manifest = Manifest.load(folder)
        nodes.show(nodes.table(manifest))
        console.print(summary(manifest))
        return
    entry = registry.find(model)
    graph = lower(evaluate.graph(entry))
    console.print(describe(graph))
    reals = evaluate.reals(entry)
    console.print(wire(graph, reals=reads_reals(fetch.model(entry)) if reals is None else reals))
    macs = multiplications(graph)
    console.print(f"{graph.name}: {len(graph.operators)} operators, {macs:,} multiplications an inference")


def wire(graph: Graph, *, reals: bool) -> str:
    """What the numbers of a sample mean; ``reals``: they are float32, which the device quantizes."""
    meaning = graph.input.affine or Affine()
    scale, offset = (
        f"{float(min(numbers)):.9g}" + (f" to {float(max(numbers)):.9g} (by channel)" if len(set(numbers)) > 1 else "")
        for numbers in (meaning.scale, meaning.offset)
    )
    carried = "float32 numbers, little-endian, which the device quantizes" if reals else "the input's integers"
    return f"the wire carries {carried}; an integer stands for itself times {scale} plus {offset}"


def multiplications(graph: Graph) -> int:
    """Multiplications by weights that an inference takes, those with the padding of an image included."""
    layers = (op for op in graph.operators if isinstance(op, Dense | Conv))
    return sum(op.weights.size * graph.tensors[op.output].size // len(op.weights) for op in layers)


def summary(manifest: Manifest) -> str:
    """What the whole costs, what of its budget that is, and what keeps it from being faster (or smaller)."""
    total, budget = manifest.estimate, manifest.budget
    macs = sum(layer.macs for node in manifest.pipeline for layer in node.layers)
    interval = f", a frame every {total.interval:,}" if total.interval else ""
    parts = [f"{manifest.name}: {macs:,} multiplications in {total.cycles:,} cycles{interval}"]
    for label, name in (("LUT", "lut"), ("FF", "ff"), ("BRAM36", "bram36"), ("DSP", "dsp")):
        if most := getattr(budget, name):
            parts.append(f"{100 * getattr(total, name) / most:.0f} % of the {label}")
    if (packed := nodes.packing(manifest)) is not None:
        parts.append(f"weights fill {100 * packed:.0f} % of their block RAM")
    parts.append(f"bound by {budget.binding}" if budget.binding else "bound by nothing")
    return "; ".join(parts)


def describe(graph: Graph) -> Table:
    """A row a tensor, in the order of computation; of a requantization the bits of its multiplier, sign included."""
    table = Table("operator", "name", "shape", "values", "bits", "multiplier", box=None)
    rows = [("input", graph.input.name, graph.input, "")]
    for op in graph.operators:
        width = str(significant_bits(op)) if isinstance(op, Requantize) else ""
        rows.append((type(op).__name__.lower(), op.name, graph.tensors[op.output], width))
    for kind, name, tensor, width in rows:
        values = "-1 or 1" if tensor.type.is_bipolar else f"{tensor.type.lo:,} to {tensor.type.hi:,}"
        shape = " × ".join(map(str, tensor.shape))
        table.add_row(kind, name, shape, values, str(tensor.type.width), width)
    return table
