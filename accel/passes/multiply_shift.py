"""Multiply and shift: the narrowest constants with which Requantize has given breakpoints, on every reachable input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from accel.passes.breakpoints import Breakpoints

FAR = 2**62  # stands for a bias that nothing bounds
MOST_BITS = 32  # of a signed multiplier: two DSP48E1 multiply these with accumulators of 25 bits


@dataclass(frozen=True)
class MultiplyShift:
    """Constants for ``Requantize``: int64 of shape (C,), or None where there is no turn."""

    multiplier: np.ndarray
    bias: np.ndarray
    shift: int
    ties_to_even: bool
    turn: np.ndarray | None = None
    above: np.ndarray | None = None

    @property
    def constants(self) -> tuple[np.ndarray | None, ...]:
        return self.multiplier, self.bias, self.turn, self.above

    @property
    def width(self) -> int:
        """Bits of the signed multiplier."""
        return 1 + int(np.abs(self.multiplier).max()).bit_length()


def multiply_shift(steps: Breakpoints, *, most_bits: int = MOST_BITS) -> MultiplyShift | None:
    """The constants with the smallest shift, and for that the narrowest multipliers; None where there are none.

    The shift is the same for all channels. Each has the multiplier and bias of its own smallest shift, and zeros behind
    them up to the common one. Rounding half to even is tried as well, and taken where multipliers get narrower.
    """
    largest = max(abs(int(bound)) for bound in (*steps.lo, *steps.hi)) + 1
    if steps.out.step != 1 or largest << most_bits >= FAR >> 2:
        return None
    demands = (_demands(steps),)
    found = [_search(demands, most_bits, (FAR >> 2) // largest, ties_to_even=ties) for ties in (False, True)]
    best = min((each for each in found if each is not None), key=lambda each: each.width, default=None)
    if best is None:
        return None
    sign = np.where(steps.falling, -1, 1)
    return MultiplyShift(best.multiplier * sign, best.bias, best.shift, best.ties_to_even)


def turned(steps: Breakpoints, turn: np.ndarray, *, most_bits: int = MOST_BITS) -> MultiplyShift | None:
    """The same with another bias from ``turn`` on, int64 of shape (C,); None for falling functions as well."""
    largest = max(abs(int(bound)) for bound in (*steps.lo, *steps.hi)) + 1
    if steps.out.step != 1 or largest << most_bits >= FAR >> 2 or steps.falling.any() or steps.before is not None:
        return None
    turn = np.clip(turn, steps.lo, steps.hi + 1)
    column = turn[:, None]
    below = replace(steps, points=np.minimum(steps.points, column), hi=turn - 1)
    above = replace(steps, points=np.maximum(steps.points, column), lo=turn)
    demands = (_demands(below), _demands(above))
    found = _search(demands, most_bits, (FAR >> 2) // largest, ties_to_even=False)
    return None if found is None else replace(found, turn=turn)


@dataclass(frozen=True)
class _Lines:
    """Points ``(at, level)`` that the line of a channel must not pass on one side; arrays of shape (C, K).

    Where not ``active`` there is no point.
    """

    at: np.ndarray
    level: np.ndarray
    active: np.ndarray

    def biases(self, m: np.ndarray, shift: np.ndarray, ties_to_even: bool) -> np.ndarray:
        """For each point the least bias with which ``at * m + bias`` reaches its level; the others have shape (C,)."""
        sums = (self.level << shift[:, None]) + (self.level & 1 if ties_to_even else 0)  # ties do not reach odd levels
        return sums - self.at * m[:, None]


@dataclass(frozen=True)
class _Demands:
    """What rising functions ask of sums ``x * m + b``: to reach levels of ``reached``, and not those of ``held``."""

    reached: _Lines
    held: _Lines

    def window(self, m: np.ndarray, shift: np.ndarray, ties_to_even: bool) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest bias for the multipliers ``m`` and shifts; all of shape (C,)."""
        least, most = (lines.biases(m, shift, ties_to_even) for lines in (self.reached, self.held))
        least = np.where(self.reached.active, least, -FAR).max(axis=1, initial=-FAR)
        most = np.where(self.held.active, most - 1, FAR).min(axis=1, initial=FAR)
        return least, most


