"""Options: every way to build one part of a network of images, less those that another one beats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accel.dataflow.budget import Budget, Cost
from accel.dataflow.candidates import CHOICES, OUTPUT_LANES, SIZES, Space, arrays
from accel.dataflow.cost import resources, weight_bits, widths
from accel.dataflow.node_cost import as_layer, resources_of, roomy
from accel.dataflow.parts import Part, image_of
from accel.dataflow.pipeline import (
    AddNode,
    ArgMaxNode,
    ArrayNode,
    ConcatNode,
    ConvNode,
    DepthwiseNode,
    Node,
    PadNode,
    PoolNode,
    Stream,
    TableNode,
    TopKNode,
    UpsampleNode,
    sources,
)
from accel.dataflow.timing import array_beats, array_interval
from accel.dataflow.windows import least_capacity, needs, row_step, waits
from accel.graph import (
    Add,
    ArgMax,
    Concat,
    Conv,
    MaxPool,
    Pad,
    Requantize,
    SumPool,
    Table,
    Tensor,
    Threshold,
    TopK,
    Upsample,
)

PRODUCT_BITS = 64  # bits of a weight times bits of an input: larger products belong into DSP48E1s, if there are any
MOST_LANES = 64  # wider beats are many wires that change at once
BUFFERS = ("lut", "bram")
FINE = 0.03  # of the LUTs, which make no difference
SLOW = 1 << 20  # cycles between beats that make a node wait for each

Wishes = Mapping[str, object]


@dataclass(frozen=True)
class Option:
    """One way to build a part.

    ``work``: cycles that a frame keeps the node busy when it waits for nobody, its input and output beats included;
    ``tail``: cycles from the last input beat to the last output beat when input is slow; ``lag``: cycles from the
    input beat that makes the first output possible to that output.
    """

    node: Node
    cost: Cost
    work: int
    tail: int
    lag: int


def divisors(n: int, most: int | None = None) -> list[int]:
    """The divisors of ``n``, ascending, up to ``most``."""
    return [d for d in range(1, min(n, most or n) + 1) if n % d == 0]


def folds_of(size: int) -> list[int]:
    """Of every number of steps that ``size`` things can take, how many are done in one."""
    return sorted({-(-size // steps) for steps in range(1, size + 1)})


def keys_of(part: Part) -> dict[str, Sequence]:
    """What may be chosen for a part, with the legal values."""
    op = part.operator
    if part.layers:
        return {"pe": SIZES, "simd": SIZES, "drain": SIZES, **CHOICES, "lanes": SIZES}
    keys: dict[str, Sequence]
    keys = {"lanes": lanes_of(part)}
    if isinstance(op, Conv):
        each, channels = len(op.weights) // op.groups, op.weights.shape[3]
        drains = divisors(len(op.weights) if op.is_depthwise else each)
        pes: Sequence = range(1, each + 1) if op.groups == 1 else drains
        keys = {"pe": pes} if op.is_depthwise else {"pe": pes, "simd": divisors(channels)}
        keys |= {"taps": range(1, op.window.taps + 1), "drain": drains, **CHOICES}
        if product_bits(op, part.inputs[0]) == (1, 1):
            keys["multiplier"] = ("lut",)  # bits that are compared are nothing to a DSP48E1
    if isinstance(op, Conv | MaxPool | SumPool):
        least = least_capacity(op.window, part.image)
        keys |= {"buffer": BUFFERS, "capacity": range(least, least + part.image.height * part.image.width + 1)}
    return keys


def product_bits(conv: Conv, source: Tensor) -> tuple[int, int]:
    """Bits of an input and of a weight."""
    layers, kind = (as_layer(conv, None),), conv.reads(source.type)
    return widths(layers, kind).code, weight_bits(layers, kind)


def lanes_of(part: Part) -> list[int]:
    """Lanes that a part's streams may have, when all have the same."""
    if isinstance(part.operator, ArgMax | TopK):
        return [1] if isinstance(part.operator, TopK) else divisors(part.inputs[0].shape[-1], MOST_LANES)
    common = math.gcd(*(tensor.shape[-1] for tensor in part.inputs), part.channels)
    return divisors(common, MOST_LANES)


def options(part: Part, *, budget: Budget, wishes: Wishes, steady: bool = False) -> list[Option]:
    """Every option of a part that fits the budget by itself and is not beaten by another one; see `option_of`."""
    found = (option_of(node, steady=steady) for node in nodes_of(part, budget=budget, wishes=wishes))
    return undominated(option for option in found if option.cost.fits(budget))


