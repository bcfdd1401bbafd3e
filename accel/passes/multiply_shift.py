"""Multiply and shift: the narrowest constants with which Requantize has given breakpoints, on every reachable input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from accel.passes.breakpoints import Breakpoints

FAR, BEYOND = 2**62, 2**126  # what stands for a bias that nothing bounds: of 64 bits, and of Python's integers
MOST_BITS = 32  # of a signed multiplier: four DSP48E1 multiply these with accumulators of 25 bits
WIDEST_BITS = 48  # six of them with accumulators of 35 bits
FEW = 64  # points of which it takes no time to find the hull
EXACT = 128  # bits of a fraction, more than there are: all of them tell a tie


@dataclass(frozen=True)
class MultiplyShift:
    """Constants for ``Requantize``, of shape (C,) and as wide as its own, or None where there is no turn."""

    multiplier: np.ndarray
    bias: np.ndarray
    shift: int
    ties_to_even: bool
    turn: np.ndarray | None = None
    above: np.ndarray | None = None
    near: int | None = None

    @property
    def constants(self) -> tuple[np.ndarray | None, ...]:
        return self.multiplier, self.bias, self.turn, self.above

    @property
    def width(self) -> int:
        """Bits of the signed multiplier."""
        return 1 + int(np.abs(self.multiplier).max()).bit_length()


def multiply_shift(steps: Breakpoints, *, most_bits: int = MOST_BITS, wide: bool = False) -> MultiplyShift | None:
    """The constants with the smallest shift, and for that the narrowest multipliers; None where there are none.

    The shift is the same for all channels. Each has the multiplier and bias of its own smallest shift, and zeros behind
    them up to the common one. Rounding half to even is tried as well, and taken where multipliers get narrower.
    Sums have 62 bits; if ``wide``, any number, and all is searched and given in Python's integers.
    """
    largest = _largest(steps, most_bits, wide)
    if steps.out.step != 1 or largest is None:
        return None
    demands = (_demands(steps, wide=wide),)
    found = [_search(demands, most_bits, largest, ties=ties) for ties in (None, EXACT)]
    best = min((each for each in found if each is not None), key=lambda each: each.width, default=None)
    return None if best is None else _finished(best, steps)


def nearly_even(steps: Breakpoints, *, most_bits: int = MOST_BITS) -> MultiplyShift | None:
    """The same, in Python's integers, where half is rounded to even and no multiplier is an exact ratio.

    A multiplier that is near enough puts each tie less than ``2**near`` above its level, and all else further above.
    So a level is reached there if it is even, and from ``2**near`` on if it is odd. Of all ``near`` the widest that do
    are tried: the wider, the fewer bits has a multiplier that is near enough.
    """
    largest = _largest(steps, most_bits, wide=True)
    if steps.out.step != 1 or largest is None:
        return None
    demands, best = (_demands(steps, wide=True),), None
    for bits in range(1, _reach(steps).bit_length() + 1):
        found = _search(demands, most_bits, largest, ties=bits)
        if best is not None and (found is None or found.width >= best.width):
            break
        best = found or best
    return None if best is None else _finished(best, steps)


def turned(
    steps: Breakpoints, turn: np.ndarray, *, most_bits: int = MOST_BITS, wide: bool = False
) -> MultiplyShift | None:
    """The same with another bias from ``turn`` on, int64 of shape (C,); None for falling functions as well."""
    largest = _largest(steps, most_bits, wide)
    if steps.out.step != 1 or largest is None or steps.falling.any() or steps.before is not None:
        return None
    turn = np.clip(turn, steps.lo, steps.hi + 1)
    column = turn[:, None]
    below = replace(steps, points=np.minimum(steps.points, column), hi=turn - 1)
    above = replace(steps, points=np.maximum(steps.points, column), lo=turn)
    demands = (_demands(below, wide=wide), _demands(above, wide=wide))
    found = _search(demands, most_bits, largest, ties=None)
    return None if found is None else replace(_finished(found, steps), turn=turn)


def _reach(steps: Breakpoints) -> int:
    """More than any input."""
    return max(abs(int(bound)) for bound in (*steps.lo, *steps.hi)) + 1


def _largest(steps: Breakpoints, most_bits: int, wide: bool) -> int | None:
    """The largest multiplier whose products fit, which is beyond ``most_bits``; None where it is not."""
    most = (BEYOND if wide else FAR) >> 2
    return most // _reach(steps) if _reach(steps) << most_bits < most else None


def _finished(found: MultiplyShift, steps: Breakpoints) -> MultiplyShift:
    """With multipliers that fall where the functions do, and constants of 64 bits where sums fit these."""
    m, bias, above = found.multiplier * np.where(steps.falling, -1, 1), found.bias, found.above
    most = [int(abs(each).max(initial=0)) for each in (m, bias, np.zeros(1) if above is None else above)]
    if most[0] * _reach(steps) + most[1] + most[2] < FAR:
        m, bias = m.astype(np.int64), bias.astype(np.int64)
        above = None if above is None else above.astype(np.int64)
    return replace(found, multiplier=m, bias=bias, above=above)


@dataclass(frozen=True)
class _Lines:
    """Points ``(at, level)`` that the line of a channel must not pass on one side; arrays of shape (C, K).

    Where not ``active`` there is no point.
    """

    at: np.ndarray
    level: np.ndarray
    active: np.ndarray

    def biases(self, m: np.ndarray, shift: np.ndarray, ties: int | None) -> np.ndarray:
        """For each point the least bias with which ``at * m + bias`` reaches its level; the others have shape (C,)."""
        sums = self.level << shift[:, None]
        if ties is not None:  # which do not reach odd levels
            sums = sums + ((self.level & 1) << np.maximum(shift - ties, 0)[:, None])
        return sums - self.at * m[:, None]


@dataclass(frozen=True)
class _Demands:
    """What rising functions ask of sums ``x * m + b``: to reach levels of ``reached``, and not those of ``held``.

    Biases lie within ``far`` of zero; nothing bounds one that lies there.
    """

    reached: _Lines
    held: _Lines
    far: int

    def window(self, m: np.ndarray, shift: np.ndarray, ties: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest bias for the multipliers ``m`` and shifts; all of shape (C,)."""
        least, most = (lines.biases(m, shift, ties) for lines in (self.reached, self.held))
        least = np.where(self.reached.active, least, -self.far).max(axis=1, initial=-self.far)
        most = np.where(self.held.active, most - 1, self.far).min(axis=1, initial=self.far)
        return least, most


