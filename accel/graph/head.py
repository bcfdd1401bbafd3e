"""Heads: from the output's integers to the decimals on the serial line, in integers only.

The firmware computes the same in C (`firmware/src/head.c`), digit for digit: both follow the formulas of this file
with the constants of `Head`, on 64-bit integers that provably do not overflow.

*Reals.* ``real = scale[c] * q + offset[c]`` becomes ``t = multiplier[c] * q + bias[c]`` with ``shift`` fractional
bits, as many as 62 bits allow for the whole type (at most 52): ``t / 2**shift`` is closer to the real than any
printed digit.

*softmax.* The multipliers include log2(e); a class weighs ``2**31 * 2**-(d / 2**shift)`` where ``d`` is its distance
from the largest ``t``. The whole part of the exponent is a shift, and each of the 24 highest bits of the fraction that
is set multiplies by its root of one half (`ROOTS`). Probabilities are rounded to thousandths, halves up.

*softmax_int8.* The softmax of TFLite's reference kernel (`accel.graph.softmax`), whose results are multiples of 1/256,
rounded to thousandths, halves up: what a host reads tells one such result from another.

*scores.* The reals, rounded to thousandths, halves up. Where one is negative the smallest ``t`` is subtracted from
all, since the host divides by their sum: order and differences stay.

*The winner shows* (softmax and scores). The class of the largest ``t``, the first of equals, prints at least 0.001 more
than any other, so that a host that reads three decimals finds the exact argmax. So the winner's probability is within
0.0015 of the real softmax; all others are within 0.0005.

*argmax.* The output is the index of the class, which prints 1.000; the others print 0.000.

*mse.* ``sum((out - in)**2) / elements`` is the one number printed; the output is dequantized, and so is the input,
unless the wire carries float32 numbers: then it is those, as MLPerf Tiny's reference takes them. What is beyond 16
times the largest number that the quantizer knows counts as that far (`Head.reach`). Differences are rounded to as many
fractional bits as the sum of their squares allows in 63 bits (at most 20).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cached_property
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from accel.graph.graph import Affine, Graph, GraphError
from accel.graph.softmax import SUM_BITS, Softmax
from accel.graph.types import IntType

if TYPE_CHECKING:
    from accel.manifest import Manifest

MAX_SHIFT, MIN_SHIFT = 52, 24
ROOT_BITS = 24
LOG2_E = 1 / Fraction(Decimal(2).ln(Context(prec=60)))


def _roots() -> tuple[int, ...]:
    """``round(2**32 * 2**-(2**-i))`` for i = 1 to 24, by repeated square roots with 128 bits."""
    roots, root = [], 1 << 127
    for _ in range(ROOT_BITS):
        root = isqrt(root << 128)
        roots.append((root + (1 << 95)) >> 96)
    return tuple(roots)


ROOTS = _roots()


@dataclass(frozen=True)
class Port:
    """Elements, type and meaning of the input or output; ``scale`` and ``offset`` have 1 or channels numbers."""

    elements: int
    type: IntType
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @property
    def channels(self) -> int:
        return max(len(self.scale), len(self.offset))

    def reals(self, factor: Fraction = Fraction(1)) -> list[tuple[Fraction, Fraction]]:
        """Scale and offset of each channel, times ``factor``."""
        c = self.channels
        scales, offsets = (v * c if len(v) == 1 else v for v in (self.scale, self.offset))
        return [(Fraction(s) * factor, Fraction(o) * factor) for s, o in zip(scales, offsets, strict=True)]

    def bound(self, factor: Fraction = Fraction(1)) -> Fraction:
        """No ``abs(scale * q) + abs(offset)`` is larger."""
        q = max(abs(self.type.lo), abs(self.type.hi))
        return max(abs(s) * q + abs(o) for s, o in self.reals(factor))


@dataclass(frozen=True)
class Fixed:
    """``real = (multiplier[c] * q + bias[c]) / 2**shift``; every sum and product stays below ``2**62``."""

    multiplier: tuple[int, ...]
    bias: tuple[int, ...]
    shift: int

    @classmethod
    def of(cls, port: Port, shift: int, factor: Fraction = Fraction(1)) -> Fixed:
        reals = port.reals(factor)
        return cls(tuple(round(s * 2**shift) for s, _ in reals), tuple(round(o * 2**shift) for _, o in reals), shift)

    def __call__(self, values: Sequence[int]) -> list[int]:
        n = len(self.multiplier)
        return [self.multiplier[i % n] * q + self.bias[i % n] for i, q in enumerate(values)]


@dataclass(frozen=True)
class Head:
    """What happens to an output outside the timed part. Raises GraphError where the constants cannot be had.

    ``reals``: the numbers on the wire are float32, so ``thousandths`` takes those instead of the input's integers.
    """

    kind: str
    input: Port
    output: Port
    reals: bool = False

    @classmethod
    def of(cls, source: Graph | Manifest) -> Head:
        """The head of a graph or of the manifest compiled from it; both give the same constants."""
        if isinstance(source, Graph):
            x, y, meaning = source.input, source.tensors[source.output], source.input.affine or Affine()
            return cls(
                source.head,
                Port(x.size, x.type, *_floats(meaning)),
                Port(y.size, y.type, *_floats(source.output_affine)),
            )
        a, b, wire = source.input, source.output, source.input_encoding
        return cls(
            source.head,
            Port(a.elements, a.type, a.scale or (wire.scale,), a.offset or (wire.offset,)),
            Port(b.elements, b.type, b.scale, b.offset),
            wire.reals,
        )

    def __post_init__(self) -> None:
        if self.kind == "mse" and self.input.elements != self.output.elements:
            raise GraphError(
                f"head mse needs as many outputs as inputs, not {self.output.elements} for {self.input.elements}"
            )
        if self.kind == "argmax" and (self.output.elements != 1 or self.output.type.lo < 0):
            raise GraphError(
                f"head argmax needs one non-negative index, not {self.output.elements} of {self.output.type}"
            )
        if self.kind == "softmax_int8":
            _ = self.softmax
        elif self.kind != "argmax":
            _ = self.fixed

    @property
    def classes(self) -> int:
        """How many numbers the head prints."""
        return {"argmax": self.output.type.hi + 1, "mse": 1}.get(self.kind, self.output.elements)

    @property
    def factor(self) -> Fraction:
        return LOG2_E if self.kind == "softmax" else Fraction(1)

    @cached_property
    def softmax(self) -> Softmax:
        """TFLite's softmax of the output."""
        if len(self.output.scale) != 1 or self.output.type.levels > 256 or self.output.elements >= 2**SUM_BITS:
            raise GraphError(
                f"head softmax_int8 needs fewer than {2**SUM_BITS} outputs of 8 bits and one scale, not "
                f"{self.output.elements} of {self.output.type} and {len(self.output.scale)} scales"
            )
        try:
            return Softmax.of(self.output.scale[0])
        except ValueError as error:
            raise GraphError(f"head softmax_int8: {error}") from None

    @cached_property
    def fixed(self) -> Fixed:
        """The output's reals (times log2(e) for softmax)."""
        bound = self.output.bound(self.factor)
        if self.kind == "mse":
            bound = max(bound, self.reach)
        shift = min(MAX_SHIFT, 61 - _bits(bound))
        if shift < MIN_SHIFT:
            raise GraphError(
                f"head {self.kind}: values reach {float(bound):.3g}; at most 2**{61 - MIN_SHIFT} can be printed"
            )
        return Fixed.of(self.output, shift, self.factor)

    @property
    def reach(self) -> Fraction:
        """No number of the input counts as larger than this (mse): of float32 numbers a power of two."""
        bound = self.input.bound()
        return Fraction(2 ** _bits(16 * bound)) if self.reals else bound

    @cached_property
    def input_fixed(self) -> Fixed:
        """The input's reals, with the shift of the output's (mse)."""
        return Fixed.of(self.input, self.fixed.shift)

    @cached_property
    def error_bits(self) -> int:
        """Fractional bits of a difference whose squares are summed (mse)."""
        n = self.output.elements
        largest = n * (self.output.bound() + self.reach + 1) ** 2
        bits = min(20, (63 - _bits(largest)) // 2, (53 - n.bit_length()) // 2)  # a thousand times the rest fits 64 bits
        if bits < 0:
            raise GraphError(f"head mse: squared errors reach {float(largest):.3g}; at most 2**63 can be summed")
        return bits

    def thousandths(self, x: np.ndarray, y: np.ndarray) -> list[int]:
        """The printed numbers times 1000, for one input and one output (any shape, raster order).

        The output are integers, and so is the input, except where ``reals`` says otherwise; only mse reads it.
        """
        q = [int(v) for v in np.asarray(y).reshape(-1)]
        if len(q) != self.output.elements:
            raise GraphError(f"head {self.kind}: {len(q)} outputs, expected {self.output.elements}")
        if self.kind == "argmax":
            return [1000 * (c == q[0]) for c in range(self.classes)]
        if self.kind == "softmax_int8":
            return [probability(p) for p in self.softmax(q)]
        t, shift = self.fixed(q), self.fixed.shift
        if self.kind == "mse":
            return [self._mse(self._input(np.asarray(x).reshape(-1)), t)]
        if self.kind == "softmax":
            top = max(t)
            weights = [exp2(top - v, shift) for v in t]
            total = sum(weights)
            numbers = [(w * 2000 + total) // (2 * total) for w in weights]
        else:
            lowest = min(0, *t)
            numbers = [_thousandths(v - lowest, shift) for v in t]
        winner = t.index(max(t))
        others = numbers[:winner] + numbers[winner + 1 :]
        numbers[winner] = max(numbers[winner], *(n + 1 for n in others), 0)
        return numbers

    def _input(self, x: np.ndarray) -> list[int]:
        """The input's reals with the shift of the output's."""
        if len(x) != self.input.elements:
            raise GraphError(f"head mse: {len(x)} inputs, expected {self.input.elements}")
        if not self.reals:
            return self.input_fixed([int(v) for v in x])
        reach = int(self.reach)
        reals = (min(max(float(v), -reach), reach) for v in x.astype(np.float32))
        return [math.floor(Fraction(v) * 2**self.fixed.shift + Fraction(1, 2)) for v in reals]

    def _mse(self, x: list[int], t: list[int]) -> int:
        drop = self.fixed.shift - self.error_bits
        half = 1 << (drop - 1)
        total = sum(((b - a + half) >> drop) ** 2 for a, b in zip(x, t, strict=True))
        scale = len(x) << (2 * self.error_bits)
        return (total * 1000 + scale // 2) // scale


def probability(p: int) -> int:
    """Thousandths of one of TFLite's int8 probabilities, (p + 128) / 256, halves up."""
    return ((p + 128) * 1000 + 128) >> 8


def results(source: Head | Graph | Manifest, x: np.ndarray, y: np.ndarray) -> list[str]:
    """What the firmware prints between the brackets of ``m-results-[…]`` for input ``x`` and output ``y``.

    ``x`` are integers, or the float32 numbers on the wire (`Head.reals`).
    """
    head = source if isinstance(source, Head) else Head.of(source)
    return [decimals(n) for n in head.thousandths(x, y)]


def decimals(thousandths: int) -> str:
    """A number as it is printed."""
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def exp2(distance: int, shift: int) -> int:
    """``2**31 * 2**-(distance / 2**shift)`` as the firmware computes it: 24 fractional bits, products rounded down."""
    whole = distance >> shift
    if whole > 31:
        return 0
    y = 1 << 31
    for i, root in enumerate(ROOTS, 1):
        if distance >> (shift - i) & 1:
            y = y * root >> 32
    return y >> whole


def _thousandths(t: int, shift: int) -> int:
    """``t / 2**shift`` in thousandths, halves up, with products that fit 63 bits."""
    fraction = t & ((1 << shift) - 1)
    return (t >> shift) * 1000 + ((fraction * 1000 + (1 << (shift - 1))) >> shift)


def _bits(bound: Fraction) -> int:
    """The smallest n with ``bound < 2**n``, at least 0."""
    return int(bound).bit_length()


def _floats(affine: Affine) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """As the manifest keeps them."""
    return tuple(map(float, affine.scale)), tuple(map(float, affine.offset))
