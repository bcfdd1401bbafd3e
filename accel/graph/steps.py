"""Steps: the exact real functions that activations are made of, and their evaluation.

Each step is a monotone function of one number. A chain of them is evaluated twice over: first on intervals of float64,
rounded outwards, for whole arrays at once; then, only where the resulting interval is not a single integer, in rational
arithmetic. The result is therefore exact, and nearly as fast as floating point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

Interval = tuple[np.ndarray, np.ndarray]

_TINY = 2.0**-900  # below this a float64 product may lose its error term to underflow
_SPLITTER = 2.0**27 + 1  # cuts a float64 into two halves whose products are exact (Dekker)


def rationals(values: object) -> np.ndarray:
    """An array of Fractions (dtype object) with the exact values of anything that numpy can hold."""
    source = np.asarray(values)
    result = np.empty(source.shape, dtype=object)
    result.ravel()[:] = [Fraction(v) for v in source.ravel().tolist()]
    return result


@dataclass(frozen=True, eq=False)
class Linear:
    """``v * scale + offset``. Both are arrays of Fractions that broadcast against the values, channels innermost."""

    scale: np.ndarray
    offset: np.ndarray

    @cached_property
    def _enclosed(self) -> tuple[Interval, Interval]:
        return enclose(self.scale), enclose(self.offset)

    @cached_property
    def _only_adds(self) -> bool:
        return all(factor == 1 for factor in self.scale.flat)

    def enclose(self, v: Interval) -> Interval:
        scale, offset = self._enclosed
        return _add(v if self._only_adds else _multiply(v, scale), offset)

    def exact(self, v: np.ndarray, where: _Where) -> np.ndarray:
        return v * where(self.scale) + where(self.offset)


@dataclass(frozen=True, eq=False)
class Clip:
    """``min(max(v, lo), hi)``; None is no bound. Both are arrays of Fractions as in Linear."""

    lo: np.ndarray | None = None
    hi: np.ndarray | None = None

    @cached_property
    def _enclosed(self) -> tuple[Interval | None, ...]:
        return tuple(None if bound is None else enclose(bound) for bound in (self.lo, self.hi))

    def enclose(self, v: Interval) -> Interval:
        for bound, choose in zip(self._enclosed, (np.maximum, np.minimum), strict=True):
            if bound is not None:
                v = _on_both(choose, v, bound)
        return v

    def exact(self, v: np.ndarray, where: _Where) -> np.ndarray:
        v = v if self.lo is None else np.maximum(v, where(self.lo))
        return v if self.hi is None else np.minimum(v, where(self.hi))


@dataclass(frozen=True)
class Round:
    """To an integer, by one of QONNX's rounding modes (``ROUNDING``)."""

    mode: str = "HALF_EVEN"

    def __post_init__(self) -> None:
        if self.mode not in ROUNDING:
            raise ValueError(f"rounding mode must be one of {', '.join(ROUNDING)}, not {self.mode!r}")

    def enclose(self, v: Interval) -> Interval:
        on_floats = ROUNDING[self.mode][0]
        lo = on_floats(v[0])
        return lo, lo if v[0] is v[1] else on_floats(v[1])

    def exact(self, v: np.ndarray, where: _Where) -> np.ndarray:
        on_fraction = ROUNDING[self.mode][1]
        return _each(lambda x: Fraction(on_fraction(x)), v)


