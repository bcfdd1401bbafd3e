"""What all gateware that multiplies and activates has in common: codes, and the constants of activations.

Inside a node a value is an unsigned *code*: ``x = base + step * code``. With it a neuron's accumulator is
``a = step * s + base * sum(w)``, where ``s = sum(w * code)`` is what the gateware accumulates; the constant goes into
thresholds and biases here, and costs nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accel.dataflow.multipliers import BLOCKS
from accel.dataflow.narrow import Constants, narrow, signed_bits
from accel.dataflow.pipeline import Activation
from accel.dataflow.timing import PARALLEL_LEVELS, search_bits
from accel.graph import GraphError, IntType, Requantize, Threshold
from accel.rtl.constants import RequantizeImage, ThresholdImage, pack, upright, whole


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
    """How weights share multipliers: one takes ``share`` neurons' weights, ``field`` bits apart, and one input.

    ``chain`` such products can be added up as they are.

    All fields but the highest hold an unsigned code: ``w = scale * code - offset``. The highest does only when
    ``unsigned``, else it holds the weight itself in two's complement.
    """

    share: int
    chain: int
    field: int
    unsigned: bool
    scale: int
    offset: int

    def coded(self, neuron: int, pe: int) -> bool:
        """Whether the weights of a row of the array are held as codes."""
        return self.unsigned or (neuron % self.share != self.share - 1 and neuron != pe - 1)


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
    own, else they are the same for all. ``multiplier`` is one of `BLOCKS`, or "lut". ``drain`` accumulators at once are
    activated. ``neurons`` are those of each layer, ``steps`` the words of the weight memory.
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
        """As many weights to a multiplier as fit its wide operand."""
        weight = self.weight_type
        if weight.is_bipolar:
            unsigned, scale, offset = True, 2, 1
        else:
            unsigned, scale, offset = not weight.signed, 1, 1 << (weight.width - 1) if weight.signed else 0
        share, chain = 1, 1
        if self.multiplier in BLOCKS and not self.own:
            share, chain = BLOCKS[self.multiplier].side_by_side(weight.width, self.input_width, unsigned=unsigned)
        field = weight.width + self.input_width + chain.bit_length() - 1
        return Packing(share, chain, field, unsigned, scale, offset)

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
        return signed_bits(lo, hi)

    def groups(self, n: Neurons) -> int:
        """How many times ``drain`` accumulators are drained for a layer."""
        return -(-n.outputs // self.drain)

    def grouped(self, values: list[np.ndarray | None], fill: int) -> np.ndarray:
        """Constants of each layer's neurons, shape (M, n), as rows of a group each: shape (groups, drain, n)."""
        columns, kind = next((v.shape[1], v.dtype) for v in values if v is not None)
        parts = []
        for n, v in zip(self.neurons, values, strict=True):
            part = np.full((self.groups(n) * self.drain, columns), fill, dtype=kind)
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
        """Multipliers and biases on ``s``, scaled to one common shift and made narrow."""
        layers = [(i, n, n.activation) for i, n in enumerate(self.neurons) if isinstance(n.activation, Requantize)]
        if not layers:
            return None
        constants = [Constants.of(a, *n.sums, step=n.code.step, start=n.constant) for _, n, a in layers]
        narrowed = narrow(Constants.joined(constants), width=self.width)
        ends = np.cumsum([n.outputs for _, n, _ in layers])[:-1]

        def rows(values: np.ndarray, fill: int = 0) -> np.ndarray:
            columns: list[np.ndarray | None] = [None] * len(self.neurons)
            for (i, _, _), part in zip(layers, np.split(whole(values), ends), strict=True):
                columns[i] = part[:, None]
            return self.grouped(columns, fill)[..., 0]

        # what is never drained has the first multiplier, so that it changes nothing
        return RequantizeImage.of(
            narrowed,
            rows,
            [n.activation if isinstance(n.activation, Requantize) else None for n in self.neurons],
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
