"""Multiply and shift: the narrowest constants with which Requantize has given breakpoints, on every reachable input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.passes.breakpoints import Breakpoints

FAR = 2**62  # stands for a bias that nothing bounds
MOST_BITS = 25  # of a signed multiplier: the wide port of a DSP48E1


@dataclass(frozen=True)
class MultiplyShift:
    """Constants for ``Requantize``; ``multiplier`` and ``bias`` are int64 of shape (C,)."""

    multiplier: np.ndarray
    bias: np.ndarray
    shift: int
    ties_to_even: bool

    @property
    def width(self) -> int:
        """Bits of the signed multiplier."""
        return 1 + int(np.abs(self.multiplier).max()).bit_length()


def multiply_shift(steps: Breakpoints, *, most_bits: int = MOST_BITS) -> MultiplyShift | None:
    """The constants with the smallest shift, and for that the narrowest multipliers; None where there are none.

    Rounding half to even is tried as well, and taken where it makes the multipliers narrower.
    """
    largest = max(abs(int(bound)) for bound in (*steps.lo, *steps.hi)) + 1
    if steps.out.step != 1 or largest << most_bits >= FAR >> 2:
        return None
    demands = _demands(steps)
    found = [_search(demands, most_bits, ties_to_even=ties) for ties in (False, True)]
    best = min((each for each in found if each is not None), key=lambda each: each.width, default=None)
    if best is None:
        return None
    sign = np.where(steps.falling, -1, 1)
    return MultiplyShift(best.multiplier * sign, best.bias, best.shift, best.ties_to_even)


@dataclass(frozen=True)
class _Demands:
    """What rising functions ask of sums ``x * m + b``; arrays of shape (C, levels - 1).

    ``level`` is to be reached at ``x = at`` where ``reached``, and not yet at ``x = before`` where ``held``.
    """

    at: np.ndarray
    before: np.ndarray
    level: np.ndarray
    reached: np.ndarray
    held: np.ndarray

    def window(self, m: np.ndarray, shift: int, ties_to_even: bool) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest bias for the multipliers ``m``; all three of shape (C,)."""
        least_sum = (self.level << shift) + (self.level & 1 if ties_to_even else 0)  # ties do not reach odd levels
        least = np.where(self.reached, least_sum - self.at * m[:, None], -FAR).max(axis=1, initial=-FAR)
        most = np.where(self.held, least_sum - 1 - self.before * m[:, None], FAR).min(axis=1, initial=FAR)
        return least, most

    def of(self, channels: np.ndarray) -> _Demands:
        return _Demands(*(array[channels] for array in (self.at, self.before, self.level, self.reached, self.held)))


def _demands(steps: Breakpoints) -> _Demands:
    """Falling functions are turned round: they rise with ``-x``, and reach at ``-before`` what they lost at point."""
    falling = steps.falling[:, None]
    before = steps.points - 1 if steps.before is None else steps.before
    number = np.arange(1, steps.out.levels)
    below, above = steps.points <= steps.hi[:, None], steps.points > steps.lo[:, None]
    return _Demands(
        at=np.where(falling, -before, steps.points),
        before=np.where(falling, -steps.points, before),
        level=np.where(falling, steps.out.hi - number + 1, steps.out.lo + number),
        reached=np.where(falling, above, below),
        held=np.where(falling, below, above),
    )


def _search(demands: _Demands, most_bits: int, *, ties_to_even: bool) -> MultiplyShift | None:
    """The smallest shift with which all channels have constants: what one shift allows, the next does as well."""
    open_channels = np.arange(len(demands.at))
    # Beyond this shift even the widest multiplier rises by less than the levels do.
    highest = FAR.bit_length() - 3 - int(np.abs(demands.level).max(initial=1)).bit_length()
    for shift in range(1 if ties_to_even else 0, min(highest, 2 * most_bits)):
        some = demands.of(open_channels)
        _, least, most = _multipliers(some, shift, most_bits, ties_to_even)
        open_channels = open_channels[least > most]
        if not open_channels.size:
            m, least, most = _multipliers(demands, shift, most_bits, ties_to_even)
            if (least > most).any():
                return None
            return MultiplyShift(m, np.clip(0, least, most), shift, ties_to_even)
    return None


def _multipliers(
    demands: _Demands, shift: int, most_bits: int, ties_to_even: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each channel the least multiplier that leaves a bias, or what comes nearest, and its window of biases.

    The window's size is a concave function of the multiplier, being a minimum of linear ones: it first grows, then
    shrinks. So the first multiplier where it has opened or no longer grows is found by bisection.
    """
    low = np.zeros(len(demands.at), dtype=np.int64)
    high = np.full(len(demands.at), (1 << (most_bits - 1)) - 1, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        least, most = demands.window(middle, shift, ties_to_even)
        least_next, most_next = demands.window(middle + 1, shift, ties_to_even)
        found = (least <= most) | (most_next - least_next <= most - least)
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
    return low, *demands.window(low, shift, ties_to_even)
