"""Residual sums: the narrowest multipliers with which a sum and its activation give the same output for all operands.

Where branches meet, the file's two scales ask for a sum of exact whole multiples, often of 24 bits each. What counts is
only which pairs of operands come to lie on which side of the activation's steps. Operands of few levels have so few
pairs that this is checked for all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from accel.graph import Activation, Add, Graph, IntType, Operator
from accel.passes.breakpoints import Breakpoints, breakpoints
from accel.passes.multiply_shift import MultiplyShift

MOST_PAIRS = 2**18
MOST_BITS = 24  # of a multiplier
AROUND = np.arange(-2, 4)  # multipliers that are tried near the exact one, which need not be a whole number
MOST_SUMS = 64  # ratios that are tried
MORE_SHIFTS = 3  # that are tried once one has constants: they may have some that are cheaper
Pair = tuple[int, int]


@dataclass(frozen=True)
class Meeting:
    """An Add and the one Activation behind it, for each pair of operands in the order of their exact sums.

    ``add`` reads what it read or, where activations only made operands wider, what those read. ``first`` and ``second``
    are its operands, with their ``signs`` such that the sum rises with both; ``channels`` that the activation's
    functions are. ``steps`` are those of the exact sum, and ``cuts`` of each the number of pairs before it.
    """

    add: Add
    signs: Pair
    first: np.ndarray
    second: np.ndarray
    slopes: tuple[Fraction, Fraction]
    steps: Breakpoints
    cuts: np.ndarray

    @classmethod
    def of(cls, graph: Graph, add: Add, activation: Activation, producers: dict[str, Operator]) -> Meeting | None:
        """None where there are too many pairs."""
        names, kinds, images = zip(*(_operand(graph, name, producers) for name in add.inputs), strict=True)
        if any(values is None for values in images) or kinds[0].levels * kinds[1].levels > MOST_PAIRS:
            return None
        terms = [m * values for m, values in zip(add.multipliers, images, strict=True)]
        rises = [int(term[-1] - term[0]) for term in terms]
        if 0 in rises:
            return None
        signs = tuple(1 if rise > 0 else -1 for rise in rises)
        sums = (terms[0][:, None] + terms[1][None, :]).ravel()
        order = np.argsort(sums, kind="stable")
        sums, places = sums[order], np.unravel_index(order, (len(terms[0]), len(terms[1])))
        first, second = (
            (sign * np.arange(kind.lo, kind.hi + 1, kind.step))[place]
            for sign, kind, place in zip(signs, kinds, places, strict=True)
        )
        channels = graph.tensors[activation.output].shape[-1] if activation.channels > 1 else 1
        steps = breakpoints(activation, np.full(channels, sums[0]), np.full(channels, sums[-1]))
        slopes = tuple(Fraction(abs(r), kind.hi - kind.lo) for r, kind in zip(rises, kinds, strict=True))
        add = replace(add, inputs=names)
        return cls(add, signs, first, second, slopes, steps, np.searchsorted(sums, steps.points))  # type: ignore[arg-type]

    def multiplied(self, p: int, q: int) -> Add:
        return replace(self.add, multipliers=(self.signs[0] * p, self.signs[1] * q))

    @cached_property
    def inner(self) -> np.ndarray:
        """Where the activation takes a step in some channel."""
        cuts = np.unique(self.cuts)
        return cuts[(cuts > 0) & (cuts < len(self.first))]

    def judge(self, p: int, q: int) -> int | None:
        """0 where ``p * first + q * second`` keeps all pairs on their sides of all cuts.

        Otherwise 1 or -1 where ``p / q`` has to be larger or smaller for that, None where neither helps.
        """
        sums = p * self.first + q * self.second
        highest, lowest = np.maximum.accumulate(sums), np.minimum.accumulate(sums[::-1])[::-1]
        bad = np.flatnonzero(highest[self.inner - 1] >= lowest[self.inner])
        if not bad.size:
            return 0
        cut = self.inner[bad[0]]
        i, j = int(sums[:cut].argmax()), cut + int(sums[cut:].argmin())
        first, second = self.first[j] - self.first[i], self.second[j] - self.second[i]
        return None if first <= 0 and second <= 0 else 1 if first > 0 else -1

    def sums(self) -> Iterator[tuple[Add, Breakpoints]]:
        """Sums that keep the function, and the activation's steps on each: first that with the least multipliers.

        Those that follow come nearer and nearer to the exact ratio, where the steps are more even.
        """
        found = simplest(self.judge)
        if found is not None:
            yield self._sum(*found)
            for p, q in itertools.islice(approximations(self.slopes[0] / self.slopes[1]), MOST_SUMS):
                if p > found[0] and q > found[1] and self.judge(p, q) == 0:
                    yield self._sum(p, q)

    def _sum(self, p: int, q: int) -> tuple[Add, Breakpoints]:
        sums = p * self.first + q * self.second
        below = np.concatenate([[sums.min() - 1], np.maximum.accumulate(sums)])
        above = np.concatenate([np.minimum.accumulate(sums[::-1])[::-1], [sums.max() + 1]])
        lo, hi = (np.full(len(self.cuts), end) for end in (sums.min(), sums.max()))
        steps = Breakpoints(above[self.cuts], lo, hi, self.steps.falling, self.steps.out, before=below[self.cuts])
        return self.multiplied(p, q), steps

    def shifted(self) -> tuple[Add, MultiplyShift] | None:
        """Multipliers such that the activation only adds a bias and shifts: those of the fewest additions.

        None where there are none, or the channels have functions of their own.
        """
        out, cuts = self.steps.out, self.cuts[0]
        if len(self.cuts) > 1 or out.step != 1 or len(self.inner) < 2:
            return None
        taken = np.searchsorted(cuts, np.concatenate([[0], self.inner]), side="right")
        sign = -1 if self.steps.falling[0] else 1
        levels = out.hi - taken if sign < 0 else out.lo + taken
        starts = np.concatenate([[0], self.inner])
        near = [s * int(abs(levels[-1] - levels[1])) / self._distance for s in self.slopes]
        best: tuple[int, Add, MultiplyShift] | None = None
        last = MOST_BITS
        for shift in range(MOST_BITS):
            if shift > last:
                break
            for p, q in itertools.product(*((AROUND + math.floor(n * 2**shift)).tolist() for n in near)):
                cost = digits(p) + digits(q)
                if p < 1 or q < 1 or (best is not None and cost >= best[0]):
                    continue
                bias = self._bias(sign * (p * self.first + q * self.second), starts, levels, shift)
                if bias is not None:
                    one = MultiplyShift(np.array([1]), np.array([bias]), shift, ties_to_even=False)
                    best = cost, self.multiplied(sign * p, sign * q), one
                    last = min(last, shift + MORE_SHIFTS)
        return None if best is None else best[1:]

    @cached_property
    def _distance(self) -> Fraction:
        """How far the exact sums of the first and the last inner step lie apart."""
        points = self.steps.points[0]
        at = np.searchsorted(self.cuts[0], self.inner[[0, -1]])
        return Fraction(int(points[at[1]] - points[at[0]]))

    def _bias(self, sums: np.ndarray, starts: np.ndarray, levels: np.ndarray, shift: int) -> int | None:
        """A bias with which ``(sums + bias) >> shift`` is each segment's level, beyond the ends of the type as well."""
        out = self.steps.out
        least = (levels << shift) - np.minimum.reduceat(sums, starts)
        most = (levels + 1 << shift) - 1 - np.maximum.reduceat(sums, starts)
        low, high = least[levels > out.lo].max(), most[levels < out.hi].min()
        return int(np.clip(1 << shift >> 1, low, high)) if low <= high else None