def _demands(steps: Breakpoints, *, wide: bool) -> _Demands:
    """Falling functions are turned round: they rise with ``-x``, and reach at ``-before`` what they lost at point."""
    kind = object if wide else np.int64
    falling = steps.falling[:, None]
    before = steps.points - 1 if steps.before is None else steps.before
    number = np.arange(1, steps.out.levels)
    below, above = steps.points <= steps.hi[:, None], steps.points > steps.lo[:, None]
    level = np.where(falling, steps.out.hi - number + 1, steps.out.lo + number)
    return _Demands(
        _essential(np.where(falling, -before, steps.points), level, np.where(falling, above, below), 1, kind),
        _essential(np.where(falling, -steps.points, before), level, np.where(falling, below, above), -1, kind),
        BEYOND if wide else FAR,
    )


def _essential(at: np.ndarray, level: np.ndarray, active: np.ndarray, side: int, kind: type) -> _Lines:
    """The corners of the points' convex hull above (``side`` 1) or below (-1): a line that passes these passes all.

    Even and odd levels apart, as rounding half to even moves them against each other. Of 255 points some 30 are left,
    which makes the search as much faster.
    """
    kept = []
    for x, y, used in zip(at, side * level, active, strict=True):
        parts = [_outer(x[of], y[of]) for of in (used & (y & 1 == odd) for odd in (0, 1))]
        kept.append([corner for part in parts for corner in _upper_hull(part)])
    width = max(map(len, kept), default=0)
    table: np.ndarray = np.zeros((3, len(kept), width), dtype=kind)
    for channel, corners in enumerate(kept):
        if corners:
            table[:, channel, : len(corners)] = [*zip(*corners, strict=True), (1,) * len(corners)]
    return _Lines(table[0], side * table[1], table[2].astype(bool))


