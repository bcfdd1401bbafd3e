"""What all gateware that multiplies and activates has in common: codes, and the constants of activations.

Inside a node a value is an unsigned *code*: ``x = base + step * code``. With it a neuron's accumulator is
``a = step * s + base * sum(w)``, where ``s = sum(w * code)`` is what the gateware accumulates; the constant goes into
thresholds and biases here, and costs nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accel.dataflow.pipeline import Activation
from accel.dataflow.timing import PARALLEL_LEVELS, search_bits
from accel.graph import GraphError, IntType, Requantize, Threshold


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


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons that see inputs of one code and have one activation: ``weights`` has shape (M, K).

    ``type`` is that of their accumulators. With ``counts`` weights and inputs are bipolar, and ``s`` is the number of
    those that agree: ``a = 2 * s - K``, with K, not the sum of the weights, as the constant.
    """

    weights: np.ndarray
    code: Code
    activation: Activation | None
    type: IntType
    counts: bool = False

    @property
    def outputs(self) -> int:
        return len(self.weights)

    @cached_property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest ``s`` of each neuron, shape (M,)."""
        if self.counts:
            return np.zeros(self.outputs, dtype=np.int64), np.full(self.outputs, self.weights.shape[1])
        a, b = self.weights * self.code.lo, self.weights * self.code.hi
        return np.minimum(a, b).sum(axis=1), np.maximum(a, b).sum(axis=1)

    @cached_property
    def constant(self) -> np.ndarray:
        """What an accumulator is when ``s`` is 0, shape (M,)."""
        if self.counts:
            return np.full(self.outputs, -self.weights.shape[1])
        return self.code.base * self.weights.sum(axis=1)


class Plan:
    """Multipliers and activation units of a node: their sizes, widths and constants.

    ``pe`` neurons at a time are the sums of ``fan_in`` products a step each; with ``own`` each neuron has inputs of its
    own, else they are the same for all. ``multiplier`` is "dsp" or "lut". ``drain`` accumulators at once are activated.
    ``neurons`` are those of each layer, ``steps`` the words of the weight memory.
    """

    def __init__(
        self, name: str, neurons: list[Neurons], *, pe: int, fan_in: int, drain: int, multiplier: str, own: bool = False
    ) -> None:
        if pe % drain:
            raise GraphError(f"{name}: drain must divide pe, but {drain} does not divide {pe}")
        self.name, self.neurons, self.own = name, neurons, own
        self.pe, self.fan_in, self.drain, self.multiplier = pe, fan_in, drain, multiplier
        last = neurons[-1]
        self.result = Code.after(last.activation, last.type)

    @property
    def steps(self) -> int:
        """Words of the weight memory."""
        raise NotImplementedError

    @property
    def weight_type(self) -> IntType:
        """A type that holds all weights, and zero where a tile is not full."""
        raise NotImplementedError

    def weights(self) -> list[int]:
        """One word a step: the weights of neuron 0 for its ``fan_in`` inputs, then of neuron 1, …"""
        raise NotImplementedError

    @cached_property
    def inputs(self) -> list[Code]:
        """The code of each layer's inputs."""
        return [n.code for n in self.neurons]

    @cached_property
    def input_width(self) -> int:
        """Bits of the widest input code."""
        return max(code.width for code in self.inputs)

    @property
    def counts(self) -> bool:
        """Whether products are agreements of bits, which are counted."""
        return all(n.counts for n in self.neurons)

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
        if self.multiplier == "dsp" and not self.own:
            share = max(1, (25 - unsigned - weight.width) // field + 1)
        return Packing(share, field, unsigned, scale, offset)

    def words(self, tiles: np.ndarray) -> list[int]:
        """Words of the weight memory, from weights of shape (steps, pe, fan_in)."""
        packing = self.packing
        coded = np.array([packing.coded(p, self.pe) for p in range(self.pe)])[:, None]
        fields = np.where(coded, (tiles + packing.offset) // packing.scale, tiles)
        return pack(fields.reshape(len(fields), -1), self.weight_type.width)

    @cached_property
    def width(self) -> int:
        """Bits of the accumulators: every ``s``, and a threshold beyond it, of a falling channel the negative one."""
        lo, hi = 0, 0
        for n in self.neurons:
            least, most = n.sums
            lo, hi = min(lo, int(least.min())), max(hi, int(most.max()) + 1)
            if isinstance(n.activation, Threshold) and n.activation.falling.any():
                lo, hi = min(lo, -hi), max(hi, -lo)
        return signed_width(lo, hi)

    def groups(self, n: Neurons) -> int:
        """How many times ``drain`` accumulators are drained for a layer."""
        return -(-n.outputs // self.drain)

    def grouped(self, values: list[np.ndarray | None], fill: int) -> np.ndarray:
        """Constants of each layer's neurons, shape (M, n), as rows of a group each: shape (groups, drain, n)."""
        columns = next(v.shape[1] for v in values if v is not None)
        parts = []
        for n, v in zip(self.neurons, values, strict=True):
            part = np.full((self.groups(n) * self.drain, columns), fill, dtype=np.int64)
            if v is not None:
                part[: n.outputs] = v
            parts.append(part)
        return np.concatenate(parts).reshape(-1, self.drain, columns)

    def thresholds(self, *, search: bool) -> ThresholdImage | None:
        """The thresholds on ``s`` of the layers that compare at once, or of those that search."""
        values: list[tuple[np.ndarray, np.ndarray] | None] = []
        for n in self.neurons:
            a = n.activation
            if not isinstance(a, Threshold) or (a.out.levels > PARALLEL_LEVELS) is not search:
                values.append(None)
                continue
            least, most = n.sums
            bounded = np.clip(a.thresholds, -(1 << 60), 1 << 60) - n.constant[:, None]
            on_s = np.clip(-(-bounded // n.code.step), least[:, None], most[:, None] + 1)
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
        layers = [(i, n, n.activation) for i, n in enumerate(self.neurons) if isinstance(n.activation, Requantize)]
        if not layers:
            return None
        shift = max(a.shift for _, _, a in layers)
        multipliers: list[np.ndarray | None] = [None] * len(self.neurons)
        biases: list[np.ndarray | None] = [None] * len(self.neurons)
        turns: list[np.ndarray | None] = [None] * len(self.neurons)
        uppers: list[np.ndarray | None] = [None] * len(self.neurons)
        lo = hi = 0
        for i, n, a in layers:
            scale = 1 << (shift - a.shift)
            reach = max(int(np.abs(bound).max()) for bound in n.sums) * n.code.step + int(np.abs(n.constant).max())
            above = np.zeros_like(a.bias) if a.above is None else a.above
            if (
                int(np.abs(a.multiplier).max()) * reach + int((np.abs(a.bias) + np.abs(above)).max())
            ) * scale >= 1 << 62:
                raise GraphError(f"{a.name}: products of more than 62 bits")
            multipliers[i] = (a.multiplier * (n.code.step * scale))[:, None]
            biases[i] = ((a.bias + a.multiplier * n.constant) * scale)[:, None]
            uppers[i] = biases[i] + (above * scale)[:, None]  # type: ignore[operator]
            # x reaches the turn where s reaches this
            turn = n.sums[1] + 1 if a.turn is None else -((n.constant - a.turn) // n.code.step)
            turns[i] = np.clip(turn, n.sums[0], n.sums[1] + 1)[:, None]
            for bound in n.sums:
                for bias in (biases[i], uppers[i]):
                    totals = multipliers[i][:, 0] * bound + bias[:, 0]  # type: ignore[index]
                    lo, hi = min(lo, int(totals.min())), max(hi, int(totals.max()))
        fill = int(next(m for m in multipliers if m is not None)[0, 0])  # so that what is never drained changes nothing
        return RequantizeImage(
            self.grouped(multipliers, fill)[..., 0],
            self.grouped(biases, 0)[..., 0],
            shift,
            signed_width(lo, hi),
            [n.activation if isinstance(n.activation, Requantize) else None for n in self.neurons],
            *(
                (self.grouped(v, 0)[..., 0] for v in (turns, uppers))
                if any(a.above is not None for *_, a in layers)
                else ()
            ),
        )

    def plain(self) -> list[int] | None:
        """What makes ``step * s`` of layers without activation a code, a word a group; None without such a layer."""
        values = [(n.constant - Code.of(n.type).base)[:, None] if n.activation is None else None for n in self.neurons]
        if all(v is None for v in values):
            return None
        return pack(self.grouped(values, 0)[..., 0], self.plain_width)

    @cached_property
    def plain_width(self) -> int:
        """Bits of the widest code of an accumulator that goes on as it is."""
        return max((n.type.width for n in self.neurons if n.activation is None), default=0)

    def images(self) -> dict[str, list[int]]:
        """The memories by name, a number a word."""
        memories = {"weights": self.weights()}
        for search in (False, True):
            if (thresholds := self.thresholds(search=search)) is not None:
                memories |= thresholds.memories(search=search)
        if (constants := self.requantization()) is not None:
            memories["requantization"] = constants.words()
        if (biases := self.plain()) is not None:
            memories["biases"] = biases
        return memories


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

    def memories(self, *, search: bool) -> dict[str, list[int]]:
        """The memories of a unit that compares at once, or of one that searches, by name, a number a word."""
        if not search:
            return {"thresholds": self.parallel()}
        lanes, depths = range(self.thresholds.shape[1]), range(self.steps.bit_length())
        return {f"thresholds_lane{lane}_bit{depth}": self.level(lane, depth) for lane in lanes for depth in depths}

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
    """Constants, shape (groups, lanes) each, of ``(s * multiplier + bias) >> shift`` with a sum of ``width`` bits.

    Where there are ``turns``, the bias is the one of ``uppers`` from ``s = turn`` on.
    """

    multipliers: np.ndarray
    biases: np.ndarray
    shift: int
    width: int
    layers: list[Requantize | None]
    turns: np.ndarray | None = None
    uppers: np.ndarray | None = None

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
        """Bits of a bias, of either kind."""
        both = self.biases if self.uppers is None else np.stack([self.biases, self.uppers])
        return signed_width(int(both.min()), int(both.max()))

    @property
    def turn_width(self) -> int:
        """Bits of a turn; none where there are none."""
        return 0 if self.turns is None else signed_width(int(self.turns.min()), int(self.turns.max()))

    @property
    def fields(self) -> list[tuple[np.ndarray, int]]:
        """The constants in memory, each with its bits: multipliers (lowest in a word), biases, turns, uppers."""
        fields = [] if self.constant is not None else [(self.multipliers, self.multiplier_width)]
        fields.append((self.biases, self.bias_width))
        if self.turns is not None and self.uppers is not None:
            fields += [(self.turns, self.turn_width), (self.uppers, self.bias_width)]
        return fields

    def words(self) -> list[int]:
        """A word a group: of each field, lowest first, the constants of all lanes."""
        words, at = [0] * len(self.biases), 0
        for values, width in self.fields:
            words = [word | field << at for word, field in zip(words, pack(values, width), strict=True)]
            at += values.shape[1] * width
        return words
