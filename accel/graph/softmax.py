"""TFLite's int8 softmax as its reference kernel computes it: fixed point of 32 bits (gemmlowp), digit for digit.

The firmware computes the same in C (`firmware/src/head.c`). All numbers are integers; one said to be ``Qm`` has m bits
before the point and 31 - m behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

EXPONENT_BITS = 5  # before the point of an exponent
SUM_BITS = 12  # before the point of a sum of powers
OUTPUT_BITS = 8
FRACTION = 31 - EXPONENT_BITS
#: exp(-2**i) for i = -2 to 4, Q0: one factor for each bit of an exponent.
POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
EXP_MINUS_EIGHTH = 1895147668  # Q0
THIRD = 715827883  # Q0
START, SLOPE = 1515870810, -1010580540  # 48/17 and -32/17, Q2: the first guess of a reciprocal
ONE = 2**31 - 1  # Q0 has no one; this is what stands for it


@dataclass(frozen=True)
class Softmax:
    """``exp(scale * (x - max x))`` over the sum of all, in steps of 1/256 from -128 for zero.

    ``multiplier`` and ``shift`` turn a distance into an exponent, Q5; what is below ``lowest`` weighs nothing.
    """

    multiplier: int
    shift: int
    lowest: int

    @classmethod
    def of(cls, scale: float) -> Softmax:
        """The constants for integers of that scale (a float32), by TFLite's rules. Raises ValueError."""
        real = min(scale * 2.0**FRACTION, 2.0**31 - 1)
        fraction, shift = math.frexp(real)
        multiplier = math.floor(fraction * 2**31 + 0.5)
        if multiplier == 2**31:
            multiplier, shift = 2**30, shift + 1
        if real <= 1:
            raise ValueError(f"an int8 softmax needs a scale above 2**-{FRACTION}, not {scale}")
        lowest = -math.floor((2**EXPONENT_BITS - 1) * 2.0**FRACTION / 2.0**shift)
        return cls(multiplier, shift, max(lowest, -(2**30)))

    def __call__(self, scores: Sequence[int]) -> list[int]:
        """The probabilities of int8 (or uint8) scores, -128..127."""
        top = max(scores)
        weights = [self.weight(score - top) for score in scores]
        total = sum(half_away(weight, SUM_BITS) for weight in weights if weight is not None)
        headroom = 32 - total.bit_length()
        scale = reciprocal((total << headroom) - 2**31)
        drop = SUM_BITS - headroom + 31 - OUTPUT_BITS
        return [-128 if weight is None else min(half_away(high(scale, weight), drop) - 128, 127) for weight in weights]

    def weight(self, distance: int) -> int | None:
        """``exp(scale * distance)``, Q0; None for what weighs nothing. ``distance`` is not positive."""
        if distance < self.lowest:
            return None
        return exponential(high(distance << self.shift, self.multiplier))


def high(a: int, b: int) -> int:
    """``a * b / 2**31``, to the nearest, halves up: the product of Qa and Qb is of Q(a + b)."""
    return (a * b + 2**30) >> 31


def half_away(x: int, bits: int) -> int:
    """``x / 2**bits`` to the nearest, halves away from zero."""
    half = (1 << bits) >> 1
    return (x + half) >> bits if x >= 0 else -((half - x) >> bits)


def saturated(x: int) -> int:
    return min(max(x, -(2**31)), 2**31 - 1)


def exponential(x: int) -> int:
    """exp(x), Q0, of ``x`` in Q5 that is not positive.

    A polynomial for what lies below a multiple of one quarter, times a factor for each bit of that multiple.
    """
    if x == 0:
        return ONE
    quarter = 1 << (FRACTION - 2)
    rest = (x & (quarter - 1)) - quarter
    a = (rest << EXPONENT_BITS) + 2**28  # plus one eighth, Q0
    square = high(a, a)
    cube, fourth = high(square, a), high(square, square)
    series = half_away(high(half_away(fourth, 2) + cube, THIRD) + square, 1)
    result = EXP_MINUS_EIGHTH + high(EXP_MINUS_EIGHTH, a + series)
    for bit, power in enumerate(POWERS, FRACTION - 2):
        if (rest - x) >> bit & 1:
            result = high(result, power)
    return result


def reciprocal(x: int) -> int:
    """``1 / (1 + x)``, Q0, of ``x`` in Q0 from 0 to 1: three steps of Newton's method for half of it."""
    half = (x + ONE + 1) >> 1
    guess = START + high(half, SLOPE)
    for _ in range(3):
        error = 2**29 - high(half, guess)  # one less the product, Q2
        guess += saturated(high(guess, error) << 2)
    return saturated(guess << 1)
