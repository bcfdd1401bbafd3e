"""What Yosys makes of the gateware, beside what `accel.dataflow.cost` expects of it.

    python -m ci.calibrate FOLDER [MODEL.onnx …]

Each part of a few arrays and a few convolutions (or every node into which the models are folded) is synthesized by
itself for the Artix-7, in FOLDER. Block RAM and DSP48E1 must be equal; the constants of the cost model come from the
LUT column.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Module, UnusedElaboratable
from amaranth.lib import wiring

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.build import chain, pipeline
from accel.dataflow.cost import array_parts
from accel.dataflow.node_cost import resources_of
from accel.dataflow.options import nodes_of
from accel.dataflow.parts import parts
from accel.dataflow.pins import chosen
from accel.dataflow.pipeline import ArrayNode, Layer, Node, Stream
from accel.frontends import load
from accel.graph import Conv, Dense, Graph, IntType, Requantize, Tensor, Threshold, Window
from accel.passes import lower
from accel.rtl.array import DenseArray
from accel.rtl.buffer import InputBuffer
from accel.rtl.core import gateware
from accel.rtl.drain import activation_units
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


@dataclass(frozen=True)
class Sliding:
    """A convolution of ``size`` pixels square with as many input as output channels, and its folding."""

    channels: int
    kernel: int
    size: int
    bits: int
    pins: Mapping[str, object]
    depthwise: bool = False


CONVOLUTIONS = (
    Sliding(16, 3, 16, 8, {"pe": 8, "simd": 4, "taps": 3, "multiplier": "dsp", "memory": "bram", "buffer": "bram"}),
    Sliding(16, 3, 16, 8, {"pe": 8, "simd": 2, "taps": 1, "multiplier": "dsp", "memory": "bram", "buffer": "lut"}),
    Sliding(8, 3, 16, 8, {"pe": 4, "simd": 4, "taps": 3, "multiplier": "lut", "memory": "bram", "buffer": "lut"}),
    Sliding(16, 3, 16, 4, {"pe": 8, "simd": 4, "taps": 3, "multiplier": "dsp", "memory": "lut", "buffer": "lut"}),
    Sliding(16, 3, 16, 4, {"pe": 8, "simd": 4, "taps": 3, "multiplier": "lut", "memory": "bram", "buffer": "bram"}),
    Sliding(32, 1, 8, 8, {"pe": 8, "simd": 8, "multiplier": "dsp", "memory": "bram", "buffer": "lut"}),
    Sliding(64, 3, 14, 1, {"pe": 8, "simd": 32, "taps": 3, "multiplier": "lut", "memory": "bram", "buffer": "lut"}),
    Sliding(16, 3, 16, 8, {"pe": 4, "taps": 3, "multiplier": "dsp", "memory": "lut", "buffer": "bram"}, depthwise=True),
    Sliding(16, 3, 16, 8, {"pe": 2, "taps": 1, "multiplier": "lut", "memory": "lut", "buffer": "lut"}, depthwise=True),
)


def convolution(entry: Sliding) -> Node:
    """A node of such a convolution of random weights; of one bit, all is bipolar and nothing is padded."""
    rng = np.random.default_rng(1)
    binary = entry.bits == 1
    level = IntType.bipolar() if binary else IntType(0, (1 << entry.bits) - 1)
    weight = IntType.bipolar() if binary else IntType.of(width=entry.bits, signed=True, narrow=True)
    before, after = (entry.kernel - 1) // 2, entry.kernel // 2
    pads = (0, 0, 0, 0) if binary else (before, before, after, after)
    shape = (entry.channels, entry.kernel, entry.kernel, 1 if entry.depthwise else entry.channels)
    weights = weight.lo + weight.step * rng.integers(0, weight.levels, shape)
    window = Window((entry.kernel, entry.kernel), pads=pads)
    groups = entry.channels if entry.depthwise else 1
    conv = Conv("conv", ("x",), "sums", weights, weight, window, groups)
    x = Tensor("x", (entry.size, entry.size, entry.channels), level)
    activation: Threshold | Requantize
    if level.levels <= 16:
        steps = np.sort(rng.integers(-60, 60, (entry.channels, level.levels - 1)), axis=1)
        activation = Threshold("act", ("sums",), "y", steps, np.zeros(entry.channels, bool), level)
    else:
        ones = np.ones(entry.channels, dtype=np.int64)
        shift = (conv.infer(x).type.hi * 2).bit_length()
        activation = Requantize(
            "act", ("sums",), "y", rng.integers(100, 256, entry.channels), ones << shift, shift, level
        )
    (part,) = parts(Graph("net", x, "y", (conv, activation)))
    plenty = Budget(10**6, 10**6, 1000, 1000)
    return next(iter(nodes_of(part, budget=plenty, wishes=entry.pins)))


def components(node: ArrayNode) -> Iterator[tuple[str, tuple[str, ...], list[wiring.Component]]]:
    """A name, the parts of the cost model that it consists of, and the gateware."""
    plan, array = ArrayPlan(node), DenseArray(node)
    longest = max(layer.inputs for layer in node.layers)
    writers = (node.source.lanes, node.drain) if len(node.layers) > 1 else (node.source.lanes,)
    buffer = InputBuffer(width=plan.input_width, simd=node.simd, writers=writers, elements=longest)
    yield "units", ("units",), list(activation_units(Module(), plan).values())
    yield "buffer", ("buffer",), [buffer]
    yield "products", ("products",), [Products(plan)]
    yield "whole", tuple(array_parts(node)), [array]


def main(folder: Path, nodes: Iterable[Node]) -> None:
    """Synthesize and print, a line a part."""
    columns = "".join(f" {name:>6} {'est.':>6} {'':5}" for name in ("LUT", "FF", "BRAM36", "DSP"))
    print(f"{'node':30} {'part':9}{columns}")
    for number, node in enumerate(nodes):
        pieces: Iterable[tuple[str, Cost, list[wiring.Component]]]
        if isinstance(node, ArrayNode):
            costs = array_parts(node)
            title = f"{len(node.layers)} layers, {node.pe} x {node.simd} / {node.drain}, {node.multiplier}"
            pieces = [(name, sum((costs[p] for p in of), start=Cost()), each) for name, of, each in components(node)]
        else:
            title = " ".join(str(value) for value in chosen(node).values())
            pieces = [("whole", resources_of(node), [gateware(node)])]
        for name, estimated, built in pieces:
            found = [synthesized(folder / f"{number}-{name}-{i}", each) for i, each in enumerate(built)]
            line = f"{title:30} {name:9}"
            for resource in RESOURCES:
                estimate = getattr(estimated, resource)
                real = sum(getattr(each, resource) for each in found)
                line += f" {real:6g} {estimate:6g} " + (f"{estimate / real - 1:+5.0%}" if real else " " * 5)
            print(line, flush=True)


def synthesized(folder: Path, component: wiring.Component) -> Resources:
    """What Yosys makes of a component."""
    folder.mkdir(parents=True, exist_ok=True)
    verilog = folder / "top.v"
    verilog.write_text(to_verilog(component, "top"))
    return synthesize(verilog, "top", out_dir=folder).total


def folded(files: Iterable[str]) -> Iterator[Node]:
    """The nodes of model files."""
    for file in files:
        yield from pipeline(lower(load(file)), budget=BUDGET).nodes


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    warnings.simplefilter("ignore", UnusedElaboratable)  # the module that units are added to is none
    ours = itertools.chain(map(array, ARRAYS), map(convolution, CONVOLUTIONS))
    main(Path(sys.argv[1]), folded(sys.argv[2:]) if len(sys.argv) > 2 else ours)