def nodes_of(part: Part, *, budget: Budget, wishes: Wishes) -> Iterator[Node]:
    """Every node that computes a part."""
    op = part.operator
    if isinstance(op, Conv):
        yield from convolutions(part, budget=budget, wishes=wishes)
    elif part.layers:
        yield from dense_arrays(part, budget=budget, wishes=wishes)
    else:
        for lanes in chosen("lanes", wishes, lanes_of(part)):
            yield from passing(part, lanes, wishes)


def chosen(key: str, wishes: Wishes, values: Iterable) -> Sequence:
    """The value that is wished for, or all."""
    return (wishes[key],) if key in wishes else tuple(values)


def stream(tensor: Tensor, lanes: int) -> Stream:
    """What carries a tensor."""
    return Stream(tensor.size, tensor.type, lanes)


def convolutions(part: Part, *, budget: Budget, wishes: Wishes) -> Iterator[Node]:
    """A convolution, depthwise or not, of every size that takes fewer steps than the next smaller one."""
    conv = part.operator
    assert isinstance(conv, Conv)
    source, image = part.inputs[0], part.image
    code, bits = product_bits(conv, source)
    keys = keys_of(part)
    small = code * bits <= PRODUCT_BITS or not budget.dsp
    hard, soft = budget.multipliers
    styles = (soft,) if keys["multiplier"] == (soft,) else (hard, soft) if small else (hard,)
    most = budget.lut if "lut" in styles else 6 * budget.dsp  # products that could ever fit
    simds = chosen("simd", wishes, keys.get("simd", (1,)))
    pes = folds_of(len(conv.weights)) if conv.groups == 1 else keys["pe"]
    for pe in chosen("pe", wishes, pes):
        for simd in simds:
            for taps in chosen("taps", wishes, folds_of(conv.window.taps)):
                if pe * simd * taps > most and "pe" not in wishes:
                    continue
                common = {
                    "name": part.name,
                    "conv": conv,
                    "activation": part.activation,
                    "image": image,
                    "pe": pe,
                    "taps": taps,
                }
                each = -(-conv.window.taps // taps) * (1 if conv.is_depthwise else conv.weights.shape[3] // simd)
                drains = divisors(math.gcd(pe, len(conv.weights)))
                enough = [d for d in drains if pe // d <= each][:1]
                enough = enough or (drains[-1:] if "pe" in wishes else [])
                for drain in chosen("drain", wishes, enough):
                    if drain not in drains:
                        continue
                    for style in chosen("multiplier", wishes, styles):
                        for memory in chosen("memory", wishes, CHOICES["memory"]):
                            for buffer in chosen("buffer", wishes, BUFFERS):
                                rest = {
                                    "source": stream(source, pe if conv.is_depthwise else simd),
                                    "sink": stream(part.output, drain),
                                    "drain": drain,
                                    "multiplier": style,
                                    "memory": memory,
                                    "buffer": buffer,
                                }
                                lanes = pe if conv.is_depthwise else simd
                                for capacity in capacities(part, lanes, buffer, wishes):
                                    rest["capacity"] = capacity
                                    if conv.is_depthwise:
                                        yield DepthwiseNode(**common, **rest)  # type: ignore[arg-type]
                                    else:
                                        yield ConvNode(**common, simd=simd, **rest)  # type: ignore[arg-type]


def capacities(part: Part, lanes: int, buffer: str, wishes: Wishes) -> Sequence[int]:
    """Pixels of a line buffer: room for one more than the least, or for all that the next row of windows needs."""
    op, image = part.operator, part.image
    assert isinstance(op, Conv | MaxPool | SumPool)
    width, words = lanes * part.inputs[0].type.width, image.channels // lanes
    rooms = {roomy(buffer, width, words, op.window, image, more=more) for more in (1, row_step(op.window, image))}
    return chosen("capacity", wishes, sorted(rooms))


def dense_arrays(part: Part, *, budget: Budget, wishes: Wishes) -> Iterator[Node]:
    """A chain of dense layers on one array; sizes are powers of two."""
    sink = stream(part.output, OUTPUT_LANES)
    for lanes in chosen("lanes", wishes, (1, 4)):
        source = stream(part.inputs[0], lanes)
        for node in arrays(
            part.layers, source, sink, budget=budget, wishes=wishes, space=Space("coarse"), room=lambda used: 1 << 40
        ):
            yield replace(node, name=part.name)


def passing(part: Part, lanes: int, wishes: Wishes) -> Iterator[Node]:
    """What has the same lanes everywhere."""
    op, name, activation = part.operator, part.name, part.activation
    inputs = tuple(stream(tensor, lanes) for tensor in part.inputs)
    sink = stream(part.output, lanes)
    if isinstance(op, MaxPool | SumPool):
        node = PoolNode(name, op, activation, part.image, inputs[0], sink)
        for buffer in chosen("buffer", wishes, BUFFERS if node.overlaps else BUFFERS[:1]):
            for capacity in capacities(part, lanes, buffer, wishes) if node.overlaps else (0,):
                yield replace(node, buffer=buffer, capacity=capacity)
    elif isinstance(op, Add):
        yield AddNode(name, op, activation, part.channels, inputs[0], inputs[1], sink)
    elif isinstance(op, Concat):
        yield ConcatNode(name, op, tuple(tensor.shape[-1] for tensor in part.inputs), inputs, sink)
    elif isinstance(op, Pad):
        yield PadNode(name, op, part.image, inputs[0], sink)
    elif isinstance(op, Upsample):
        yield UpsampleNode(name, op, part.image, inputs[0], sink)
    elif isinstance(op, Table | Threshold | Requantize):
        yield TableNode(name, op, inputs[0], sink)
    elif isinstance(op, ArgMax):
        yield ArgMaxNode(name, op, inputs[0], replace(sink, lanes=1))
    else:
        assert isinstance(op, TopK)
        yield TopKNode(name, op, inputs[0], replace(sink, lanes=1))


LAG = 12  # cycles, about: from a window that is complete to its result


def option_of(node: Node, *, steady: bool = False) -> Option:
    """A node with what it costs and how long it takes, as folding reckons; `accel.dataflow.tokens` says exactly.

    With ``steady`` the work of an array is the time between frames that follow each other, in which its layers also
    wait for each other. To the latency of a frame that is in the tail.
    """
    beats = max(*(s.beats for s in sources(node)), node.sink.beats)
    if isinstance(node, ArrayNode):
        spaced = np.arange(node.source.beats) * SLOW
        tail = int(array_beats(node, spaced)[-1] - spaced[-1])
        work = max(node.steps, beats, array_interval(node) if steady else 0)
        return Option(node, resources(node), work, tail, tail)
    cost = resources_of(node)
    if isinstance(node, ConvNode | DepthwiseNode | PoolNode) and (not isinstance(node, PoolNode) or node.overlaps):
        needed, _ = needs(node.window, node.image.height, node.image.width)
        pending = int((needed >= needed[-1]).sum())
        each = node.steps // len(needed)
        waiting = waits(node.window, node.image, node.capacity, node.image.channels // node.source.lanes)
        work, tail = node.steps + int(waiting.sum()), pending * each + int(waiting[-pending + 1 :].sum())
        return Option(node, cost, max(work, beats), tail + LAG, each + LAG)
    if isinstance(node, PadNode | UpsampleNode):
        rest = last_beats(node)
        return Option(node, cost, beats, rest + LAG // 2, LAG // 2)
    if isinstance(node, ConcatNode):
        return Option(node, cost, node.sink.beats, LAG // 2, LAG // 2)
    return Option(node, cost, beats, (node.topk.k if isinstance(node, TopKNode) else 0) + LAG // 2, LAG // 2)


def last_beats(node: PadNode | UpsampleNode) -> int:
    """Output beats that follow the last input beat."""
    lanes, image = node.sink.lanes, node.image
    if isinstance(node, UpsampleNode):
        rows, columns = node.upsample.factors
        return (columns - 1 + (rows - 1) * image.width * columns) * (image.channels // lanes)
    _, left, bottom, right = node.pad.pads
    return (right + bottom * (left + image.width + right)) * (image.channels // lanes)


def demands(part: Part) -> tuple[float, float]:
    """The shares of its input that a part needs before its first output, and before the last row of its output."""
    op, rows = part.operator, image_of(part.output).height
    if part.layers:
        return 0.0, 0.0
    if isinstance(op, ArgMax | TopK):
        return 1.0, 1.0
    if isinstance(op, Conv | MaxPool | SumPool):
        image = part.image
        needed, _ = needs(op.window, image.height, image.width)
        pixels = image.height * image.width
        return float(needed[0]) / pixels, float(needed[-(len(needed) // rows)]) / pixels
    return 0.0, 1 - 1 / rows


def undominated(found: Iterable[Option]) -> list[Option]:
    """Those that no other one equals or beats in times and resources; of equals the first stays.

    LUTs are an estimate, so that a few per cent of them are no difference; registers are never what is short.
    """

    def point(option: Option) -> tuple[int, ...]:
        cost = option.cost
        return option.work, option.tail, round(math.log1p(cost.lut) / FINE), math.ceil(2 * cost.bram36), cost.dsp

    ordered = sorted(((point(o), i, o) for i, o in enumerate(found)), key=lambda entry: entry[:2])
    front = np.empty((len(ordered), 5), dtype=np.int64)
    kept: list[Option] = []
    for at, _, option in ordered:
        if not (front[: len(kept)] <= at).all(axis=1).any():
            front[len(kept)] = at
            kept.append(option)
    return kept
