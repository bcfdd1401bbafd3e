"""What the nodes for images cost before synthesis: DSP48E1 and block RAM as Yosys maps them, LUT and FF by fit.

A convolution multiplies, accumulates and activates as an array does, so that its parts are priced by
`accel.dataflow.cost`; what it has of its own is the line buffer. `python -m ci.calibrate` compares with Yosys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from accel.dataflow.budget import Cost
from accel.dataflow.cost import (
    RAMB18,
    accumulators_cost,
    block_ram,
    drain_cost,
    logic_cost,
    lutram_luts,
    multipliers_cost,
    repack_cost,
    results_cost,
    rom_cost,
    shared_by,
    table_cost,
    units_cost,
    weight_bits,
    widths,
)
from accel.dataflow.fitted import LUTS
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
from accel.dataflow.tiles import weight_tiles
from accel.dataflow.timing import (
    FETCH,
    FIFO,
    add_latency,
    in_block_ram,
    pool_latency,
    signed_digits,
    unit_latency_alone,
    window_latency,
)
from accel.dataflow.windows import least_capacity
from accel.graph import Conv, Dense, IntType, Table, Tensor, Threshold, Window

PAIR_FFS = 2.1  # by fit, for each pair of bits that is compared and counted
FACE, COUNTER_LUTS = Cost(lut=575, ff=345), 1.5  # by fit: what does not depend on the links; for each bit that counts
PLACE_LUTS = 30  # of the counters that tell the place in an image of what a pool takes


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
        products = Cost(lut=round(LUTS.pair * pairs), ff=round(PAIR_FFS * pairs))
    else:
        products = multipliers_cost(layers, kind, node.pe, at_once, node.multiplier)
    words = neurons * each
    lanes = node.simd if isinstance(node, ConvNode) else 1
    if products.dsp and words > 1:
        share = 1 if depthwise else shared_by(w, bits, node.multiplier)[0]
        idle = idle_multipliers(node.conv, node.pe, node.taps, lanes, share=share, groups=products.dsp // at_once)
        products = replace(products, dsp=products.dsp - idle)
    changing, distinct = weight_columns(node.conv, bits, node.pe, node.taps, lanes)
    weights = rom_cost(changing, words, "block") if node.memory == "bram" else logic_cost(distinct, words)
    function = 0 if node.activation is None else unit_latency_alone(node.activation)
    results = results_cost(
        node.drain * node.sink.type.width,
        latency=window_latency(at_once) + FETCH + function,
        beats=node.beats[0],
        interval=each,
    )
    return {
        "products": products,
        "weights": weights,
        "results": results,
        "buffer": line_buffer_cost(node, w.code),
        "accumulators": accumulators_cost(node.pe, w.accumulator, 1),
        "drain": drain_cost(node, w.accumulator),
        "units": units_cost(w, node.drain, len(node.conv.weights) // node.drain),
        "control": Cost(lut=round(LUTS.window_control), ff=150),
    }


@lru_cache(maxsize=1 << 14)
def weight_columns(conv: Conv, bits: int, pe: int, taps: int, lanes: int) -> tuple[int, int]:
    """Bits of the words of a weight memory that are not the same in all words, and how many of those differ.

    Weights may be zeros for the most part. Of more than 64 words, which do not lie in LUTs, all are taken to differ.
    """
    words = weight_tiles(conv, pe, taps, lanes)
    words = words.reshape(len(words), -1)
    if conv.weight_type.is_bipolar and bits == 1:
        words = (words > 0).astype(np.int64)
    changes = np.bitwise_or.reduce(words) & ~np.bitwise_and.reduce(words)
    places = np.arange(bits)
    changing = int(((changes[:, None] >> places) & 1).sum())
    if len(words) > 64:
        return changing, changing
    columns = (words[:, :, None] >> places & 1).reshape(len(words), -1).astype(np.uint64)
    numbers = np.unique((columns << np.arange(len(words), dtype=np.uint64)[:, None]).sum(axis=0, dtype=np.uint64))
    return changing, int((~np.isin(numbers, [0, (1 << len(words)) - 1])).sum())


@lru_cache(maxsize=1 << 14)
def idle_multipliers(conv: Conv, pe: int, taps: int, lanes: int, *, share: int, groups: int) -> int:
    """DSP48E1 whose weights are the same in all steps, so that they multiply nothing.

    Of each element and channel there are ``groups``, of ``share`` neurons each.
    """
    words = weight_tiles(conv, pe, taps, lanes)
    changes = (words != words[:1]).any(axis=0)
    return sum(int((~changes[share * i : share * (i + 1)].any(axis=0)).sum()) for i in range(groups))


def function_cost(activation: Activation | None, kind: IntType, channels: int, lanes: int) -> Cost:
    """Activation units behind a pool or an addition, ``lanes`` of them."""
    if activation is None:
        return Cost()
    w = widths((as_function(activation, channels),), kind)
    if not is_uniform(activation):
        return units_cost(w, lanes, -(-channels // lanes))
    if w.steps:
        # a comparison with a constant is a LUT for each five bits
        return Cost(lut=lanes * (w.steps * -(-w.accumulator // 5)), ff=lanes * (w.steps + 4))
    return units_cost(w, lanes, 1)


def is_uniform(activation: Activation) -> bool:
    """Whether all channels have the same constants, so that none is looked up."""
    if isinstance(activation, Threshold):
        constants = [np.column_stack([activation.thresholds, activation.falling])]
    else:
        constants = [np.asarray(v) for v in (activation.multiplier, activation.bias, activation.turn) if v is not None]
    return all(bool((values == values[:1]).all()) for values in constants)


def stream_control() -> Cost:
    """The handshake and the counters of a small node."""
    return Cost(lut=round(LUTS.stream_control), ff=30)


def pool_cost(node: PoolNode) -> Cost:
    """A pool: the line buffer or the row of running results, and a comparator or adder a lane."""
    lanes, channels = node.source.lanes, node.image.channels
    kind = node.pool.infer(Tensor("", (node.image.height, node.image.width, channels), node.source.type)).type
    total = function_cost(node.activation, kind, channels, lanes) + stream_control()
    bits, interval = kind.width, node.window.taps if node.overlaps else 1
    total += Cost(lut=round(lanes * bits * LUTS.adder), ff=lanes * bits * 2)
    total += results_cost(lanes * node.sink.type.width, latency=pool_latency(node), interval=interval)
    if node.overlaps:
        return total + line_buffer_cost(node, node.source.type.width) + Cost(lut=80, ff=80)
    words = node.window.output(node.image.height, node.image.width)[1] * (channels // lanes)
    return total + Cost(lut=PLACE_LUTS + (lutram_luts(lanes * bits, words) if words > 1 else 0))


def resources_of(node: Node) -> Cost:
    """What a node for images takes of a device; cycles are left at 0."""
    if isinstance(node, ConvNode | DepthwiseNode):
        return sum(window_parts(node).values(), start=Cost())
    if isinstance(node, PoolNode):
        return pool_cost(node)
    if isinstance(node, AddNode):
        kind, lanes = node.add.bounds(node.first.type, node.second.type), node.sink.lanes
        # a factor is a sum of shifts; the first sums are as wide as their terms, the last as the result
        terms = sum(len(signed_digits(m)) for m in node.add.multipliers)
        width = (node.first.type.width + kind.width) / 2
        adders = Cost(lut=round(lanes * width * max(terms - 1, 0)), ff=lanes * kind.width)
        results = results_cost(lanes * node.sink.type.width, latency=add_latency(node) - FIFO)
        return adders + results + function_cost(node.activation, kind, node.channels, lanes) + stream_control()
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
        return function_cost(node.function, node.source.type, channels, lanes) + stream_control()
    if isinstance(node, TableNode):
        return table_cost(node)
    if isinstance(node, TopKNode):
        bits = node.source.type.width + node.sink.type.width
        return Cost(lut=node.topk.k * bits * 2 + 60, ff=node.topk.k * bits + 40)
    assert isinstance(node, ArgMaxNode)
    return Cost(lut=50 * node.source.lanes + 100, ff=30 * node.source.lanes + 50)


def face_cost(links: int) -> Cost:
    """The registers and the DMA around a core, with two counters for each of its links.

    These count to twice the number of links; a LUT a bit counts, and another one chooses.
    """
    bits = 2 * (2 * links).bit_length()
    return FACE + Cost(lut=round(links * bits * COUNTER_LUTS), ff=links * (bits + 2))


def fifo_cost(stream: Stream, depth: int) -> Cost:
    """A link's FIFO: LUT memory, or block RAM where that would fill one."""
    bits = stream.lanes * stream.type.width
    if depth == 0:
        return Cost()
    if depth == 1:
        return Cost(lut=4, ff=bits + 1)
    if in_block_ram(depth, bits):
        return block_ram(bits, depth) + Cost(lut=40, ff=50)
    return Cost(lut=lutram_luts(bits, depth) + 10 + 5 * depth.bit_length(), ff=2 * depth.bit_length())
