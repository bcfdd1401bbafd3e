"""What Yosys makes of the gateware, beside what `accel.dataflow.cost` expects of it.

    python -m ci.calibrate FOLDER [MODEL.onnx …] [--write]

Each part of a few arrays and a few convolutions (or every node into which the models are folded) is synthesized by
itself for the Artix-7, in FOLDER. Block RAM and DSP48E1 must be equal. To the LUT column the factors of
`accel.dataflow.fitted` are fitted, and shown beside those that there are; --write keeps them.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from amaranth.hdl import Module, UnusedElaboratable
from amaranth.lib import wiring

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.build import chain, pipeline
from accel.dataflow.cost import array_parts, multipliers_cost
from accel.dataflow.fitted import LUTS, Fitted
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
from toolchain.yosys import Resources, find, synthesize

HOLD = 0.05  # what it costs to double a factor: as much as a part that is 5 % off
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


@dataclass(frozen=True)
class Measured:
    """A part of a node: what is expected of it, with the factors that there are at the time, and what was found."""

    node: str
    part: str
    expected: Callable[[], Cost]
    found: Mapping[str, float]


def measure(folder: Path, nodes: Iterable[Node]) -> Iterator[Measured]:
    """Synthesize the parts of nodes, one after the other."""
    for number, node in enumerate(nodes):
        pieces: Iterable[tuple[str, Callable[[], Cost], list[wiring.Component]]]
        if isinstance(node, ArrayNode):
            title = f"{len(node.layers)} layers, {node.pe} x {node.simd} / {node.drain}, {node.multiplier}"
            pieces = [(name, partial(cost_of_parts, node, of), each) for name, of, each in components(node)]
        else:
            title = " ".join(str(value) for value in chosen(node).values())
            pieces = [("whole", partial(resources_of, node), [gateware(node)])]
        for name, expected, built in pieces:
            found = [synthesized(folder / f"{number}-{name}-{i}", each) for i, each in enumerate(built)]
            totals = {resource: sum(getattr(each, resource) for each in found) for resource in RESOURCES}
            yield Measured(title, name, expected, totals)


def cost_of_parts(node: ArrayNode, names: Iterable[str]) -> Cost:
    """What some parts of an array are expected to take together."""
    costs = array_parts(node)
    return sum((costs[name] for name in names), start=Cost())


def line(measured: Measured) -> str:
    """A part in the table: of each resource what was found, what was expected, and how far that is off."""
    text, expected = f"{measured.node:30} {measured.part:9}", measured.expected()
    for resource in RESOURCES:
        estimate, real = getattr(expected, resource), measured.found[resource]
        text += f" {real:6g} {estimate:6g} " + (f"{estimate / real - 1:+5.0%}" if real else " " * 5)
    return text


def fit(some: Sequence[Measured], factors: Fitted) -> Fitted:
    """Factors with which the LUTs of ``some`` come out best, in relative terms; ``factors`` are put back.

    Expectations are linear in the factors, so this is least squares. What the parts say little about stays near what
    it was, and no factor becomes negative.
    """
    names, before = list(asdict(factors)), np.array(list(asdict(factors).values()))

    def luts() -> np.ndarray:
        multipliers_cost.cache_clear()
        return np.array([each.expected().lut for each in some], dtype=float)

    found, now, slopes = np.array([each.found["lut"] for each in some], dtype=float), luts(), []
    for name, value in zip(names, before, strict=True):
        setattr(factors, name, 2 * value)  # a long way, as expectations are rounded to whole LUTs
        slopes.append(luts() - now)
        setattr(factors, name, value)
    multipliers_cost.cache_clear()
    known = found > 0
    weights = 1 / found[known, None]
    matrix = np.vstack([weights * np.column_stack(slopes)[known], HOLD * np.eye(len(names))])
    target = np.concatenate([weights[:, 0] * (found - now)[known], np.zeros(len(names))])
    change = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return Fitted(**{n: round(float(v), 3) for n, v in zip(names, before * np.maximum(1 + change, 0), strict=True)})


def main(folder: Path, nodes: Iterable[Node], *, write: bool) -> None:
    """Synthesize and print, a line a part; then the factors, those that there are and those that would fit."""
    columns = "".join(f" {name:>6} {'est.':>6} {'':5}" for name in ("LUT", "FF", "BRAM36", "DSP"))
    print(f"{'node':30} {'part':9}{columns}")
    parts: list[Measured] = []
    for measured in measure(folder, nodes):
        print(line(measured), flush=True)
        parts.append(measured)
    fitted = fit(parts, LUTS)
    print(f"\n{'factor':20} {'is':>8} {'fitted':>8}")
    for name, value in asdict(fitted).items():
        print(f"{name:20} {getattr(LUTS, name):8g} {value:8g}")
    if write:
        fitted.save(find().version)
        print("written; run the tests of the cost model and ci/synthesis")


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
    arguments = [each for each in sys.argv[1:] if each != "--write"]
    if not arguments:
        sys.exit(__doc__)
    warnings.simplefilter("ignore", UnusedElaboratable)  # the module that units are added to is none
    ours = itertools.chain(map(array, ARRAYS), map(convolution, CONVOLUTIONS))
    main(Path(arguments[0]), folded(arguments[1:]) if len(arguments) > 1 else ours, write="--write" in sys.argv)