def _outer(x: np.ndarray, y: np.ndarray) -> list[tuple[int, int]]:
    """The points in order, without most of those that are on or below a line from one to another: these are many."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    fits = len(x) > 0 and int(x[-1] - x[0]) * int(y.max() - y.min()) < FAR
    while fits and len(x) > FEW:
        rises, steps = np.diff(y), np.diff(x)
        above = np.concatenate([[True], rises[:-1] * steps[1:] > rises[1:] * steps[:-1], [True]])
        x, y = x[above], y[above]
        fits = 8 * above.sum() < 7 * len(above)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _upper_hull(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The corners above which nothing lies, of points in order."""
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


def _search(demands: tuple[_Demands, ...], most_bits: int, largest: int, *, ties: int | None) -> MultiplyShift | None:
    """The smallest shift with which all channels have constants, found by bisection for each channel.

    What one shift allows the next does as well, with twice the multiplier; ``largest`` is the one whose products fit.
    With ``ties``, half is rounded to even, and so many of a fraction's highest bits tell what is one.
    """
    lines = [side for part in demands for side in (part.reached, part.held)]
    levels = max(int(np.abs(each.level).max(initial=1)) for each in lines)
    # Beyond this shift even the widest multiplier rises by less than the levels do.
    highest = min(demands[0].far.bit_length() - 3 - levels.bit_length(), 2 * most_bits)
    low = np.full(len(lines[0].at), 0 if ties is None else 1)
    high = np.full_like(low, highest)
    while (low < high).any():
        middle = (low + high) // 2
        _, least, most = _multipliers(demands, middle, largest, ties)
        found = (least <= most).all(axis=0)
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
    common = int(low.max(initial=0))
    if common == highest:
        return None
    for shift in (low, np.full_like(low, common)):  # with zeros behind it a multiplier may just be too wide
        m, least, most = _multipliers(demands, shift, largest, ties)
        zeros = common - shift
        if (least > most).any() or (m << zeros >= 1 << (most_bits - 1)).any():
            continue
        bias = np.clip(0, least[0], most[0])
        above = None if len(demands) == 1 else (np.clip(bias, least[1], most[1]) - bias) << zeros
        near = None if ties is None or common <= ties else common - ties
        return MultiplyShift(m << zeros, bias << zeros, common, ties is not None, above=above, near=near)
    return None


def _multipliers(
    demands: tuple[_Demands, ...], shift: np.ndarray, largest: int, ties: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each channel the least multiplier that leaves biases, or what comes nearest, and their windows.

    The windows have shape (parts, C): one multiplier serves all parts of a function. A window's size is a concave
    function of the multiplier, being a minimum of linear ones: it first grows, then shrinks. So the first multiplier
    where all have opened or the smallest no longer grows is found by bisection.
    """

    def windows(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least, most = zip(*(part.window(m, shift, ties) for part in demands), strict=True)
        return np.array(least), np.array(most)

    def room(least: np.ndarray, most: np.ndarray) -> np.ndarray:
        return (np.minimum(most, far // 2) - np.maximum(least, -far // 2)).min(axis=0)  # what is bounded is nearer

    far = demands[0].far
    low = np.zeros(len(demands[0].reached.at), dtype=demands[0].reached.at.dtype)
    high = np.full_like(low, largest)
    while (low < high).any():
        middle = (low + high) // 2
        here, beyond = windows(middle), windows(middle + 1)
        found = (here[0] <= here[1]).all(axis=0) | (room(*beyond) <= room(*here))
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
    return low, *windows(low)
