"""Residual sums: the narrowest multipliers with which a sum and its activation give the same output for all operands.

Where branches meet, the file's two scales ask for a sum of exact whole multiples, often of 24 bits each. What counts is
only which pairs of operands come to lie on which side of the activation's steps. Operands of few levels have so few
pairs that this is checked for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from accel.graph import Activation, Add, Graph, IntType, Operator
from accel.passes.breakpoints import Breakpoints, breakpoints

MOST_PAIRS = 2**18
MOST_BITS = 24  # of a multiplier
Pair = tuple[int, int]


@dataclass(frozen=True)
class Meeting:
    """The sum as it may be done instead, and the activation's steps on it."""

    add: Add
    steps: Breakpoints


def narrowest(graph: Graph, add: Add, activation: Activation, producers: dict[str, Operator]) -> Meeting | None:
    """The same function of the two operands with the least multipliers; None where there are too many pairs.

    Activations of few levels that only make an operand wider (as TFLite does) are part of the function: the new sum
    reads what they read.
    """
    names, kinds, images = zip(*(_operand(graph, name, producers) for name in add.inputs), strict=True)
    if any(values is None for values in images) or kinds[0].levels * kinds[1].levels > MOST_PAIRS:
        return None
    terms = [m * values for m, values in zip(add.multipliers, images, strict=True)]
    signs = [int(np.sign(term[-1] - term[0])) for term in terms]
    if 0 in signs:
        return None
    sums = (terms[0][:, None] + terms[1][None, :]).ravel()
    order = np.argsort(sums, kind="stable")
    sums = sums[order]
    first, second = (
        (sign * np.arange(kind.lo, kind.hi + 1, kind.step))[index]
        for sign, kind, index in zip(signs, kinds, np.unravel_index(order, (len(terms[0]), len(terms[1]))), strict=True)
    )
    channels = graph.tensors[activation.output].shape[-1] if activation.channels > 1 else 1
    steps = breakpoints(activation, np.full(channels, sums[0]), np.full(channels, sums[-1]))
    cuts = np.searchsorted(sums, steps.points)
    inner = np.unique(cuts)
    pairs = _Pairs(first, second, inner[(inner > 0) & (inner < len(sums))])
    found = simplest(pairs.judge)
    if found is None:
        return None
    sums = found[0] * first + found[1] * second
    below = np.concatenate([[sums.min() - 1], np.maximum.accumulate(sums)])
    above = np.concatenate([np.minimum.accumulate(sums[::-1])[::-1], [sums.max() + 1]])
    lo, hi = (np.full(channels, end) for end in (sums.min(), sums.max()))
    return Meeting(
        replace(add, inputs=names, multipliers=(signs[0] * found[0], signs[1] * found[1])),
        Breakpoints(above[cuts], lo, hi, steps.falling, steps.out, before=below[cuts]),
    )


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


@dataclass(frozen=True)
class _Pairs:
    """All pairs of operands in the order of their exact sums; ``cuts`` tells where the activation takes a step."""

    first: np.ndarray
    second: np.ndarray
    cuts: np.ndarray

    def judge(self, p: int, q: int) -> int | None:
        """0 where ``p * first + q * second`` keeps all pairs on their sides of all cuts.

        Otherwise 1 or -1 where ``p / q`` has to be larger or smaller for that, None where neither helps.
        """
        sums = p * self.first + q * self.second
        highest, lowest = np.maximum.accumulate(sums), np.minimum.accumulate(sums[::-1])[::-1]
        bad = np.flatnonzero(highest[self.cuts - 1] >= lowest[self.cuts])
        if not bad.size:
            return 0
        cut = self.cuts[bad[0]]
        i, j = int(sums[:cut].argmax()), cut + int(sums[cut:].argmin())
        first, second = self.first[j] - self.first[i], self.second[j] - self.second[i]
        return None if first <= 0 and second <= 0 else 1 if first > 0 else -1


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


def _ahead(moved: Pair, fixed: Pair, steps: int) -> Pair:
    return moved[0] + steps * fixed[0], moved[1] + steps * fixed[1]