@dataclass(frozen=True)
class Sign:
    """-1 below zero, else 1."""

    def enclose(self, v: Interval) -> Interval:
        return tuple(np.where(np.isnan(x), x, np.where(x >= 0, 1.0, -1.0)) for x in v)  # type: ignore[return-value]

    def exact(self, v: np.ndarray, where: _Where) -> np.ndarray:
        return _each(lambda x: Fraction(1 if x >= 0 else -1), v)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """``v * multiplier / 2**(31 - shift)`` as TFLite's reference kernels round it; ``v`` is an integer.

    That is twice (``MultiplyByQuantizedMultiplier``): ``v * 2**max(shift, 0) * multiplier / 2**31`` to the nearest
    integer, halves upwards; then that over ``2**max(-shift, 0)``, halves away from zero. ``multiplier`` (0 to
    2**31 - 1) and ``shift`` (-31 to 30) are arrays of int64 that broadcast against the values, channels innermost.
    TFLite works on sums of 32 bits; whoever makes this step sees to it that they fit.
    """

    multiplier: np.ndarray
    shift: np.ndarray

    def __post_init__(self) -> None:
        for name, array, least, most in (("multiplier", self.multiplier, 0, 2**31 - 1), ("shift", self.shift, -31, 30)):
            if array.min() < least or array.max() > most:
                raise ValueError(f"{name} must lie within {least}..{most}, not {array.min()}..{array.max()}")

    def enclose(self, v: Interval) -> Interval:
        lo, hi = np.ceil(v[0]), np.floor(v[1])  # the integers that v can be
        whole = lo <= hi
        down = np.where(whole, self._of(lo), np.nan)
        return (down, down) if v[0] is v[1] else (down, np.where(whole, self._of(hi), np.nan))

    def _of(self, x: np.ndarray) -> np.ndarray:
        """For integers in float64; NaN where the product might leave 64 bits."""
        left, right = np.maximum(self.shift, 0), np.maximum(-self.shift, 0)
        fits = np.abs(x) <= 2.0**31 / 2.0**left
        product = (np.where(fits, x, 0.0).astype(np.int64) << left) * self.multiplier
        high = (product + (1 << 30)) >> 31
        rounded = (high + ((1 << right) >> 1) - ((high < 0) & (right > 0))) >> right
        return np.where(fits, rounded.astype(np.float64), np.nan)

    def exact(self, v: np.ndarray, where: _Where) -> np.ndarray:
        if any(x.denominator != 1 for x in v):
            raise ValueError("a fixed-point multiplication is of integers only")
        factors = zip(where(self.multiplier).tolist(), where(self.shift).tolist(), strict=True)
        result = np.empty(v.shape, dtype=object)
        result[:] = [Fraction(self._one(int(x), *factor)) for x, factor in zip(v, factors, strict=True)]
        return result

    @staticmethod
    def _one(x: int, multiplier: int, shift: int) -> int:
        high = ((x << max(shift, 0)) * multiplier + (1 << 30)) >> 31
        return _outwards(Fraction(high, 1 << max(-shift, 0)), lambda m: math.floor(m + _HALF))


Step = Linear | Clip | Round | Sign | FixedPoint


def _half(x: np.ndarray, *, away: bool) -> np.ndarray:
    """Nearest integer with halves away from, or towards, zero. ``x - trunc(x)`` is exact, ``x + 0.5`` is not."""
    whole = np.trunc(x)
    rest = np.abs(x - whole)
    return whole + np.copysign(rest >= 0.5 if away else rest > 0.5, x)


def _outwards(x: Fraction, magnitude: Callable[[Fraction], int]) -> int:
    """Rounds the magnitude, keeps the sign."""
    return magnitude(x) if x >= 0 else -magnitude(-x)


_Rounding = tuple[Callable[[np.ndarray], np.ndarray], Callable[[Fraction], int]]
_HALF = Fraction(1, 2)
#: QONNX's rounding modes, each for float64 arrays and for one Fraction.
ROUNDING: dict[str, _Rounding] = {
    "HALF_EVEN": (np.rint, round),
    "CEIL": (np.ceil, math.ceil),
    "FLOOR": (np.floor, math.floor),
    "UP": (lambda x: np.copysign(np.ceil(np.abs(x)), x), lambda x: _outwards(x, math.ceil)),
    "DOWN": (np.trunc, math.trunc),
    "HALF_UP": (lambda x: _half(x, away=True), lambda x: _outwards(x, lambda m: math.floor(m + _HALF))),
    "HALF_DOWN": (lambda x: _half(x, away=False), lambda x: _outwards(x, lambda m: math.ceil(m - _HALF))),
}


class _Where:
    """Picks the elements of a broadcast array that are evaluated exactly."""

    def __init__(self, shape: tuple[int, ...], index: tuple[np.ndarray, ...]) -> None:
        self.shape, self.index = shape, index

    def __call__(self, array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, self.shape)[self.index]