def _demands(steps: Breakpoints) -> _Demands:
    """Falling functions are turned round: they rise with ``-x``, and reach at ``-before`` what they lost at point."""
    falling = steps.falling[:, None]
    before = steps.points - 1 if steps.before is None else steps.before
    number = np.arange(1, steps.out.levels)
    below, above = steps.points <= steps.hi[:, None], steps.points > steps.lo[:, None]
    level = np.where(falling, steps.out.hi - number + 1, steps.out.lo + number)
    return _Demands(
        _essential(np.where(falling, -before, steps.points), level, np.where(falling, above, below), 1),
        _essential(np.where(falling, -steps.points, before), level, np.where(falling, below, above), -1),
    )


def _essential(at: np.ndarray, level: np.ndarray, active: np.ndarray, side: int) -> _Lines:
    """The corners of the points' convex hull above (``side`` 1) or below (-1): a line that passes these passes all.

    Even and odd levels apart, as rounding half to even moves them against each other. Of 255 points some 30 are left,
    which makes the search as much faster.
    """
    kept = []
    for x, y, usable in zip(at.tolist(), level.tolist(), active.tolist(), strict=True):
        points = sorted({(a, side * b) for a, b, used in zip(x, y, usable, strict=True) if used})
        kept.append([corner for odd in (0, 1) for corner in _upper_hull([p for p in points if p[1] & 1 == odd])])
    width = max(map(len, kept), default=0)
    table = np.zeros((3, len(kept), width), dtype=np.int64)
    for channel, corners in enumerate(kept):
        if corners:
            table[:, channel, : len(corners)] = [*zip(*corners, strict=True), (1,) * len(corners)]
    return _Lines(table[0], side * table[1], table[2].astype(bool))


def _upper_hull(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The corners above which nothing lies, of sorted points."""
    hull: list[tuple[int, int]] = []
    for x, y in points:
        while hull and hull[-1][0] == x:
            hull.pop()  # the later one is higher
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x1) > (y - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def _search(demands: tuple[_Demands, ...], most_bits: int, largest: int, *, ties_to_even: bool) -> MultiplyShift | None:
    """The smallest shift with which all channels have constants, found by bisection for each channel.

    What one shift allows the next does as well, with twice the multiplier; ``largest`` is the one whose products fit.
    """
    lines = [side for part in demands for side in (part.reached, part.held)]
    levels = max(int(np.abs(each.level).max(initial=1)) for each in lines)
    # Beyond this shift even the widest multiplier rises by less than the levels do.
    highest = min(FAR.bit_length() - 3 - levels.bit_length(), 2 * most_bits)
    low = np.full(len(lines[0].at), 1 if ties_to_even else 0)
    high = np.full_like(low, highest)
    while (low < high).any():
        middle = (low + high) // 2
        _, least, most = _multipliers(demands, middle, largest, ties_to_even)
        found = (least <= most).all(axis=0)
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
    common = int(low.max(initial=0))
    if common == highest:
        return None
    for shift in (low, np.full_like(low, common)):  # with zeros behind it a multiplier may just be too wide
        m, least, most = _multipliers(demands, shift, largest, ties_to_even)
        zeros = common - shift
        if (least > most).any() or (m << zeros >= 1 << (most_bits - 1)).any():
            continue
        bias = np.clip(0, least[0], most[0])
        above = None if len(demands) == 1 else (np.clip(bias, least[1], most[1]) - bias) << zeros
        return MultiplyShift(m << zeros, bias << zeros, common, ties_to_even, above=above)
    return None


def _multipliers(
    demands: tuple[_Demands, ...], shift: np.ndarray, largest: int, ties_to_even: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each channel the least multiplier that leaves biases, or what comes nearest, and their windows.

    The windows have shape (parts, C): one multiplier serves all parts of a function. A window's size is a concave
    function of the multiplier, being a minimum of linear ones: it first grows, then shrinks. So the first multiplier
    where all have opened or the smallest no longer grows is found by bisection.
    """

    def windows(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least, most = zip(*(part.window(m, shift, ties_to_even) for part in demands), strict=True)
        return np.array(least), np.array(most)

    def room(least: np.ndarray, most: np.ndarray) -> np.ndarray:
        return (np.minimum(most, FAR // 2) - np.maximum(least, -FAR // 2)).min(axis=0)  # what is bounded is nearer

    low = np.zeros(len(demands[0].reached.at), dtype=np.int64)
    high = np.full_like(low, largest)
    while (low < high).any():
        middle = (low + high) // 2
        here, beyond = windows(middle), windows(middle + 1)
        found = (here[0] <= here[1]).all(axis=0) | (room(*beyond) <= room(*here))
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
    return low, *windows(low)
