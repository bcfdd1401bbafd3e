"""Narrow: how a requantization's operands come to fit one DSP48E1, which multiplies 25 bits by 18, with equal results.

A unit has one shift for all its channels. Two things make its operands narrower:

* *Steep channels.* A channel whose levels are few numbers apart needs a multiplier of few significant bits, which the
  common shift makes wide: its constants are multiples of a power of two. The unit gets a second, smaller shift for
  those, and their constants lose the zeros (``drop`` bits).
* *Numbers that saturate.* A sum has as many bits as its largest value, but far from the middle the result stands at an
  end of its type. So the number is clamped to 18 bits around what does not saturate, after a channel's offset was
  taken off. Offsets are multiples of ``2**grain``, so that only the bits above are subtracted.

Both are decided by the constants themselves, and what is clamped is shown to change nothing, channel by channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accel.dataflow.multipliers import DSP48E1
from accel.graph import Requantize

WIDE, NARROW = DSP48E1.wide, DSP48E1.narrow


@dataclass(frozen=True, eq=False)
class Constants:
    """``clip((x * multiplier + bias) >> shift)`` of numbers ``lo..hi``; ``upper`` is the bias from ``turn`` on.

    All but the shift are of shape (C,), ``ends`` (the type's lowest and highest, for each channel) of (2, C). They are
    int64; where sums do not fit that, multipliers and biases are Python's integers (dtype object). ``ties`` says which
    channels round half to even, and ``near`` how many lowest bits of a sum do not count for that.
    """

    multiplier: np.ndarray
    bias: np.ndarray
    upper: np.ndarray
    turn: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    ends: np.ndarray
    ties: np.ndarray
    near: np.ndarray
    shift: int

    @classmethod
    def of(
        cls, op: Requantize, lo: np.ndarray, hi: np.ndarray, *, step: int = 1, start: np.ndarray | int = 0
    ) -> Constants:
        """Those of ``op`` for numbers ``s`` of ``lo..hi`` that mean ``x = step * s + start``, all of shape (C,)."""
        multiplier, bias = (np.asarray(v, dtype=object) for v in (op.multiplier, op.bias))
        start = np.broadcast_to(start, lo.shape)
        bias = bias + multiplier * start
        upper = bias if op.above is None else bias + op.above
        # x reaches the turn where s reaches this
        turn = hi + 1 if op.turn is None else np.clip(-((start - op.turn) // step), lo, hi + 1)
        ends = np.array([np.full(len(lo), end) for end in (op.out.lo, op.out.hi)])
        ties, near = (np.full(len(lo), each) for each in (op.ties_to_even, op.near or 0))
        return cls(multiplier * step, bias, upper, turn, lo, hi, ends, ties, near, op.shift).fitted()

    @classmethod
    def joined(cls, parts: Sequence[Constants]) -> Constants:
        """The channels of all, one after another, with the largest shift."""
        shift = max(part.shift for part in parts)
        scaled = {
            name: np.concatenate([getattr(part, name).astype(object) << (shift - part.shift) for part in parts])
            for name in ("multiplier", "bias", "upper")
        }
        rest = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("turn", "lo", "hi", "ties")}
        near = np.concatenate([scaled_near(part.near, shift - part.shift) for part in parts])
        ends = np.concatenate([part.ends for part in parts], axis=1)
        return cls(**scaled, **rest, ends=ends, near=near, shift=shift).fitted()

    def fitted(self) -> Constants:
        """With multipliers and biases of 64 bits, if all sums fit these."""
        most = np.maximum(abs(self.lo), abs(self.hi)).max() + 1
        factors, biases = (abs(self.multiplier).max(), np.maximum(abs(self.bias), abs(self.upper)).max())
        if int(most) * int(factors) + int(biases) >= 1 << 62:
            return self
        return replace(self, **{name: getattr(self, name).astype(np.int64) for name in ("multiplier", "bias", "upper")})

    def run(self, x: np.ndarray) -> np.ndarray:
        """The results of one number for each channel."""
        total = x * self.multiplier + np.where(x >= self.turn, self.upper, self.bias)
        quotient = total >> self.shift
        tie = self.ties & ((total & ((1 << self.shift) - 1)) >> self.near == 0)
        return np.clip(np.where(tie, quotient & ~1, quotient), *self.ends)


@dataclass(frozen=True, eq=False)
class Narrowed:
    """The constants of a unit. ``steep`` are the channels whose shift is smaller by ``drop`` (0: there are none).

    Where there is a ``kept``, ``offset << grain`` is taken off a number, and the rest clamped to so many bits; the
    constants are for what is left.
    """

    multiplier: np.ndarray
    bias: np.ndarray
    upper: np.ndarray
    turn: np.ndarray
    shift: int
    drop: int
    steep: np.ndarray
    kept: int | None
    grain: int
    offset: np.ndarray
    totals: tuple[int, int]


def narrow(constants: Constants, *, width: int) -> Narrowed:
    """The narrowest constants for numbers of ``width`` bits, signed."""
    drop, steep = _drop(constants)
    few = np.where(steep, drop, 0)
    multiplier, bias, upper = (v >> few for v in (constants.multiplier, constants.bias, constants.upper))
    kept, grain, offset = None, 0, np.zeros_like(steep, dtype=np.int64)
    lo, hi, turn = constants.lo, constants.hi, constants.turn
    bits = signed_bits(int(multiplier.min()), int(multiplier.max()))
    if not is_shift(multiplier) and DSP48E1.parts(bits, NARROW) < DSP48E1.parts(bits, width):
        window = _window(constants)
        if window is not None:
            kept, (grain, offset) = NARROW, window
            away = offset << grain
            bias, upper = bias + multiplier * away, upper + multiplier * away
            half = 1 << (NARROW - 1)
            lo, hi = (np.clip(end - away, -half, half - 1) for end in (lo, hi))
            turn = np.clip(turn - away, -half, half)
    totals = [multiplier * end + each for end in (lo, hi) for each in (bias, upper)]
    bounds = min(int(t.min()) for t in totals), max(int(t.max()) for t in totals)
    return Narrowed(multiplier, bias, upper, turn, constants.shift, drop, steep, kept, grain, offset, bounds)


def scaled_near(near: np.ndarray, by: int) -> np.ndarray:
    """The bits that do not count for a tie once a sum has ``by`` more lowest bits, or fewer; none where it is exact."""
    return np.where(near > 0, np.maximum(near + by, 0), 0)


def signed_bits(lo: int, hi: int) -> int:
    """Bits of the narrowest two's complement that holds ``lo..hi``, at least 1."""
    return 1 + max((-lo - 1).bit_length() if lo < 0 else 0, hi.bit_length() if hi > 0 else 0)


def is_shift(multiplier: np.ndarray) -> bool:
    """Whether all multipliers are the same power of two, so that there is nothing to multiply."""
    first = int(multiplier.max())
    return bool((multiplier == first).all()) and first > 0 and first.bit_count() == 1


def significant_bits(op: Requantize) -> int:
    """Bits of the signed multiplier that the channel with the most significant digits needs."""
    constants = Constants.of(op, np.zeros_like(op.multiplier), np.zeros_like(op.multiplier))
    return max(
        1 + abs(m >> zeros).bit_length()
        for m, zeros in zip(op.multiplier.tolist(), _zeros(constants).tolist(), strict=True)
    )


def _zeros(constants: Constants) -> np.ndarray:
    """How many lowest bits are zero in all constants of a channel, at most the shift (one is left to round ties)."""
    any_bit = constants.multiplier | constants.bias | constants.upper
    lowest = [(v & -v).bit_length() - 1 if v else constants.shift for v in any_bit.tolist()]
    return np.clip(lowest, 0, constants.shift - constants.ties)


def _drop(constants: Constants) -> tuple[int, np.ndarray]:
    """The least number of zeros without which the multipliers of the wide channels fit, and those channels."""
    magnitude = np.abs(constants.multiplier)
    steep = magnitude >= 1 << (WIDE - 1)
    if not steep.any() or is_shift(constants.multiplier):
        return 0, np.zeros_like(steep)
    needed = int(magnitude.max()).bit_length() - (WIDE - 1)
    if (_zeros(constants)[steep] >= needed).all():
        return needed, steep
    return 0, np.zeros_like(steep)


def _window(constants: Constants) -> tuple[int, np.ndarray] | None:
    """Grain and offsets with which clamping changes no result; None where there are none."""
    size, half = 1 << NARROW, 1 << (NARROW - 1)
    first, last = _edges(constants)
    if ((first >= -half) & (last < half)).all():
        candidates = [(NARROW - 1, np.zeros_like(first))]
    elif (last - first >= size).any():
        return None
    else:
        candidates = []
        for grain in range(NARROW - 1, -1, -1):
            least, most = -((half - 1 - last) >> grain), (first + half) >> grain
            if (least <= most).all():
                candidates.append((grain, np.clip(0, least, most)))
                break
    for grain, offset in candidates:
        if _changes_nothing(constants, (offset << grain) - half, (offset << grain) + half - 1):
            return grain, offset
    return None


def _edges(constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """The last number that gives what the lowest one gives, and the first that gives what the highest one gives."""

    def bisect(good: np.ndarray, bad: np.ndarray, value: np.ndarray) -> np.ndarray:
        good, bad = good.copy(), bad.copy()
        while (abs(good - bad) > 1).any():
            middle = (good + bad) >> 1
            same = constants.run(middle) == value
            good, bad = np.where(same, middle, good), np.where(same, bad, middle)
        return good

    lo, hi = constants.lo, constants.hi
    return bisect(lo, hi + 1, constants.run(lo)), bisect(hi, lo - 1, constants.run(hi))


def _changes_nothing(constants: Constants, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether all numbers below ``low`` give what it gives, and all above ``high`` likewise.

    Each of a function's two branches is monotone, so the ends of what each has outside the window tell.
    """
    turn = constants.turn

    def constant(first: np.ndarray, last: np.ndarray) -> bool:
        there = first <= last
        places = [first, last, np.clip(turn - 1, first, last), np.clip(turn, first, last)]
        value = constants.run(first)
        return all(bool((~there | (constants.run(np.where(there, x, first)) == value)).all()) for x in places)

    return constant(constants.lo, np.minimum(low, constants.hi)) and constant(
        np.maximum(high, constants.lo), constants.hi
    )
