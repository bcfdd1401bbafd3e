"""What a node costs before synthesis: latency exactly, DSP48E1 and block RAM as Yosys maps them, LUT and FF by fit.

The counts follow the gateware in `accel.rtl`, part by part; the few factors that logic
optimization decides are constants here, and `python -m ci.calibrate` measures with Yosys how well they fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from accel.dataflow.budget import Cost
from accel.dataflow.pipeline import ArrayNode, Layer, Node, TableNode
from accel.dataflow.timing import beats, search_bits, unit
from accel.graph import IntType, Tensor, Threshold

DSP_OPERAND = 25  # bits of the DSP48E1's wide signed operand
DSP_LEAST_PRODUCT = 9  # bits; synth_xilinx leaves narrower products in LUTs
# LUTs by fit, for each bit of the input of a product in LUTs: by bits of the weight, and of each further bit;
# for each bit of the operands of an adder.
PRODUCT_LUTS = {1: 1.0, 2: 2.3, 3: 3.1}
CARRY_SAVE_LUTS = 2.08
ADDER_LUTS = 1.05

BLOCK_BITS = 8192  # a ROM goes to block RAM by itself when it fills so many bits of every RAMB18


@dataclass(frozen=True)
class Widths:
    """What the layers of an array need, whatever its size: bits of input codes, accumulators and plain outputs."""

    code: int
    accumulator: int
    plain: int
    multiplier: int
    bias: int
    steps: int
    search: int
    weight: IntType
    bipolar: bool


@lru_cache(maxsize=1024)
def widths(layers: tuple[Layer, ...], source: IntType) -> Widths:
    """The widths of layers in turn, the first of which takes ``source``."""
    codes, lo, hi, plain, multiplier, bias, steps, search = [], 0, 0, 1, 0, 0, 0, 0
    for layer in layers:
        base, levels = source.lo, source.levels
        if not source.is_bipolar:
            base, levels = (-(1 << (source.width - 1)) if source.signed else 0), source.hi + 1
            levels -= base
        codes.append((levels - 1).bit_length() or 1)
        w = layer.dense.weights
        lo = min(lo, int(np.minimum(w * (levels - 1), 0).sum(axis=1).min()))
        hi = max(hi, int(np.maximum(w * (levels - 1), 0).sum(axis=1).max()) + 1)
        accumulator = layer.dense.infer(Tensor("", (layer.inputs,), source))
        activation = layer.activation
        if activation is None:
            plain = max(plain, accumulator.type.width + 1)
            source = accumulator.type
            continue
        if isinstance(activation, Threshold):
            if activation.falling.any():
                lo, hi = min(lo, -hi), max(hi, -lo)
            if unit(activation) == "parallel":
                steps = max(steps, activation.out.levels - 1)
            else:
                search = max(search, search_bits(activation))
        else:
            multiplier = max(
                multiplier,
                IntType(min(0, int(activation.multiplier.min())), int(activation.multiplier.max())).width + 1,
            )
            bias = max(bias, IntType(min(-1, int(activation.bias.min())), max(0, int(activation.bias.max()))).width + 1)
        source = activation.infer(accumulator).type
    types = [layer.dense.weight_type for layer in layers]
    weight = IntType(min(0, *(t.lo for t in types)), max(0, *(t.hi for t in types)))
    return Widths(
        max(codes), IntType(min(lo, -1), max(hi, 0)).width, plain, multiplier, bias, steps, search, weight,
        all(t.is_bipolar for t in types),
    )  # fmt: skip


def weight_bits(layers: tuple[Layer, ...], source: IntType, simd: int = 1) -> int:
    """Bits of a weight in memory; bipolar ones need no zero, and so one bit, where all input tiles are full."""
    w = widths(layers, source)
    return 1 if w.bipolar and all(layer.inputs % simd == 0 for layer in layers) else w.weight.width


def shared_by(w: Widths, bits: int) -> int:
    """How many neurons' weights of ``bits`` share one DSP48E1: side by side in its operand, a product's width apart."""
    unsigned = bits == 1 or not w.weight.signed
    return max(1, (DSP_OPERAND - unsigned - bits) // (bits + w.code) + 1)


def multipliers_cost(layers: tuple[Layer, ...], source: IntType, pe: int, simd: int, multiplier: str) -> Cost:
    """The multipliers and adder trees alone. It grows with ``pe`` and ``simd``."""
    w = widths(layers, source)
    bits = weight_bits(layers, source, simd)
    product = bits + w.code
    registers = simd * w.code + pe * simd // 3 * (product + 2)
    if multiplier == "lut":
        # a term a weight bit: the first two make an adder, each further one a row of carry-save adders
        fabric = w.code * (PRODUCT_LUTS[bits] if bits <= 3 else PRODUCT_LUTS[3] + CARRY_SAVE_LUTS * (bits - 3))
        return Cost(
            lut=round(pe * simd * fabric + pe * (simd - 1) * product * ADDER_LUTS),
            ff=pe * simd * (product + bits) + registers,
        )
    share = shared_by(w, bits)
    full, rest = divmod(pe, share)
    loose = rest if rest * product < DSP_LEAST_PRODUCT else 0
    dsp = simd * (full + (rest > loose))
    loose_luts = loose * simd * w.code * PRODUCT_LUTS[min(bits, 3)]
    # an unshared product leaves its DSP48E1 through the DSP's own adder, four of them in a cascade
    adders = pe * (-(-simd // 4) - 1 if share == 1 else simd - 1)
    correction = simd * w.code * ADDER_LUTS if share > 1 else 0
    return Cost(lut=round(loose_luts + adders * product * ADDER_LUTS + correction), ff=registers, dsp=dsp)


def rom_cost(width: int, depth: int, style: str = "auto") -> Cost:
    """A read-only memory of ``depth`` words with a registered output; ``style`` is block, distributed or auto.

    Yosys folds deep narrow memories into the 36 bits of a RAMB18's 512 rows, so halves of a BRAM36 are what counts.
    """
    halves = -(-width * -(-depth // 512) // 36)
    if style == "block" or (style == "auto" and width * depth > BLOCK_BITS * halves):
        return Cost(bram36=halves / 2)
    return Cost(lut=width * -(-depth // 64) * 3 // 4, ff=width * 3 // 4)


def lutram_luts(width: int, depth: int) -> int:
    """LUTs of a memory of one write and one read port: RAM32M holds 32 words of 6 bits in 4 LUTs, RAM64M 64 of 3."""
    if depth <= 32:
        return 4 * -(-width // 6)
    return 4 * -(-width // 3) * -(-depth // 64)


def array_cost(node: ArrayNode) -> Cost:
    """Resources of an array; cycles are left at 0."""
    w = widths(node.layers, node.source.type)
    bits = weight_bits(node.layers, node.source.type, node.simd)
    groups = sum(-(-layer.outputs // node.drain) for layer in node.layers)
    rows = max(node.tiles(layer)[1] for layer in node.layers)
    total = multipliers_cost(node.layers, node.source.type, node.pe, node.simd, node.multiplier)
    total += rom_cost(node.pe * node.simd * bits, node.steps, {"bram": "block", "lut": "distributed"}[node.memory])
    # input buffer: two sets in banks of LUTRAM
    writers = (node.source.lanes, node.drain) if len(node.layers) > 1 else (node.source.lanes,)
    fold = -(-max(writers) // node.simd)
    banks = node.simd * fold
    longest = max(layer.inputs for layer in node.layers)
    tile_rows = -(-(longest + max(writers) - 1) // banks)
    total += Cost(lut=banks * lutram_luts(w.code, 2 << (tile_rows - 1).bit_length()) + banks * w.code * len(writers))
    # accumulators
    if rows == 1:
        total += Cost(lut=node.pe * w.accumulator, ff=2 * node.pe * w.accumulator)
    else:
        total += Cost(lut=node.pe * (2 * lutram_luts(w.accumulator, rows) + w.accumulator))
    # drain: choice of a group, activation units
    total += Cost(lut=node.drain * w.accumulator * -(-(node.pe // node.drain - 1) // 3), ff=node.drain * w.accumulator)
    if w.steps:
        total += rom_cost(node.drain * w.steps * w.accumulator, groups)
        total += Cost(lut=node.drain * (w.steps * w.accumulator * 3 // 4 + 8), ff=node.drain * (w.steps + 4))
    for depth in range(w.search):
        one = rom_cost(w.accumulator, groups << depth)
        total += Cost(0, one.lut * node.drain, one.ff * node.drain, one.bram36 * node.drain)
        total += Cost(lut=node.drain * w.accumulator, ff=node.drain * 2 * w.accumulator)
    if w.multiplier:
        total += rom_cost(node.drain * (w.multiplier + w.bias), groups)
        total += Cost(lut=node.drain * (w.bias + 40), ff=node.drain * 4 * w.bias, dsp=node.drain)
    if any(layer.activation is None for layer in node.layers):
        total += rom_cost(node.drain * w.plain, groups)
        total += Cost(lut=node.drain * w.plain, ff=node.drain * w.plain)
    return total + Cost(lut=300, ff=200)


def latency(node: Node) -> int:
    """Cycles from the last input beat, when input comes at a beat a cycle, to the last output beat."""
    if isinstance(node, ArrayNode):  # what its multipliers and memories are made of makes no difference
        node = replace(node, multiplier="dsp", memory="bram")
    return last_beat(node)


@lru_cache(maxsize=1 << 14)
def last_beat(node: Node) -> int:
    """The time of a node's last output beat, counted from its last input beat."""
    return int(beats(node, np.arange(node.source.beats))[-1]) + 1 - node.source.beats


def resources(node: Node) -> Cost:
    """What a node takes of a device; cycles are left at 0."""
    if isinstance(node, ArrayNode):
        return array_cost(node)
    if isinstance(node, TableNode):
        return Cost(lut=100 * node.source.lanes, ff=30 * node.source.lanes)
    return Cost(lut=50 * node.source.lanes + 100, ff=30 * node.source.lanes + 50)


def cost_of(node: Node) -> Cost:
    """Latency and resources of a node."""
    return Cost(latency(node)) + resources(node)