def evaluate(steps: tuple[Step, ...], x: np.ndarray) -> np.ndarray:
    """The chain's exact integer results for ``x`` (integers, floats or Fractions), int64 of the broadcast shape.

    Raises ValueError when a result is not an integer or does not fit 64 bits.
    """
    interval = enclose(x)
    with np.errstate(all="ignore"):  # infinities and NaNs are undecided, below
        for step in steps:
            interval = step.enclose(interval)
        lo, hi = interval
        decided = (lo == hi) & (np.abs(lo) < 2.0**53) & (lo == np.rint(lo))
    result = np.where(decided, lo, 0.0).astype(np.int64)
    index = np.nonzero(~decided)
    if index[0].size:
        where = _Where(result.shape, index)
        value = rationals(where(np.asarray(x)))
        for step in steps:
            value = step.exact(value, where)
        if any(v.denominator != 1 or abs(v.numerator) >= 2**63 for v in value):
            raise ValueError("the steps do not end in an integer of 64 bits")
        result[index] = value.astype(np.int64)
    return result


def enclose(values: np.ndarray) -> Interval:
    """The tightest float64 intervals around exact values (integers, floats or Fractions)."""
    values = np.asarray(values)
    if values.dtype != object and (values.dtype.kind == "f" or np.abs(values).max(initial=0) <= 2**53):
        floats = values.astype(np.float64)
        return floats, floats
    exact = values if values.dtype == object else rationals(values)
    floats = _each(_to_float, exact).astype(np.float64)
    error = np.sign(_each(lambda pair: _compare(*pair), _pairs(exact, floats)).astype(np.float64))
    return _outside(floats, error)


def _each(function: Callable, values: np.ndarray) -> np.ndarray:
    result = np.empty(values.shape, dtype=object)
    result.ravel()[:] = [function(v) for v in values.ravel()]
    return result


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = np.empty(a.shape, dtype=object)
    result.ravel()[:] = list(zip(a.ravel(), b.ravel().tolist(), strict=True))
    return result


def _to_float(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def _compare(exact: Fraction, rounded: float) -> int:
    """The sign of ``exact - rounded``."""
    return (exact > rounded) - (exact < rounded)


def _outside(rounded: np.ndarray, error: np.ndarray) -> Interval:
    """The interval around ``rounded + error``, of which only the sign of ``error`` is sure. NaN is an unknown error."""
    if not error.any():
        return rounded, rounded
    down = np.where(error >= 0, rounded, np.nextafter(rounded, -np.inf))
    up = np.where(error <= 0, rounded, np.nextafter(rounded, np.inf))
    return down, up


def _on_both(function: Callable, v: Interval, w: Interval) -> Interval:
    lo = function(v[0], w[0])
    return lo, lo if v[0] is v[1] and w[0] is w[1] else function(v[1], w[1])


def _add(v: Interval, w: Interval) -> Interval:
    """Interval sum; the rounding error is Knuth's two-sum."""

    def bounds(a: np.ndarray, b: np.ndarray) -> Interval:
        total = a + b
        other = total - a
        return _outside(total, (a - (total - other)) + (b - other))

    lower = bounds(v[0], w[0])
    return lower if v[0] is v[1] and w[0] is w[1] else (lower[0], bounds(v[1], w[1])[1])


def _multiply(v: Interval, w: Interval) -> Interval:
    """Interval product; the rounding error is Dekker's two-product."""

    def split(a: np.ndarray) -> Interval:
        big = a * _SPLITTER
        high = big - (big - a)
        return high, a - high

    def bounds(a: np.ndarray, b: np.ndarray) -> Interval:
        product = a * b
        (a1, a0), (b1, b0) = split(a), split(b)
        error = ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0
        error = np.where(((a == 0) | (b == 0)), 0.0, np.where(np.abs(product) < _TINY, np.nan, error))
        return _outside(product, error)

    corners = [bounds(a, b) for a in dict(map(_by_id, v)).values() for b in dict(map(_by_id, w)).values()]
    lo, hi = corners[0]
    for down, up in corners[1:]:
        lo, hi = np.minimum(lo, down), np.maximum(hi, up)
    return lo, hi


def _by_id(array: np.ndarray) -> tuple[int, np.ndarray]:
    return id(array), array
