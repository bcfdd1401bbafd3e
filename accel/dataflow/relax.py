"""Folding as a linear program: parts may mix their options, and what comes out bounds every folding.

A mixture is as good as the best folding or better. Its reduced costs say of each option by how much at least a folding
that takes it is worse than the mixture: all options that cost more than what a folding in hand is above it can be left
out, and nothing better is lost. The program is solved in milliseconds, by the simplex method (GLOP of OR-tools).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ortools.linear_solver import pywraplp

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.options import Option, demands
from accel.dataflow.parts import Part, image_of

WHOLE = 1e-6  # of an option is none of it
# LUTs that one of each resource is worth when area counts: as many as the Artix-7 100T has of them for each.
LUT_EQUIVALENTS = {"lut": 1.0, "ff": 0.25, "bram36": 470.0, "dsp": 264.0}


def area(cost: Cost) -> float:
    """All resources in LUTs."""
    return sum(getattr(cost, resource) * worth for resource, worth in LUT_EQUIVALENTS.items())


@dataclass(frozen=True)
class Reckoner:
    """How folding reckons: when parts start and end, given an option for each; ``beats`` are those of the input.

    A part's output flows evenly from its start to the start of its last row, and from there to its end: after a window
    that moves by several rows, a last row comes while little of the input does, and whoever takes it has to keep up.
    """

    parts: Sequence[Part]
    beats: int

    @cached_property
    def demands(self) -> list[tuple[float, float]]:
        """`accel.dataflow.options.demands` of each part."""
        return [demands(part) for part in self.parts]

    @cached_property
    def before(self) -> list[float]:
        """Of each part, the share of its output before the last row."""
        return [1 - 1 / image_of(part.output).height for part in self.parts]

    def moment(self, source: int, share: float) -> tuple[float, float, float]:
        """When a part has given a share of its output: the weights of its start, its last row's start and its end."""
        before = self.before[source]
        if share < before:
            return 1 - share / before, share / before, 0.0
        rest = (share - before) / (1 - before)
        return 0.0, 1 - rest, rest

    def end(self, picked: Sequence[Option]) -> float:
        """When the last part ends."""
        times: list[tuple[float, float, float]] = []
        for i, (part, option) in enumerate(zip(self.parts, picked, strict=True)):
            first, last = self.demands[i]
            start = late = end = 0.0
            for source in part.sources:
                if source < 0:
                    begins, continues, ends = first * self.beats, last * self.beats, float(self.beats)
                else:
                    begins, continues = (
                        sum(w * t for w, t in zip(self.moment(source, share), times[source], strict=True))
                        for share in (first, last)
                    )
                    ends = times[source][-1]
                start, late = max(start, begins + option.lag), max(late, continues + option.lag)
                end = max(end, ends + option.tail)
            late = max(late, start + option.work * self.before[i])
            times.append((start, late, max(end, late + option.work * (1 - self.before[i]))))
        return times[-1][-1]


@dataclass(frozen=True)
class Relaxed:
    """The least that any folding comes to, in cycles or in area, and of each option what it adds to that at least.

    ``mixture`` has the share of each option in the mixture that comes to it.
    """

    bound: float
    above: tuple[np.ndarray, ...]
    mixture: tuple[np.ndarray, ...]


def relax(
    reckoner: Reckoner, choices: Sequence[Sequence[Option]], budget: Budget, *, within: float | None = None
) -> Relaxed | None:
    """The end of the best mixture, or, where it has to end ``within`` so many cycles, its area.

    None where not even a mixture fits the budget.
    """
    solver = pywraplp.Solver.CreateSolver("GLOP")
    infinity = solver.infinity()
    moments: list[tuple[pywraplp.Variable, ...]] = []
    mixtures = [[solver.NumVar(0, infinity, "") for _ in found] for found in choices]
    for i, (part, found, mixture) in enumerate(zip(reckoner.parts, choices, mixtures, strict=True)):
        one = solver.Constraint(1, 1)
        for variable in mixture:
            one.SetCoefficient(variable, 1)

        def at_least(
            terms: Sequence[tuple[pywraplp.Variable, float]],
            least: float,
            times: Sequence[float],
            mixture: Sequence[pywraplp.Variable] = mixture,
        ) -> None:
            """The sum of the terms is ``least`` and the mixture's time, or more."""
            row = solver.Constraint(least, infinity)
            for variable, factor in terms:
                row.SetCoefficient(variable, factor)
            for variable, time in zip(mixture, times, strict=True):
                row.SetCoefficient(variable, -time)

        start, late, end = (solver.NumVar(0, infinity, "") for _ in range(3))
        before = reckoner.before[i]
        at_least([(late, 1), (start, -1)], 0, [o.work * before for o in found])
        at_least([(end, 1), (late, -1)], 0, [o.work * (1 - before) for o in found])
        lags, tails = [o.lag for o in found], [o.tail for o in found]
        for source in part.sources:
            for moment, share in zip((start, late), reckoner.demands[i], strict=True):
                if source < 0:
                    at_least([(moment, 1)], share * reckoner.beats, lags)
                    continue
                weights = zip(moments[source], reckoner.moment(source, share), strict=True)
                at_least([(moment, 1), *((variable, -weight) for variable, weight in weights)], 0, lags)
            if source < 0:
                at_least([(end, 1)], reckoner.beats, tails)
            else:
                at_least([(end, 1), (moments[source][-1], -1)], 0, tails)
        moments.append((start, late, end))
    for resource in RESOURCES:
        row = solver.Constraint(-infinity, getattr(budget, resource))
        for found, mixture in zip(choices, mixtures, strict=True):
            for option, variable in zip(found, mixture, strict=True):
                row.SetCoefficient(variable, getattr(option.cost, resource))
    goal = solver.Objective()
    if within is None:
        goal.SetCoefficient(moments[-1][-1], 1)
    else:
        solver.Constraint(-infinity, within).SetCoefficient(moments[-1][-1], 1)
        for found, mixture in zip(choices, mixtures, strict=True):
            for option, variable in zip(found, mixture, strict=True):
                goal.SetCoefficient(variable, area(option.cost))
    goal.SetMinimization()
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    above = tuple(np.array([variable.reduced_cost() for variable in mixture]) for mixture in mixtures)
    shares = tuple(np.array([variable.solution_value() for variable in mixture]) for mixture in mixtures)
    return Relaxed(goal.Value(), above, shares)


def dive(
    reckoner: Reckoner, choices: Sequence[Sequence[Option]], budget: Budget, *, within: float | None = None
) -> list[Option] | None:
    """A good folding: of the part that is mixed least the largest share is taken for the whole, until none is mixed.

    None where that ends in what does not fit.
    """
    some = [list(found) for found in choices]
    relaxed = relax(reckoner, some, budget, within=within)
    while relaxed is not None:
        shares = relaxed.mixture
        for found, mixture in zip(some, shares, strict=True):
            if mixture.max() > 1 - WHOLE:
                found[:] = [found[int(mixture.argmax())]]
        mixed = [i for i, found in enumerate(some) if len(found) > 1]
        if not mixed:
            return [found[0] for found in some]
        least = max(mixed, key=lambda i: float(shares[i].max()))
        found, mixture = some[least], shares[least]
        for at in np.argsort(-mixture, kind="stable")[: np.count_nonzero(mixture > WHOLE)]:
            some[least] = [found[int(at)]]
            relaxed = relax(reckoner, some, budget, within=within)
            if relaxed is not None:
                break
    return None