def digits(factor: int) -> int:
    """How many powers of two, added or subtracted, make the factor at the least."""
    return (abs(factor) ^ 3 * abs(factor)).bit_count()


def _operand(graph: Graph, name: str, producers: dict[str, Operator]) -> tuple[str, IntType, np.ndarray | None]:
    """The tensor that an operand is a function of, its type, and that function's value for each of its levels."""
    before = producers.get(name)
    widened = isinstance(before, Activation) and before.channels == 1 and before.out.width > 16
    if isinstance(before, Activation) and widened:
        name = before.inputs[0]
    kind = graph.tensors[name].type
    if kind.levels > MOST_PAIRS:
        return name, kind, None
    values = np.arange(kind.lo, kind.hi + 1, kind.step)
    return name, kind, before.run(values[:, None])[:, 0] if isinstance(before, Activation) and widened else values


def simplest(judge: Callable[[int, int], int | None]) -> Pair | None:
    """The least whole numbers (p, q) for which ``judge`` gives 0, by descending the Stern-Brocot tree of ratios.

    Where ``judge`` accepts an interval of ratios, the first of the tree on the way there has both the least p and the
    least q of all. Steps in one direction are taken by bisection.
    """
    low, high = (0, 1), (1, 0)
    while sum(low) + sum(high) < 2**MOST_BITS:
        verdict = judge(low[0] + high[0], low[1] + high[1])
        if verdict == 0:
            return low[0] + high[0], low[1] + high[1]
        if verdict is None:
            return None
        fixed, moved = (high, low) if verdict > 0 else (low, high)
        count, beyond, last = 1, 2, None  # ``moved`` plus ``count`` times ``fixed`` is not yet far enough
        while (last := judge(*_ahead(moved, fixed, beyond))) == verdict:
            if beyond >= 2**MOST_BITS:
                return None
            count, beyond = beyond, 2 * beyond
        while beyond - count > 1:
            middle = (count + beyond) // 2
            found = judge(*_ahead(moved, fixed, middle))
            count, beyond, last = (middle, beyond, last) if found == verdict else (count, middle, found)
        if last == 0:
            return _ahead(moved, fixed, beyond)
        if last is None:
            return None
        near, far = _ahead(moved, fixed, count), _ahead(moved, fixed, beyond)
        low, high = (near, far) if verdict > 0 else (far, near)
    return None


def approximations(ratio: Fraction) -> Iterator[Pair]:
    """The whole numbers (p, q) on the way to the ratio in the Stern-Brocot tree, the ratio itself last."""
    low, high, middle = (0, 1), (1, 0), (1, 1)
    while Fraction(*middle) != ratio:
        yield middle
        low, high = (middle, high) if Fraction(*middle) < ratio else (low, middle)
        middle = low[0] + high[0], low[1] + high[1]
    yield middle


def _ahead(moved: Pair, fixed: Pair, steps: int) -> Pair:
    return moved[0] + steps * fixed[0], moved[1] + steps * fixed[1]
