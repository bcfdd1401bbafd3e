"""What a node costs before synthesis: latency exactly, DSP48E1 and block RAM as Yosys maps them, LUT and FF by fit.

The counts follow the gateware in `accel.rtl`, part by part; the few factors that logic
optimization decides are constants here, and `python -m ci.calibrate` measures with Yosys how well they fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd

import numpy as np

from accel.dataflow.budget import Cost
from accel.dataflow.narrow import (
    LEAST_PRODUCT,
    MOST_CHAINED,
    Constants,
    dsp_parts,
    is_shift,
    narrow,
    side_by_side,
    signed_bits,
)
from accel.dataflow.pipeline import ArgMaxNode, ArrayNode, Layer, Node, TableNode
from accel.dataflow.timing import TREE_RADIX, beats, search_bits, unit
from accel.graph import IntType, Requantize, Tensor, Threshold

# LUTs by fit, for each bit of the input of a product in LUTs: by bits of the weight, and of each further bit;
# for each bit of the operands of an adder.
PRODUCT_LUTS = {1: 1.0, 2: 2.3, 3: 3.1}
CARRY_SAVE_LUTS = 2.08
ADDER_LUTS = 1.2

ROM_SLICE = 72  # bits of the memories that `accel.rtl.rom` builds wide ones of
ROM_WORDS = 34  # by fit: so many words of one bit take a LUT; less than the 64 that it could hold
CHOICE_LUTS = 0.75  # by fit, for each bit that a multiplexer chooses from
COMPARATOR_LUTS = 0.8  # by fit, for each bit
CLIP_LUTS = 16  # of a second shift: another clip of the sum, and the choice
BLOCK_BITS = 8192  # a ROM goes to block RAM by itself when it fills so many bits of every RAMB18


@dataclass(frozen=True)
class Widths:
    """Bits of what the layers of an array need, whatever its size; 0 where there is no such thing.

    ``code``: inputs; ``accumulator``; ``plain``: outputs without activation, to which a constant is added if they are
    ``biased``; ``multiplier`` (0 also where it is a shift), ``bias`` and ``total`` of requantization, with a second
    bias and a comparator where it is ``turned``; ``steps``:
    thresholds that are compared with at once; ``search``: bits that are searched for. ``weight`` holds the weights of
    all layers and zero.
    """

    code: int
    accumulator: int
    plain: int
    biased: bool
    multiplier: int
    bias: int
    total: int
    steps: int
    search: int
    weight: IntType
    bipolar: bool
    turned: bool = False
    operand: int = 0
    offset: int = 0
    grain: int = 0
    steep: bool = False


@lru_cache(maxsize=1024)
def widths(layers: tuple[Layer, ...], source: IntType) -> Widths:
    """The widths of layers in turn, the first of which takes ``source``."""
    code = lo = hi = plain = steps = search = 0
    biased = False
    affine: list[Constants] = []
    for layer in layers:
        # an input is base + step * code; an accumulator starts from base * sum(w)
        base, step = (-1, 2) if source.is_bipolar else (-(1 << (source.width - 1)) if source.signed else 0, 1)
        most = (source.hi - base) // step
        code = max(code, most.bit_length(), 1)
        weights, activation = layer.dense.weights, layer.activation
        least, largest = (f(weights * most, 0).sum(axis=1) for f in (np.minimum, np.maximum))
        lo, hi = min(lo, int(least.min())), max(hi, int(largest.max()) + 1)
        accumulator = layer.dense.infer(Tensor("", (layer.inputs,), source))
        if isinstance(activation, Threshold):
            if activation.falling.any():
                lo, hi = min(lo, -hi), max(hi, -lo)
            if unit(activation) == "parallel":
                steps = max(steps, activation.out.levels - 1)
            else:
                search = max(search, search_bits(activation))
        elif activation is None:
            plain = max(plain, signed_bits(accumulator.type.lo, accumulator.type.hi))
            biased |= base != 0
        else:
            start = base * weights.sum(axis=1)
            affine.append(Constants.of(activation, least, largest, step=step, start=start))
        source = accumulator.type if activation is None else activation.infer(accumulator).type

    accumulator_bits = signed_bits(lo, hi)
    multiplier = bias = total = operand = offset = grain = 0
    steep = False
    if affine:
        narrowed = narrow(Constants.joined(affine), width=accumulator_bits)
        if not is_shift(narrowed.multiplier):
            multiplier = signed_bits(int(narrowed.multiplier.min()), int(narrowed.multiplier.max()))
        biases = (narrowed.bias, narrowed.upper)
        bias = signed_bits(min(int(b.min()) for b in biases), max(int(b.max()) for b in biases))
        total, steep = signed_bits(*narrowed.totals), bool(narrowed.drop)
        operand = narrowed.kept or accumulator_bits
        if narrowed.kept and narrowed.offset.any():
            offset, grain = signed_bits(int(narrowed.offset.min()), int(narrowed.offset.max())), narrowed.grain
    types = [layer.dense.weight_type for layer in layers]
    return Widths(
        code=code,
        accumulator=accumulator_bits,
        plain=plain,
        biased=biased,
        multiplier=multiplier,
        bias=bias,
        total=total,
        steps=steps,
        search=search,
        weight=IntType(min(0, *(t.lo for t in types)), max(0, *(t.hi for t in types))),
        bipolar=all(t.is_bipolar for t in types),
        turned=any(isinstance(a, Requantize) and a.turn is not None for a in (layer.activation for layer in layers)),
        operand=operand,
        offset=offset,
        grain=grain,
        steep=steep,
    )


def weight_bits(layers: tuple[Layer, ...], source: IntType, simd: int = 1) -> int:
    """Bits of a weight in memory; bipolar ones need no zero, and so one bit, where all input tiles are full."""
    w = widths(layers, source)
    return 1 if w.bipolar and all(layer.inputs % simd == 0 for layer in layers) else w.weight.width


def shared_by(w: Widths, bits: int) -> tuple[int, int]:
    """How many neurons' weights of ``bits`` share one DSP48E1, and how many such products its adders sum up."""
    return side_by_side(bits, w.code, unsigned=bits == 1 or not w.weight.signed)


