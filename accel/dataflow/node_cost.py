"""What the nodes for images cost before synthesis: DSP48E1 and block RAM as Yosys maps them, LUT and FF by fit.

A convolution multiplies, accumulates and activates as an array does, so that its parts are priced by
`accel.dataflow.cost`; what it has of its own is the line buffer. `python -m ci.calibrate` compares with Yosys.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from accel.dataflow.budget import Cost
from accel.dataflow.cost import (
    ADDER_LUTS,
    CHOICE_LUTS,
    accumulators_cost,
    lutram_luts,
    multipliers_cost,
    rom_cost,
    units_cost,
    weight_bits,
    widths,
)
from accel.dataflow.pipeline import (
    Activation,
    AddNode,
    ArgMaxNode,
    ConcatNode,
    ConvNode,
    DepthwiseNode,
    Image,
    Layer,
    Node,
    PadNode,
    PoolNode,
    RepackNode,
    Stream,
    TableNode,
    TopKNode,
    UpsampleNode,
)
from accel.dataflow.timing import in_block_ram
from accel.dataflow.windows import least_capacity
from accel.graph import Conv, Dense, IntType, Table, Tensor, Threshold, Window

RAMB18 = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))  # bits, words
REPACK_LUTS = 1.7  # by fit, for each bit of the store
WIDEN_LUTS = 5  # to count the parts of a beat, and of the handshake
PAIR_LUTS, PAIR_FFS = 1.75, 2.1  # by fit, for each pair of bits that is compared and counted
WINDOW_CONTROL = Cost(lut=130, ff=150)
STREAM_CONTROL = Cost(lut=30, ff=30)


@lru_cache(maxsize=4096)
def as_layer(conv: Conv, activation: Activation | None) -> Layer:
    """The dense layer that a convolution computes at each output pixel: the same weights and sums."""
    weights = conv.weights.reshape(len(conv.weights), -1)
    return Layer(Dense(conv.name, conv.inputs, conv.output, weights, conv.weight_type), activation)


@lru_cache(maxsize=4096)
def as_function(activation: Activation, channels: int) -> Layer:
    """A layer that does nothing but its activation, for the widths of its unit."""
    weights = np.ones((channels, 1), dtype=np.int64)
    return Layer(Dense(activation.name, ("x",), "y", weights, IntType(1, 1)), activation)


def block_ram(width: int, depth: int) -> Cost:
    """A memory of one write and one read port in block RAM, in the cheapest shape."""
    return Cost(bram36=min(math.ceil(width / bits) * math.ceil(depth / words) for bits, words in RAMB18) / 2)


def roomy(buffer: str, width: int, words: int, window: Window, image: Image, *, more: int) -> int:
    """Pixels of ``words`` words of ``width`` bits in the smallest memory that has ``more`` of them than the least.

    A memory has as many words as its LUTs or block RAM come to; all of them are used, up to two frames.
    """
    least, pixels = least_capacity(window, image), image.height * image.width
    depth = (least + more) * words
    if buffer == "lut":
        room = 32 if depth <= 32 else -(-depth // 64) * 64
    else:
        cheapest = min(-(-width // bits) * -(-depth // size) for bits, size in RAMB18)
        room = max(-(-depth // s) * s for b, s in RAMB18 if -(-width // b) * -(-depth // s) == cheapest)
    return min(room // words, least + pixels)


def line_buffer_cost(node: ConvNode | DepthwiseNode | PoolNode, code: int) -> Cost:
    """The pixels that a window needs, once for each element of the kernel that is read at a time."""
    lanes, taps = node.source.lanes, 1 if isinstance(node, PoolNode) else node.taps
    capacity = node.capacity or least_capacity(node.window, node.image)
    width, depth = lanes * code, capacity * (node.image.channels // lanes)
    if depth == 1:
        return Cost(ff=taps * width)
    one = block_ram(width, depth) if node.buffer == "bram" else Cost(lut=lutram_luts(width, depth))
    return Cost(0, taps * (one.lut + 12), taps * (width + 12), taps * one.bram36)


def window_parts(node: ConvNode | DepthwiseNode) -> dict[str, Cost]:
    """Resources of a convolution, part by part."""
    layers = (as_layer(node.conv, node.activation),)
    kind = node.conv.reads(node.source.type)
    w = widths(layers, kind)
    neurons, each = node.folds
    depthwise = isinstance(node, DepthwiseNode)
    at_once = node.taps if isinstance(node, DepthwiseNode) else node.simd * node.taps
    filled = node.window.taps % node.taps != 0
    bits = w.weight.width if filled else weight_bits(layers, kind, 1)
    if depthwise:
        products = multipliers_cost(layers, kind, node.pe, at_once, node.multiplier, own=True)
    elif w.bipolar and kind.is_bipolar:
        pairs = node.pe * at_once
        products = Cost(lut=round(PAIR_LUTS * pairs), ff=round(PAIR_FFS * pairs))
    else:
        products = multipliers_cost(layers, kind, node.pe, at_once, node.multiplier)
    style = {"bram": "block", "lut": "logic"}[node.memory]
    # a lone word is wired, not stored
    words = neurons * each
    weights = rom_cost(node.pe * at_once * bits, words, style) if words > 1 else Cost()
    return {
        "products": products,
        "weights": weights,
        "buffer": line_buffer_cost(node, w.code),
        "accumulators": accumulators_cost(node.pe, w.accumulator, 1),
        "drain": Cost(
            lut=node.drain * w.accumulator * -(-(node.pe // node.drain - 1) // 3), ff=node.drain * w.accumulator
        ),
        "units": units_cost(w, node.drain, len(node.conv.weights) // node.drain),
        "control": WINDOW_CONTROL,
    }


def function_cost(activation: Activation | None, kind: IntType, channels: int, lanes: int) -> Cost:
    """Activation units behind a pool or an addition, ``lanes`` of them."""
    if activation is None:
        return Cost()
    return units_cost(widths((as_function(activation, channels),), kind), lanes, -(-channels // lanes))


def pool_cost(node: PoolNode) -> Cost:
    """A pool: the line buffer or the row of running results, and a comparator or adder a lane."""
    lanes, channels = node.source.lanes, node.image.channels
    kind = node.pool.infer(Tensor("", (node.image.height, node.image.width, channels), node.source.type)).type
    total = function_cost(node.activation, kind, channels, lanes) + STREAM_CONTROL
    bits = kind.width
    total += Cost(lut=round(lanes * bits * 2 * ADDER_LUTS), ff=lanes * bits * 2)
    if node.overlaps:
        return total + line_buffer_cost(node, node.source.type.width) + Cost(lut=120, ff=80)
    words = node.window.output(node.image.height, node.image.width)[1] * (channels // lanes)
    return total + Cost(lut=lutram_luts(lanes * bits, words) if words > 1 else 0)


def resources_of(node: Node) -> Cost:
    """What a node for images takes of a device; cycles are left at 0."""
    if isinstance(node, ConvNode | DepthwiseNode):
        return sum(window_parts(node).values(), start=Cost())
    if isinstance(node, PoolNode):
        return pool_cost(node)
    if isinstance(node, AddNode):
        kind, lanes = node.add.bounds(node.first.type, node.second.type), node.sink.lanes
        sums = sum(
            (stream.type.width + abs(m).bit_length()) * max(abs(m).bit_count() - 1, 0)
            for stream, m in zip(node.sources, node.add.multipliers, strict=True)
        )
        adders = Cost(lut=round(lanes * (kind.width + sums) * ADDER_LUTS), ff=lanes * kind.width)
        return adders + function_cost(node.activation, kind, node.channels, lanes) + STREAM_CONTROL
    lanes = node.sink.lanes
    if isinstance(node, RepackNode):
        return repack_cost(node.source, node.sink)
    if isinstance(node, UpsampleNode):
        words, bits = node.image.width * (node.image.channels // lanes), lanes * node.sink.type.width
        return Cost(lut=lutram_luts(bits, words) + 60, ff=bits + 60)
    if isinstance(node, ConcatNode | PadNode):
        return Cost(lut=lanes * node.sink.type.width + 40, ff=40)
    if isinstance(node, TableNode) and not isinstance(node.function, Table):
        channels = len(node.function.thresholds if isinstance(node.function, Threshold) else node.function.bias)
        return function_cost(node.function, node.source.type, channels, lanes) + STREAM_CONTROL
    if isinstance(node, TableNode):
        return Cost(lut=100 * lanes, ff=30 * lanes)
    if isinstance(node, TopKNode):
        bits = node.source.type.width + node.sink.type.width
        return Cost(lut=node.topk.k * bits * 2 + 60, ff=node.topk.k * bits + 40)
    assert isinstance(node, ArgMaxNode)
    return Cost(lut=50 * node.source.lanes + 100, ff=30 * node.source.lanes + 50)


def repack_cost(source: Stream, sink: Stream) -> Cost:
    """A change of lanes: a beat is taken apart where it stands, or put together in a shift register or a store."""
    if source.lanes == sink.lanes:
        return Cost()
    width, common = source.type.width, math.gcd(source.lanes, sink.lanes)
    if common == sink.lanes:
        parts = source.lanes // sink.lanes
        counter = 0 if source.elements % source.lanes == 0 else 12  # of the frame's beats, for one that is not whole
        return Cost(lut=sink.lanes * width * -(-(parts - 1) // 3) + 3 + counter, ff=2 + counter)
    if common == source.lanes and sink.elements % sink.lanes == 0:
        return Cost(lut=WIDEN_LUTS, ff=(sink.lanes - source.lanes) * width + 4)
    store = (source.lanes + sink.lanes - common) * width
    return Cost(lut=round(store * REPACK_LUTS) + 27, ff=store + 20)


def fifo_cost(stream: Stream, depth: int) -> Cost:
    """A link's FIFO: LUT memory, or block RAM where that would fill one."""
    bits = stream.lanes * stream.type.width
    if depth == 0:
        return Cost()
    if depth == 1:
        return Cost(lut=4, ff=bits + 1)
    if in_block_ram(depth, bits):
        return block_ram(bits, depth) + Cost(lut=40, ff=50)
    return Cost(lut=lutram_luts(bits, depth) + 20, ff=2 * depth.bit_length())
