"""What Yosys makes of the gateware, beside what `accel.dataflow.cost` expects of it.

    python -m ci.calibrate FOLDER [MODEL.onnx …]

Each part of a few arrays (or of those into which the models are folded) is synthesized by itself for the Artix-7, in
FOLDER. Block RAM and DSP48E1 must be equal; the constants of the cost model come from the LUT column.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Module, UnusedElaboratable
from amaranth.lib import wiring

from accel.dataflow.budget import RESOURCES, Budget
from accel.dataflow.build import chain, pipeline
from accel.dataflow.cost import array_parts
from accel.dataflow.pipeline import ArrayNode, Layer, Stream
from accel.frontends import load
from accel.graph import Dense, Graph, IntType, Tensor, Threshold
from accel.passes import lower
from accel.rtl.array import DenseArray
from accel.rtl.buffer import InputBuffer
from accel.rtl.images import ArrayPlan
from accel.rtl.multiply import Products
from accel.rtl.verilog import to_verilog
from toolchain.yosys import Resources, synthesize

BUDGET = Budget(lut=24_000, ff=60_000, bram36=60, dsp=230)


@dataclass(frozen=True)
class Entry:
    """A network of dense layers of random weights, and the size of the one array for all of them."""

    sizes: tuple[int, ...]
    weight_bits: int
    input_bits: int
    pe: int
    simd: int
    drain: int
    multiplier: str = "dsp"


ARRAYS = (
    Entry((96, 64, 64, 12), 3, 3, pe=8, simd=8, drain=4),
    Entry((96, 64, 64, 12), 3, 3, pe=16, simd=12, drain=16),
    Entry((96, 64, 64, 12), 2, 2, pe=16, simd=8, drain=4, multiplier="lut"),
    Entry((64, 72, 24, 16), 12, 6, pe=8, simd=6, drain=4),
    Entry((64, 64, 10), 4, 4, pe=8, simd=4, drain=1, multiplier="lut"),
)


def network(sizes: tuple[int, ...], weight_bits: int, bits: int) -> Graph:
    """Dense layers of random weights with thresholds between them."""
    rng = np.random.default_rng(1)
    weight, level = IntType.of(width=weight_bits, signed=True, narrow=True), IntType(0, (1 << bits) - 1)
    operators: list[Dense | Threshold] = []
    name = "x"
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weights = rng.integers(weight.lo, weight.hi + 1, (outputs, inputs))
        operators.append(Dense(f"dense{i}", (name,), f"sums{i}", weights, weight))
        name = f"sums{i}"
        if i < len(sizes) - 2:
            spread = int(np.sqrt(inputs) * weight.hi * level.hi / 2)
            steps = np.sort(rng.integers(-spread, spread, (outputs, level.levels - 1)), axis=1)
            operators.append(Threshold(f"steps{i}", (name,), f"y{i}", steps, np.zeros(outputs, bool), level))
            name = f"y{i}"
    return Graph("net", Tensor("x", (sizes[0],), level), name, tuple(operators))


def array(entry: Entry) -> ArrayNode:
    """All layers of such a network on one array."""
    graph = network(entry.sizes, entry.weight_bits, entry.input_bits)
    layers = tuple(item for item in chain(graph)[0] if isinstance(item, Layer))
    source = Stream(entry.sizes[0], graph.input.type, 4)
    sink = Stream(entry.sizes[-1], graph.tensors[graph.output].type, min(entry.drain, 4))
    return ArrayNode("array", layers, source, sink, entry.pe, entry.simd, entry.drain, entry.multiplier)


def components(node: ArrayNode) -> Iterator[tuple[str, tuple[str, ...], list[wiring.Component]]]:
    """A name, the parts of the cost model that it consists of, and the gateware."""
    plan, array = ArrayPlan(node), DenseArray(node)
    longest = max(layer.inputs for layer in node.layers)
    writers = (node.source.lanes, node.drain) if len(node.layers) > 1 else (node.source.lanes,)
    buffer = InputBuffer(width=plan.input_width, simd=node.simd, writers=writers, elements=longest)
    yield "units", ("units",), list(array.units(Module()).values())
    yield "buffer", ("buffer",), [buffer]
    yield "products", ("products",), [Products(plan)]
    yield "whole", tuple(array_parts(node)), [array]


def main(folder: Path, nodes: Iterable[ArrayNode]) -> None:
    """Synthesize and print, a line a part."""
    columns = "".join(f" {name:>6} {'est.':>6} {'':5}" for name in ("LUT", "FF", "BRAM36", "DSP"))
    print(f"{'array':30} {'part':9}{columns}")
    for number, node in enumerate(nodes):
        parts = array_parts(node)
        title = f"{len(node.layers)} layers, {node.pe} x {node.simd} / {node.drain}, {node.multiplier}"
        for name, of, gateware in components(node):
            found = [synthesized(folder / f"{number}-{name}-{i}", each) for i, each in enumerate(gateware)]
            line = f"{title:30} {name:9}"
            for resource in RESOURCES:
                estimate = sum(getattr(parts[part], resource) for part in of)
                real = sum(getattr(each, resource) for each in found)
                line += f" {real:6g} {estimate:6g} " + (f"{estimate / real - 1:+5.0%}" if real else " " * 5)
            print(line, flush=True)


def synthesized(folder: Path, component: wiring.Component) -> Resources:
    """What Yosys makes of a component."""
    folder.mkdir(parents=True, exist_ok=True)
    verilog = folder / "top.v"
    verilog.write_text(to_verilog(component, "top"))
    return synthesize(verilog, "top", out_dir=folder).total


def folded(files: Iterable[str]) -> Iterator[ArrayNode]:
    """The arrays of model files."""
    for file in files:
        graph = lower(load(file))
        yield from (n for n in pipeline(graph, budget=BUDGET).nodes if isinstance(n, ArrayNode))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    warnings.simplefilter("ignore", UnusedElaboratable)  # the module that units are added to is none
    main(Path(sys.argv[1]), folded(sys.argv[2:]) if len(sys.argv) > 2 else (array(entry) for entry in ARRAYS))