@lru_cache(maxsize=1 << 16)
def multipliers_cost(
    layers: tuple[Layer, ...], source: IntType, pe: int, simd: int, multiplier: str, *, own: bool = False
) -> Cost:
    """The multipliers and adder trees alone. It grows with ``pe`` and ``simd``.

    With ``own`` each neuron has inputs of its own, and so multipliers that it shares with none.
    """
    w = widths(layers, source)
    bits = weight_bits(layers, source, simd)
    product = bits + w.code
    # a term a weight bit: the first two make an adder, each further one a row of carry-save adders
    fabric = w.code * (PRODUCT_LUTS[bits] if bits <= 3 else PRODUCT_LUTS[3] + CARRY_SAVE_LUTS * (bits - 3))
    share, chain = (1, 1) if own else shared_by(w, bits)
    # what is multiplied by a single bit is no product to Yosys
    if multiplier == "lut" or share * product < LEAST_PRODUCT or w.code == 1:
        return Cost(
            lut=round(pe * simd * fabric + pe * (simd - 1) * product * ADDER_LUTS),
            ff=pe * simd * (product + bits) + simd * w.code + pe * tree_ff(simd, product),
        )
    full, rest = divmod(pe, share)
    # a product of one bit is no product to Yosys
    loose = rest if rest * product < LEAST_PRODUCT or rest * bits == 1 else 0
    dsp = simd * (full + (rest > loose))
    loose_luts = loose * simd * fabric
    # products leave their DSP48E1 through its own adder, as many in a cascade as their fields have room for
    sums = -(-simd // (MOST_CHAINED if share == 1 else chain))
    correction = simd * w.code * ADDER_LUTS if share > 1 else 0
    # and only an unshared weight, which fills the DSP48E1's operand, waits in the DSP's own register
    waiting = 0 if share == 1 else pe * simd * bits
    return Cost(
        lut=round(loose_luts + pe * (sums - 1) * product * ADDER_LUTS + correction),
        ff=simd * w.code + waiting + pe * tree_ff(sums if share == 1 else simd, product),
        dsp=dsp,
    )


def tree_ff(values: int, width: int) -> int:
    """Registers of an adder tree: four sums of a stage make one of the next, two bits wider."""
    total = 0
    while True:
        values, width = -(-values // TREE_RADIX), width + 2
        total += values * width
        if values == 1:
            return total


def rom_cost(width: int, depth: int, style: str = "auto") -> Cost:
    """A read-only memory of ``depth`` words with a registered output; ``style`` is block, logic or auto.

    It is built of slices of at most 72 bits. Yosys folds deep narrow memories into the 36 bits of a RAMB18's 512 rows,
    so halves of a BRAM36 are what counts.
    """
    total = Cost()
    for bits, times in ((ROM_SLICE, width // ROM_SLICE), (width % ROM_SLICE, 1)):
        halves = -(-bits * -(-depth // 512) // 36)
        if style == "block" or (style == "auto" and bits * depth > BLOCK_BITS * halves):
            total += Cost(bram36=halves * times / 2)
        else:
            total += Cost(lut=round(bits * depth / ROM_WORDS) * times, ff=bits * times * 3 // 4)
    return total


def lutram_luts(width: int, depth: int) -> int:
    """LUTs of a memory of one write and one read port: RAM32M holds 32 words of 6 bits in 4 LUTs, RAM64M 64 of 3."""
    if depth <= 32:
        return 4 * -(-width // 6)
    return 4 * -(-width // 3) * -(-depth // 64)


def array_parts(node: ArrayNode) -> dict[str, Cost]:
    """Resources of an array, part by part as `accel.rtl.array` is built."""
    w = widths(node.layers, node.source.type)
    bits = weight_bits(node.layers, node.source.type, node.simd)
    style = {"bram": "block", "lut": "logic"}[node.memory]
    groups = sum(-(-layer.outputs // node.drain) for layer in node.layers)
    rows = max(node.tiles(layer)[1] for layer in node.layers)
    return {
        "products": multipliers_cost(node.layers, node.source.type, node.pe, node.simd, node.multiplier),
        "weights": rom_cost(node.pe * node.simd * bits, node.steps, style),
        "buffer": buffer_cost(node, w.code),
        "accumulators": accumulators_cost(node.pe, w.accumulator, rows),
        "drain": drain_cost(node, w.accumulator),
        "units": units_cost(w, node.drain, groups),
        "control": Cost(lut=200, ff=200),
    }


def buffer_cost(node: ArrayNode, code: int) -> Cost:
    """The input buffer: two sets of elements in banks of LUTRAM, and the way into each bank."""
    writers = (node.source.lanes, node.drain) if len(node.layers) > 1 else (node.source.lanes,)
    fold = -(-max(writers) // node.simd)
    banks = node.simd * fold
    longest = max(layer.inputs for layer in node.layers)
    rows = -(-(longest + max(writers) - 1) // banks)
    # what may be written into a bank: a writer's lanes come to lie in it one after another
    choices = sum(lanes // gcd(lanes, banks) for lanes in writers)
    ways = banks * code * choices + node.simd * code * (fold - 1)
    return Cost(lut=banks * lutram_luts(code, 2 << (rows - 1).bit_length()) + round(ways * CHOICE_LUTS))


def accumulators_cost(pe: int, width: int, rows: int) -> Cost:
    """Running and finished sums of all neurons, and an adder for each PE."""
    if rows == 1:
        return Cost(lut=pe * width, ff=2 * pe * width)
    return Cost(lut=pe * (2 * lutram_luts(width, rows) + width))


def drain_cost(node: ArrayNode, width: int) -> Cost:
    """The choice of a group of finished sums."""
    return Cost(lut=node.drain * width * -(-(node.pe // node.drain - 1) // 3), ff=node.drain * width)


def units_cost(w: Widths, lanes: int, groups: int) -> Cost:
    """Activation units, one of each kind that a layer needs, and their constants for all groups of neurons."""
    total = Cost()
    if w.steps:
        total += rom_cost(lanes * w.steps * w.accumulator, groups)
        total += Cost(lut=lanes * (round(w.steps * w.accumulator * COMPARATOR_LUTS) + 8), ff=lanes * (w.steps + 4))
    for depth in range(w.search):
        one = rom_cost(w.accumulator, groups << depth)
        total += Cost(0, one.lut * lanes, one.ff * lanes, one.bram36 * lanes)
        total += Cost(lut=lanes * w.accumulator, ff=lanes * 2 * w.accumulator)
    if w.bias:
        total += rom_cost(lanes * (w.multiplier + w.bias + w.offset + w.steep), groups)
        parts = dsp_parts(w.multiplier, w.operand)
        total += Cost(lut=lanes * (w.total + 12), ff=lanes * (2 * w.bias + w.total + 12), dsp=lanes * parts)
        if w.operand < w.accumulator:
            total += Cost(lut=lanes * (w.operand + 4))
        if w.offset:
            total += Cost(lut=lanes * (w.accumulator - w.grain))
        if w.steep:
            total += Cost(lut=lanes * CLIP_LUTS, ff=lanes * 4)
    if w.turned:
        total += rom_cost(lanes * (w.accumulator + w.bias), groups)
        choice = round(w.accumulator * COMPARATOR_LUTS) + w.bias
        total += Cost(lut=lanes * choice, ff=lanes * (w.accumulator + w.bias))
    if w.plain:
        total += Cost(ff=lanes * w.plain)
    if w.biased:
        total += rom_cost(lanes * w.plain, groups) + Cost(lut=lanes * w.plain)
    return total


def latency(node: Node) -> int:
    """Cycles from the last input beat, when input comes at a beat a cycle, to the last output beat."""
    if isinstance(node, ArrayNode):  # what its multipliers and memories are made of makes no difference
        node = replace(node, multiplier="dsp", memory="bram")
    return last_beat(node)


@lru_cache(maxsize=1 << 14)
def last_beat(node: Node) -> int:
    """The time of a node's last output beat, counted from its last input beat."""
    assert isinstance(node, ArrayNode | TableNode | ArgMaxNode), f"{node.name}: no node of a chain"
    return int(beats(node, np.arange(node.source.beats))[-1]) + 1 - node.source.beats


def resources(node: Node) -> Cost:
    """What a node takes of a device; cycles are left at 0."""
    if isinstance(node, ArrayNode):
        return sum(array_parts(node).values(), start=Cost())
    if isinstance(node, TableNode):
        return Cost(lut=100 * node.source.lanes, ff=30 * node.source.lanes)
    assert isinstance(node, ArgMaxNode)
    return Cost(lut=50 * node.source.lanes + 100, ff=30 * node.source.lanes + 50)


def cost_of(node: Node) -> Cost:
    """Latency and resources of a node."""
    return Cost(latency(node)) + resources(node)
