"""What a node costs before synthesis: latency exactly, DSP48E1 and block RAM as Yosys maps them, LUT and FF by fit.

The counts follow the gateware in `accel.rtl`, part by part; the few factors that logic optimization decides are in
`accel.dataflow.fitted`, and `python -m ci.calibrate` measures with Yosys how well they fit, and fits them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd

import numpy as np

from accel.dataflow.budget import Cost
from accel.dataflow.fitted import LUTS
from accel.dataflow.multipliers import BLOCKS, DSP48E1
from accel.dataflow.narrow import Constants, is_shift, narrow, signed_bits
from accel.dataflow.pipeline import ArgMaxNode, ArrayNode, ConvNode, DepthwiseNode, Layer, Node, Stream, TableNode
from accel.dataflow.rom import rom_block_bits, rom_halves, rom_slice
from accel.dataflow.timing import (
    FETCH,
    TREE_RADIX,
    beats,
    in_block_ram,
    lent_places,
    search_bits,
    unit,
    unit_latency,
)
from accel.graph import IntType, Requantize, Table, Tensor, Threshold

RAMB18 = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))  # bits, words
CLIP_LUTS = 12  # of a quotient: its topmost bits, and the choice among it and the ends
FIFO_LUTS = 25  # of a FIFO of results: two addresses, a level, and the places that are left
WIDEN_LUTS = 5  # to count the parts of a beat, and of the handshake


@dataclass(frozen=True)
class Widths:
    """Bits of what the layers of an array need, whatever its size; 0 where there is no such thing.

    ``code``: inputs; ``accumulator``; ``plain``: outputs without activation, to which a constant is added if they are
    ``biased``; ``multiplier`` (0 also where it is a shift), ``bias`` and ``total`` of requantization, with a second
    bias and a comparator where it is ``turned``; ``common``: bits of the multiplier that are the same in all channels
    of each of several layers; ``steps``: thresholds that are compared with at once; ``search``: bits that are searched
    for. ``weight`` holds the weights of all layers and zero.
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
    common: int = 0
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
    steep, common = False, 0
    if affine:
        narrowed = narrow(Constants.joined(affine), width=accumulator_bits)
        if not is_shift(narrowed.multiplier):
            multiplier = signed_bits(int(narrowed.multiplier.min()), int(narrowed.multiplier.max()))
        biases = (narrowed.bias, narrowed.upper)
        bias = signed_bits(min(int(b.min()) for b in biases), max(int(b.max()) for b in biases))
        total, steep = signed_bits(*narrowed.totals), bool(narrowed.drop)
        ends = np.cumsum([len(each.multiplier) for each in affine])[:-1]
        if len(affine) > 1 and multiplier:
            of_layers = np.split(narrowed.multiplier, ends)
            differing = np.bitwise_or.reduce([np.bitwise_or.reduce(each ^ each[0]) for each in of_layers])
            common = multiplier - (int(differing) & ((1 << multiplier) - 1)).bit_count()
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
        common=common,
        operand=operand,
        offset=offset,
        grain=grain,
        steep=steep,
    )


def weight_bits(layers: tuple[Layer, ...], source: IntType, simd: int = 1) -> int:
    """Bits of a weight in memory; bipolar ones need no zero, and so one bit, where all input tiles are full."""
    w = widths(layers, source)
    return 1 if w.bipolar and all(layer.inputs % simd == 0 for layer in layers) else w.weight.width


