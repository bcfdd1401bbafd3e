"""A good folding of a network to start from, found in a second: CP-SAT then looks for a better one.

Latency is about the work of the slowest part and the sum of all tails. So there is one number for each: a limit to the
work, and the price of a cycle of tail in resources. For many pairs of them each part takes the option that costs least;
resources that are short become dearer. The best pair's folding is then improved part by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accel.dataflow.budget import RESOURCES, Budget
from accel.dataflow.options import Option, first_need
from accel.dataflow.parts import Part

TAIL_PRICES = (0.0, 1e-7, 3e-7, 1e-6, 2e-6, 4e-6, 8e-6, 1.6e-5, 3.2e-5, 6.4e-5, 1.3e-4)  # shares of the budget a cycle
LIMITS = 24  # limits to the work that are tried for each
ROUNDS = 12  # of prices
SWEEPS = 12
TRADES = 60  # options that would be faster, for which something else is sought to pay


@dataclass(frozen=True)
class Reckoner:
    """How folding reckons: when parts start and end, given an option for each; ``beats`` are those of the input."""

    parts: Sequence[Part]
    beats: int

    @cached_property
    def shares(self) -> list[float]:
        """Of each part, the share of its input that it needs before its first output."""
        return [first_need(part) for part in self.parts]

    def end(self, picked: Sequence[Option]) -> float:
        """When the last part ends."""
        starts: list[float] = []
        ends: list[float] = []
        for part, share, option in zip(self.parts, self.shares, picked, strict=True):
            start = end = 0.0
            for source in part.sources:
                began, ended = (starts[source], ends[source]) if source >= 0 else (0.0, float(self.beats))
                start = max(start, began + share * (ended - began) + option.lag)
                end = max(end, ended + option.tail)
            starts.append(start)
            ends.append(max(end, start + option.work))
        return ends[-1]


def guess(
    reckoner: Reckoner, choices: Sequence[Sequence[Option]], budget: Budget, *, starts: int = 3
) -> list[Option] | None:
    """A folding that fits, as fast as could be found from the best few ``starts``; None where none was found."""
    limits = np.array([max(getattr(budget, r), 1e-9) for r in RESOURCES])
    work = [np.array([o.work for o in found]) for found in choices]
    tail = [np.array([o.tail for o in found], dtype=float) for found in choices]
    shares = [np.array([[getattr(o.cost, r) for r in RESOURCES] for o in found]) / limits for found in choices]
    slowest, fastest = max(int(w.min()) for w in work), max(int(w.max()) for w in work)

    def pick(limit: float, price: float) -> tuple[float, list[int]] | None:
        """The folding with so much work at most, and when it ends; None if it does not fit."""
        prices = np.ones(len(RESOURCES))
        best: tuple[float, list[int]] | None = None
        for _ in range(ROUNDS):
            at = [
                int(np.where(w <= limit, s @ prices + price * t, np.inf).argmin())
                for w, t, s in zip(work, tail, shares, strict=True)
            ]
            used = sum(s[i] for s, i in zip(shares, at, strict=True))
            if (used <= 1).all():
                end = reckoner.end([found[i] for found, i in zip(choices, at, strict=True)])
                best = min(best, (end, at)) if best else (end, at)
            prices *= np.clip(np.where(used > 1, used**6, used**0.5), 0.5, 8.0)
        return best

    fits: dict[tuple[int, ...], float] = {}
    steps = np.geomspace(max(slowest, 1), max(fastest, 1), LIMITS)
    for price in TAIL_PRICES:
        fitting = 0
        for limit in steps:
            picked = pick(limit, price)
            if picked is not None:
                fits[tuple(picked[1])] = picked[0]
                fitting += 1
                if fitting == 4:  # what comes is slower still
                    break
    found = [
        improve(reckoner, choices, budget, [some[i] for some, i in zip(choices, at, strict=True)])
        for at in sorted(fits, key=lambda at: (fits[at], at))[:starts]
    ]
    return min(found, key=reckoner.end, default=None)


def improve(
    reckoner: Reckoner, choices: Sequence[Sequence[Option]], budget: Budget, picked: list[Option]
) -> list[Option]:
    """The same with other options of single parts, and of pairs that trade resources, while that ends sooner."""
    limits = np.array([getattr(budget, r) for r in RESOURCES], dtype=float)

    def needs(option: Option) -> np.ndarray:
        return np.array([getattr(option.cost, r) for r in RESOURCES], dtype=float)

    used = sum((needs(option) for option in picked), start=np.zeros(len(RESOURCES)))
    tables = [np.array([needs(o) for o in found]) for found in choices]
    end = reckoner.end(picked)
    for _ in range(SWEEPS):
        before = end
        for i, found in enumerate(choices):
            rest = used - needs(picked[i])
            fits = np.flatnonzero((rest + tables[i] <= limits + 1e-9).all(axis=1))
            for k in fits.tolist():
                trial = [*picked[:i], found[k], *picked[i + 1 :]]
                if (now := reckoner.end(trial)) < end:
                    picked, end = trial, now
            used = rest + needs(picked[i])
        # what a part does not need others may
        for i, found in enumerate(choices):
            rest = used - needs(picked[i])
            most = ((rest + tables[i]) / limits.clip(1)).max(axis=1)
            cheaper = np.flatnonzero(most < (used / limits.clip(1)).max() - 1e-9)
            for k in cheaper.tolist():
                trial = [*picked[:i], found[k], *picked[i + 1 :]]
                if reckoner.end(trial) <= end:
                    picked = trial
                    used = rest + tables[i][k]
                    break
        if end < before:
            continue
        picked = trade(reckoner, choices, tables, limits, picked)
        if (now := reckoner.end(picked)) >= end:
            break
        end, used = now, sum((needs(option) for option in picked), start=np.zeros(len(RESOURCES)))
    return picked


def trade(
    reckoner: Reckoner,
    choices: Sequence[Sequence[Option]],
    tables: Sequence[np.ndarray],
    limits: np.ndarray,
    picked: list[Option],
) -> list[Option]:
    """The same with a faster option of one part, paid for by smaller ones of others; as it was where none helps."""
    works = [np.array([o.work for o in found]) for found in choices]
    tails = [np.array([o.tail for o in found]) for found in choices]
    at = [next(k for k, o in enumerate(found) if o is option) for found, option in zip(choices, picked, strict=True)]

    def end_of(rows: Sequence[int]) -> float:
        return reckoner.end([found[row] for found, row in zip(choices, rows, strict=True)])

    best_end, best = end_of(at), at
    trials = [[*at[:i], k, *at[i + 1 :]] for i, found in enumerate(choices) for k in range(len(found))]
    sooner = sorted((end, i) for i, rows in enumerate(trials) if (end := end_of(rows)) < best_end)
    for _, number in sooner[:TRADES]:
        rows = list(trials[number])
        over = sum((table[row] for table, row in zip(tables, rows, strict=True)), start=-limits)
        for _ in range(4):  # parts that give back what is short, for the least work and tail
            if (over <= 1e-9).all():
                break
            short = np.maximum(over, 0)
            offers = []
            for j, (table, now) in enumerate(zip(tables, rows, strict=True)):
                saved = (np.minimum(table[now] - table, short) / limits.clip(1)) @ (short > 0)
                slower = np.maximum(works[j] - works[j][now], 0) + np.maximum(tails[j] - tails[j][now], 0)
                score = np.where((saved > 1e-9) & (rows[j] == at[j]), saved / (slower + 50.0), -1.0)
                m = int(score.argmax())
                if score[m] > 0 and end_of([*rows[:j], m, *rows[j + 1 :]]) < best_end:
                    offers.append((float(score[m]), j, m))
            if not offers:
                break
            _, j, m = max(offers)
            over = over + tables[j][m] - tables[j][rows[j]]
            rows[j] = m
        if (over <= 1e-9).all() and (now_end := end_of(rows)) < best_end:
            best, best_end = rows, now_end
    return [found[row] for found, row in zip(choices, best, strict=True)]
