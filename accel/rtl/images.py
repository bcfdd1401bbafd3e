"""What the memories of an array hold: weights step by step, and the activations' constants group by group.

Inside an array a value is an unsigned *code*: ``x = base + step * code``. With it a neuron's accumulator is
``a = step * s + base * sum(w)``, where ``s = sum(w * code)`` is what the gateware accumulates; the constant goes into
thresholds and biases here, and costs nothing there. Weights of zero fill up the last tiles, so what their inputs hold
is of no account.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accel.dataflow.pipeline import Activation, ArrayNode, Layer
from accel.dataflow.timing import PARALLEL_LEVELS, search_bits
from accel.graph import GraphError, IntType, Requantize, Tensor, Threshold


@dataclass(frozen=True)
class Code:
    """How values are written as unsigned codes ``lo..hi`` of ``width`` bits: ``x = base + step * code``."""

    base: int
    step: int
    width: int
    lo: int
    hi: int

    @classmethod
    def of(cls, type: IntType) -> Code:
        """The code of a stream's element: its bits, the highest flipped when the type is signed."""
        if type.is_bipolar:
            if type.lo < -1 or type.hi > 1:
                raise GraphError(f"the gateware knows no type of step 2 but bipolar, not {type.lo}..{type.hi}")
            return cls(-1, 2, 1, (type.lo + 1) // 2, (type.hi + 1) // 2)
        base = -(1 << (type.width - 1)) if type.signed else 0
        return cls(base, 1, type.width, type.lo - base, type.hi - base)

    @classmethod
    def after(cls, activation: Activation | None, accumulator: IntType) -> Code:
        """The code in which an activation gives its results: thresholds count from their lowest level."""
        if isinstance(activation, Threshold):
            out = activation.out
            return cls(out.lo, out.step, search_bits(activation), 0, out.levels - 1)
        return cls.of(accumulator if activation is None else activation.out)


@dataclass(frozen=True)
class Packing:
    """How weights share multipliers: a DSP48E1 takes ``share`` neurons' weights, ``field`` bits apart, and one input.

    All fields but the highest hold an unsigned code: ``w = scale * code - offset``. The highest does only when
    ``unsigned``, else it holds the weight itself in two's complement.
    """

    share: int
    field: int
    unsigned: bool
    scale: int
    offset: int

    def coded(self, neuron: int, pe: int) -> bool:
        """Whether the weights of a row of the array are held as codes."""
        return self.unsigned or (neuron % self.share != self.share - 1 and neuron != pe - 1)


def signed_width(lo: int, hi: int) -> int:
    """Bits of the narrowest two's complement that holds ``lo..hi``."""
    return IntType(min(lo, -1), max(hi, 0)).width


def pack(values: np.ndarray, width: int) -> list[int]:
    """One word a row: the columns' lowest ``width`` bits, the first column lowest."""
    bits = (values[..., None] >> np.arange(width)) & 1
    rows = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


class ArrayPlan:
    """Widths, codes and memory contents of an ArrayNode."""

    def __init__(self, node: ArrayNode) -> None:
        if node.pe % node.drain:
            raise GraphError(f"{node.name}: drain must divide pe, but {node.drain} does not divide {node.pe}")
        self.node = node
        self.inputs: list[Code] = []
        self.types: list[IntType] = []
        source, code = node.source.type, Code.of(node.source.type)
        for layer in node.layers:
            self.inputs.append(code)
            accumulator = layer.dense.infer(Tensor("", (layer.inputs,), source))
            self.types.append(accumulator.type)
            code = Code.after(layer.activation, accumulator.type)
            out = accumulator if layer.activation is None else layer.activation.infer(accumulator)
            source = out.type
        if source != node.sink.type:
            raise GraphError(f"{node.name}: its last layer gives {source}, but its sink takes {node.sink.type}")
        self.result = code

    @cached_property
    def input_width(self) -> int:
        """Bits of the widest input code."""
        return max(code.width for code in self.inputs)

    @cached_property
    def weight_type(self) -> IntType:
        """A type that holds the weights of every layer, and zero where the last tile is not full."""
        types = [layer.dense.weight_type for layer in self.node.layers]
        if all(t.is_bipolar for t in types) and all(layer.inputs % self.node.simd == 0 for layer in self.node.layers):
            return IntType.bipolar()
        return IntType(min(0, *(t.lo for t in types)), max(0, *(t.hi for t in types)))

    @cached_property
    def packing(self) -> Packing:
        """As many weights to a DSP48E1 as fit its 25-bit signed operand."""
        weight = self.weight_type
        field = weight.width + self.input_width
        if weight.is_bipolar:
            unsigned, scale, offset = True, 2, 1
        else:
            unsigned, scale, offset = not weight.signed, 1, 1 << (weight.width - 1) if weight.signed else 0
        share = 1
        if self.node.multiplier == "dsp":
            share = max(1, (25 - unsigned - weight.width) // field + 1)
        return Packing(share, field, unsigned, scale, offset)

    def sums(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest ``s`` of each neuron, shape (M,)."""
        w, code = self.node.layers[layer].dense.weights, self.inputs[layer]
        a, b = w * code.lo, w * code.hi
        return np.minimum(a, b).sum(axis=1), np.maximum(a, b).sum(axis=1)

    @cached_property
    def width(self) -> int:
        """Bits of the accumulators: every ``s``, and a threshold beyond it, of a falling channel the negative one."""
        lo, hi = 0, 0
        for i, layer in enumerate(self.node.layers):
            least, most = self.sums(i)
            lo, hi = min(lo, int(least.min())), max(hi, int(most.max()) + 1)
            if isinstance(layer.activation, Threshold) and layer.activation.falling.any():
                lo, hi = min(lo, -hi), max(hi, -lo)
        return signed_width(lo, hi)

    def constant(self, layer: int) -> np.ndarray:
        """``base * sum(w)`` of each neuron, shape (M,)."""
        return self.inputs[layer].base * self.node.layers[layer].dense.weights.sum(axis=1)

    def groups(self, layer: Layer) -> int:
        """How many times ``drain`` accumulators are drained for a layer."""
        return -(-layer.outputs // self.node.drain)

    def weights(self) -> list[int]:
        """One word a step: the weights of neuron 0 for the ``simd`` inputs, then of neuron 1, …"""
        node, weight, packing = self.node, self.weight_type, self.packing
        coded = np.array([packing.coded(p, node.pe) for p in range(node.pe)])[:, None]
        words: list[int] = []
        for layer in node.layers:
            tiles, rows = node.tiles(layer)
            padded = np.zeros((rows * node.pe, tiles * node.simd), dtype=np.int64)
            padded[: layer.outputs, : layer.inputs] = layer.dense.weights
            steps = (
                padded.reshape(rows, node.pe, tiles, node.simd).transpose(2, 0, 1, 3).reshape(-1, node.pe, node.simd)
            )
            steps = np.where(coded, (steps + packing.offset) // packing.scale, steps)
            words += pack(steps.reshape(len(steps), -1), weight.width)
        return words

    def grouped(self, values: list[np.ndarray | None], fill: int) -> np.ndarray:
        """Constants of each layer's neurons, shape (M, n), as rows of a group each: shape (groups, drain, n)."""
        n = next(v.shape[1] for v in values if v is not None)
        parts = []
        for layer, v in zip(self.node.layers, values, strict=True):
            part = np.full((self.groups(layer) * self.node.drain, n), fill, dtype=np.int64)
            if v is not None:
                part[: layer.outputs] = v
            parts.append(part)
        return np.concatenate(parts).reshape(-1, self.node.drain, n)

    def thresholds(self, *, search: bool) -> ThresholdImage | None:
        """The thresholds on ``s`` of the layers that compare at once, or of those that search."""
        values: list[tuple[np.ndarray, np.ndarray] | None] = []
        for i, layer in enumerate(self.node.layers):
            a = layer.activation
            if not isinstance(a, Threshold) or (a.out.levels > PARALLEL_LEVELS) is not search:
                values.append(None)
                continue
            least, most = self.sums(i)
            bounded = np.clip(a.thresholds, -(1 << 60), 1 << 60) - self.constant(i)[:, None]
            on_s = np.clip(-(-bounded // self.inputs[i].step), least[:, None], most[:, None] + 1)
            values.append((on_s, np.asarray(a.falling, dtype=bool)))
        used = [v for v in values if v is not None]
        if not used:
            return None
        steps = max(1, *(t.shape[1] for t, _ in used))
        if search:
            steps = (1 << steps.bit_length()) - 1
        never = (1 << (self.width - 1)) - 1
        rows = [None if v is None else upright(*v, steps=steps, never=never) for v in values]
        falling = [None if v is None else v[1][:, None].astype(np.int64) for v in values]
        return ThresholdImage(self.grouped(rows, never), self.grouped(falling, 0)[..., 0].astype(bool), self.width)

    def requantization(self) -> RequantizeImage | None:
        """Multipliers and biases on ``s``, scaled to one common shift."""
        used = [(i, layer.activation) for i, layer in enumerate(self.node.layers)]
        layers = [(i, a) for i, a in used if isinstance(a, Requantize)]
        if not layers:
            return None
        shift = max(a.shift for _, a in layers)
        multipliers: list[np.ndarray | None] = [None] * len(used)
        biases: list[np.ndarray | None] = [None] * len(used)
        lo = hi = 0
        for i, a in layers:
            scale = 1 << (shift - a.shift)
            reach = max(int(np.abs(bound).max()) for bound in self.sums(i)) * self.inputs[i].step
            reach += int(np.abs(self.constant(i)).max())
            if (int(np.abs(a.multiplier).max()) * reach + int(np.abs(a.bias).max())) * scale >= 1 << 62:
                raise GraphError(f"{a.name}: products of more than 62 bits")
            multipliers[i] = (a.multiplier * (self.inputs[i].step * scale))[:, None]
            biases[i] = ((a.bias + a.multiplier * self.constant(i)) * scale)[:, None]
            for bound in self.sums(i):
                totals = multipliers[i][:, 0] * bound + biases[i][:, 0]  # type: ignore[index]
                lo, hi = min(lo, int(totals.min())), max(hi, int(totals.max()))
        fill = int(next(m for m in multipliers if m is not None)[0, 0])  # so that what is never drained changes nothing
        return RequantizeImage(
            self.grouped(multipliers, fill)[..., 0],
            self.grouped(biases, 0)[..., 0],
            shift,
            signed_width(lo, hi),
            [a if isinstance(a, Requantize) else None for _, a in used],
        )

    def plain(self) -> list[int] | None:
        """What makes ``step * s`` of layers without activation a code, a word a group; None without such a layer."""
        values = [
            (self.constant(i) - Code.of(self.types[i]).base)[:, None] if layer.activation is None else None
            for i, layer in enumerate(self.node.layers)
        ]
        if all(v is None for v in values):
            return None
        return pack(self.grouped(values, 0)[..., 0], self.plain_width)

    @cached_property
    def plain_width(self) -> int:
        """Bits of the widest code of an accumulator that goes on as it is."""
        layers = enumerate(self.node.layers)
        return max((self.types[i].width for i, layer in layers if layer.activation is None), default=0)


def upright(thresholds: np.ndarray, falling: np.ndarray, *, steps: int, never: int) -> np.ndarray:
    """Thresholds with which the level number is a count in falling channels too, filled up to ``steps`` with ``never``.

    The level of a falling channel is the number of thresholds ``t > s``, which is the number of ``-t <= ~s``.
    """
    rows = np.where(falling[:, None], -thresholds[:, ::-1], thresholds)
    return np.pad(rows, ((0, 0), (0, steps - rows.shape[1])), constant_values=never)


@dataclass(frozen=True)
class ThresholdImage:
    """Ascending thresholds, shape (groups, lanes, steps); which channels invert their input, shape (groups, lanes)."""

    thresholds: np.ndarray
    falling: np.ndarray
    width: int

    @property
    def steps(self) -> int:
        return int(self.thresholds.shape[2])

    @property
    def inverts(self) -> bool:
        """Whether any channel falls, so that the inverter exists."""
        return bool(self.falling.any())

    def parallel(self) -> list[int]:
        """A word a group: of each lane all thresholds, then (if any channel falls) the lanes' inversion bits."""
        words = pack(self.thresholds.reshape(len(self.thresholds), -1), self.width)
        if not self.inverts:
            return words
        position = self.thresholds.shape[1] * self.steps * self.width
        bits = pack(self.falling.astype(np.int64), 1)
        return [word | bit << position for word, bit in zip(words, bits, strict=True)]

    def level(self, lane: int, depth: int) -> list[int]:
        """Words at address ``bits found so far + group << depth``: the threshold to compare with next.

        At depth 0 the inversion bit (if any channel falls) stands above it.
        """
        stride = (self.steps + 1) >> depth
        at = np.arange(1 << depth) * stride + stride // 2 - 1
        words = pack(self.thresholds[:, lane, at].reshape(-1, 1), self.width)
        if depth == 0 and self.inverts:
            return [word | int(bit) << self.width for word, bit in zip(words, self.falling[:, lane], strict=True)]
        return words


@dataclass(frozen=True)
class RequantizeImage:
    """Constants, shape (groups, lanes) each, of ``(s * multiplier + bias) >> shift`` with a sum of ``width`` bits."""

    multipliers: np.ndarray
    biases: np.ndarray
    shift: int
    width: int
    layers: list[Requantize | None]

    @property
    def constant(self) -> int | None:
        """The multiplier when all are the same power of two, so that no multiplier is needed."""
        first = int(self.multipliers.max())
        return first if (self.multipliers == first).all() and first > 0 and first.bit_count() == 1 else None

    @property
    def multiplier_width(self) -> int:
        """Bits of a multiplier in memory; none when it is a constant."""
        if self.constant is not None:
            return 0
        return signed_width(int(self.multipliers.min()), int(self.multipliers.max()))

    @property
    def bias_width(self) -> int:
        return signed_width(int(self.biases.min()), int(self.biases.max()))

    def words(self) -> list[int]:
        """A word a group: the lanes' multipliers, then (above them) the lanes' biases."""
        biases = pack(self.biases, self.bias_width)
        if self.constant is not None:
            return biases
        above = self.multipliers.shape[1] * self.multiplier_width
        return [m | b << above for m, b in zip(pack(self.multipliers, self.multiplier_width), biases, strict=True)]


def images(node: ArrayNode) -> dict[str, list[int]]:
    """The memories of an array by name, a number a word, for readers; the gateware is made from the same plan."""
    plan = ArrayPlan(node)
    memories = {"weights": plan.weights()}
    if (parallel := plan.thresholds(search=False)) is not None:
        memories["thresholds"] = parallel.parallel()
    if (search := plan.thresholds(search=True)) is not None:
        for lane in range(node.drain):
            for depth in range(search.steps.bit_length()):
                memories[f"thresholds_lane{lane}_bit{depth}"] = search.level(lane, depth)
    if (constants := plan.requantization()) is not None:
        memories["requantization"] = constants.words()
    if (biases := plan.plain()) is not None:
        memories["biases"] = biases
    return memories