def shared_by(w: Widths, bits: int, multiplier: str) -> tuple[int, int]:
    """How many neurons' weights of ``bits`` share one multiplier, and how many such products its adders sum up."""
    return BLOCKS[multiplier].side_by_side(bits, w.code, unsigned=bits == 1 or not w.weight.signed)


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
    fabric = product_luts(bits, w.code)
    share, chain = (1, 1) if own or multiplier == "lut" else shared_by(w, bits, multiplier)
    # what is multiplied by a single bit is no product to Yosys
    if multiplier == "lut" or share * product < BLOCKS[multiplier].least or w.code == 1:
        most = (1 << w.code) - 1
        width = signed_bits(w.weight.lo * most, w.weight.hi * most)
        if bits + w.code <= 6:  # each bit of a product is a function of so many bits
            fabric = min(fabric, width)
        # four bits are added up in three LUTs
        sums = tree_luts(simd, 0 if bits == w.code == 1 else width)
        return Cost(
            lut=round(pe * (simd * fabric + sums)),
            ff=pe * simd * (product + bits) + simd * w.code + pe * tree_ff(simd, product),
        )
    full, rest = divmod(pe, share)
    # a product of one bit is no product to Yosys
    loose = rest if rest * product < BLOCKS[multiplier].least or rest * bits == 1 else 0
    dsp = simd * (full + (rest > loose))
    loose_luts = loose * simd * fabric
    # products leave a DSP48E1 through its own adder, as many in a cascade as their fields have room for
    sums = -(-simd // (BLOCKS[multiplier].chained if share == 1 else chain))
    # what the codes' offset adds is added up once, and leaves the sums of all but the topmost weights of a DSP48E1
    coded = pe - full - (rest > loose) if share > 1 else 0
    leaving = coded * (product + simd.bit_length()) * LUTS.adder
    correction = tree_luts(simd, w.code) + leaving if coded else 0
    # and only an unshared weight, which fills the DSP48E1's operand, waits in the DSP's own register
    waiting = 0 if share == 1 else pe * simd * bits
    return Cost(
        lut=round(loose_luts + pe * tree_luts(sums, product + (chain - 1).bit_length()) + correction),
        ff=simd * w.code + waiting + pe * tree_ff(sums if share == 1 else simd, product),
        dsp=dsp,
    )


def product_luts(bits: int, code: int) -> float:
    """LUTs of a product of a weight of ``bits`` and an input of ``code`` bits.

    A term a bit of the weight: two make an adder, each further one a row of carry-save adders of two LUTs a bit.
    """
    if bits <= 2:
        return code * (LUTS.product_of_1_bit if bits == 1 else LUTS.product_of_2_bits)
    return LUTS.carry_save * (2 * (bits - 2) * (code + 1) + bits + code)


def tree_luts(values: int, width: int) -> float:
    """LUTs of an adder tree: four sums of a stage make one of the next, two bits wider."""
    total = 0
    while values > 1:
        sums = -(-values // TREE_RADIX)
        total += (values - sums) * (width + 1)
        values, width = sums, width + 2
    return total * LUTS.adder


def tree_ff(values: int, width: int) -> int:
    """Registers of the same."""
    total = 0
    while True:
        values, width = -(-values // TREE_RADIX), width + 2
        total += values * width
        if values == 1:
            return total


def rom_cost(width: int, depth: int, style: str = "auto", *, differing: float = 1.0) -> Cost:
    """A read-only memory of ``depth`` words with a registered output; ``style`` is block, logic or auto.

    Where words are few, many columns are equal, and stored once in LUTs. ``differing`` is the share that there is of
    others.
    """
    if depth <= 1:
        return Cost()
    block = {"block": width, "logic": 0}.get(style, rom_block_bits(width, depth))
    size = rom_slice(depth)
    halves = block // size * rom_halves(size, depth) + rom_halves(block % size, depth)
    kinds = 2.0 ** min(depth, 64)
    columns = round(kinds * -math.expm1((block - width) * differing / kinds))
    return logic_cost(columns, depth) + Cost(bram36=halves / 2)


def logic_cost(columns: int, depth: int) -> Cost:
    """A read-only memory in LUTs, of so many different columns of bits: a LUT6 for each 64 words of one."""
    return Cost(lut=columns * -(-depth // 64), ff=columns)


def lutram_luts(width: int, depth: int) -> int:
    """LUTs of a memory of one write and one read port: RAM32M holds 32 words of 6 bits in 4 LUTs, RAM64M 64 of 3.

    What is deeper is made of several, and a choice of four of them is a LUT6 a bit.
    """
    return min(
        4 * -(-width // bits) * rows + width * -(-(rows - 1) // 3)
        for bits, rows in ((6, -(-depth // 32)), (3, -(-depth // 64)))
    )


def block_ram(width: int, depth: int) -> Cost:
    """A memory of one write and one read port in block RAM, in the cheapest shape."""
    return Cost(bram36=min(math.ceil(width / bits) * math.ceil(depth / words) for bits, words in RAMB18) / 2)


def results_cost(width: int, *, latency: int, beats: int = 1, interval: int = 1) -> Cost:
    """The FIFO behind a node (`accel.rtl.streams.LendingFIFO`), but for its control."""
    depth = lent_places(latency, beats, interval)
    return Cost(lut=lutram_luts(width, depth)) if depth > 1 else Cost(ff=width)


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
        "units": units_cost(w, node.drain, groups, ahead=True),
        "results": array_results_cost(node),
        "control": Cost(lut=round(LUTS.array_control + LUTS.layer_control * len(node.layers)), ff=200),
    }


def array_results_cost(node: ArrayNode) -> Cost:
    """The FIFO of an array's results, and their way into the lanes of its sink."""
    width = node.sink.type.width
    fifo = results_cost(node.drain * width, latency=FETCH + unit_latency(node, node.layers[-1].activation))
    return fifo + Cost(lut=FIFO_LUTS) + repack_cost(replace(node.sink, lanes=node.drain), node.sink)


def buffer_cost(node: ArrayNode, code: int) -> Cost:
    """The input buffer: two sets of elements in banks of memory, and the way into each bank."""
    writers = (node.source.lanes, node.drain) if len(node.layers) > 1 else (node.source.lanes,)
    fold = -(-max(writers) // node.simd)
    banks = node.simd * fold
    longest = max(layer.inputs for layer in node.layers)
    rows = -(-(longest + max(writers) - 1) // banks)
    # what may be written into a bank: a writer's lanes come to lie in it one after another
    choices = sum(lanes // gcd(lanes, banks) for lanes in writers)
    ways = banks * code * choices + node.simd * code * (fold - 1)
    depth = 2 << max((rows - 1).bit_length(), 1)
    if in_block_ram(depth, code):  # what is written is also looked at, and goes around the memory
        memory = block_ram(code, depth) + Cost(lut=code + depth.bit_length())
    else:
        memory = Cost(lut=lutram_luts(code, depth))
    return Cost(lut=banks * memory.lut + round(ways * LUTS.choice), bram36=banks * memory.bram36)


def accumulators_cost(pe: int, width: int, rows: int) -> Cost:
    """Running and finished sums of all neurons, and an adder for each PE."""
    if rows == 1:
        return Cost(lut=pe * width, ff=2 * pe * width)
    return Cost(lut=pe * (2 * lutram_luts(width, rows) + width))


def drain_cost(node: ArrayNode | ConvNode | DepthwiseNode, width: int) -> Cost:
    """The choice of a group of finished sums."""
    return Cost(lut=node.drain * width * -(-(node.pe // node.drain - 1) // 3), ff=node.drain * width)


def units_cost(w: Widths, lanes: int, groups: int, *, ahead: bool = False) -> Cost:
    """Activation units, one of each kind that a layer needs, and their constants for all groups of neurons.

    With ``ahead`` thresholds in block RAM are read a cycle before they are needed, and wait in registers.
    """
    total = Cost()
    if w.steps:
        thresholds = lanes * w.steps * w.accumulator
        total += rom_cost(thresholds, groups, differing=LUTS.thresholds)
        total += Cost(ff=thresholds if ahead and rom_block_bits(thresholds, groups) else 0)
        total += Cost(lut=lanes * (round(w.steps * w.accumulator * LUTS.comparator) + 8), ff=lanes * (w.steps + 4))
    for depth in range(w.search):
        one = rom_cost(w.accumulator, groups << depth)
        total += Cost(0, one.lut * lanes, one.ff * lanes, one.bram36 * lanes)
        total += Cost(lut=lanes * w.accumulator, ff=lanes * 2 * w.accumulator)
    if w.bias:
        # what is the same in all lanes is stored once
        own = w.multiplier - w.common + w.bias + w.offset + w.steep
        total += rom_cost(w.common + lanes * own, groups)
        parts = DSP48E1.parts(w.multiplier, w.operand)
        # a lone DSP48E1 adds the bias to its product by itself
        adder = 0 if parts == 1 else w.total
        total += Cost(lut=lanes * (adder + CLIP_LUTS), ff=lanes * (2 * w.bias + w.total + 12), dsp=lanes * parts)
        if w.operand < w.accumulator:
            total += Cost(lut=lanes * (w.operand + 4))
        if w.offset:
            total += Cost(lut=lanes * (w.accumulator - w.grain))
        if w.steep:
            # another clip of the sum, and the choice
            total += Cost(lut=lanes * (CLIP_LUTS + 4), ff=lanes * 4)
    if w.turned:
        total += rom_cost(lanes * (w.accumulator + w.bias), groups)
        choice = round(w.accumulator * LUTS.comparator) + w.bias
        total += Cost(lut=lanes * choice, ff=lanes * (w.accumulator + w.bias))
    if w.plain:
        total += Cost(ff=lanes * w.plain)
    if w.biased:
        total += rom_cost(lanes * w.plain, groups) + Cost(lut=lanes * w.plain)
    return total


def repack_cost(source: Stream, sink: Stream) -> Cost:
    """A change of lanes: a beat is taken apart where it stands, or put together in a shift register or a store."""
    if source.lanes == sink.lanes:
        return Cost()
    width, common = source.type.width, gcd(source.lanes, sink.lanes)
    if common == sink.lanes:
        parts = source.lanes // sink.lanes
        counter = 0 if source.elements % source.lanes == 0 else 12  # of the frame's beats, for one that is not whole
        return Cost(lut=sink.lanes * width * -(-(parts - 1) // 3) + 3 + counter, ff=2 + counter)
    if common == source.lanes and sink.elements % sink.lanes == 0:
        return Cost(lut=WIDEN_LUTS, ff=(sink.lanes - source.lanes) * width + 4)
    store = (source.lanes + sink.lanes - common) * width
    return Cost(lut=round(store * LUTS.repack) + 27, ff=store + 20)


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


def table_cost(node: TableNode) -> Cost:
    """A memory a lane, addressed by the phase of the channels and the code, and a FIFO of results."""
    lanes, width, function = node.source.lanes, node.sink.type.width, node.function
    channels = len(function.values) if isinstance(function, Table) else 1
    one = rom_cost(width, channels // gcd(channels, lanes) << node.source.type.width)
    results = results_cost(lanes * width, latency=FETCH)
    return results + Cost(lut=lanes * one.lut + FIFO_LUTS, ff=lanes * one.ff + 10, bram36=lanes * one.bram36)


def resources(node: Node) -> Cost:
    """What a node takes of a device; cycles are left at 0."""
    if isinstance(node, ArrayNode):
        return sum(array_parts(node).values(), start=Cost())
    if isinstance(node, TableNode):
        return table_cost(node)
    assert isinstance(node, ArgMaxNode)
    return Cost(lut=50 * node.source.lanes + 100, ff=30 * node.source.lanes + 50)


def cost_of(node: Node) -> Cost:
    """Latency and resources of a node."""
    return Cost(latency(node)) + resources(node)
