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
from accel.dataflow.options import Option, first_need
from accel.dataflow.parts import Part

# LUTs that one of each resource is worth when area counts: as many as the Artix-7 100T has of them for each.
LUT_EQUIVALENTS = {"lut": 1.0, "ff": 0.25, "bram36": 470.0, "dsp": 264.0}


def area(cost: Cost) -> float:
    """All resources in LUTs."""
    return sum(getattr(cost, resource) * worth for resource, worth in LUT_EQUIVALENTS.items())


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


@dataclass(frozen=True)
class Relaxed:
    """The least that any folding comes to, in cycles or in area, and for each option what it adds to that at least."""

    bound: float
    above: tuple[np.ndarray, ...]


def relax(
    reckoner: Reckoner, choices: Sequence[Sequence[Option]], budget: Budget, *, within: float | None = None
) -> Relaxed | None:
    """The end of the best mixture, or, where it has to end ``within`` so many cycles, its area.

    None where not even a mixture fits the budget.
    """
    solver = pywraplp.Solver.CreateSolver("GLOP")
    infinity = solver.infinity()
    starts: list[pywraplp.Variable] = []
    ends: list[pywraplp.Variable] = []
    mixtures = [[solver.NumVar(0, infinity, "") for _ in found] for found in choices]
    for part, share, found, mixture in zip(reckoner.parts, reckoner.shares, choices, mixtures, strict=True):
        one = solver.Constraint(1, 1)
        for variable in mixture:
            one.SetCoefficient(variable, 1)

        def at_least(
            terms: Sequence[tuple[pywraplp.Variable, float]],
            least: float,
            times: Sequence[int],
            mixture: Sequence[pywraplp.Variable] = mixture,
        ) -> None:
            """The sum of the terms is ``least`` and the mixture's time, or more."""
            row = solver.Constraint(least, infinity)
            for variable, factor in terms:
                row.SetCoefficient(variable, factor)
            for variable, time in zip(mixture, times, strict=True):
                row.SetCoefficient(variable, -time)

        start, end = solver.NumVar(0, infinity, ""), solver.NumVar(0, infinity, "")
        at_least([(end, 1), (start, -1)], 0, [o.work for o in found])
        for source in part.sources:
            lags, tails = [o.lag for o in found], [o.tail for o in found]
            if source >= 0:
                at_least([(start, 1), (starts[source], share - 1), (ends[source], -share)], 0, lags)
                at_least([(end, 1), (ends[source], -1)], 0, tails)
            else:
                at_least([(start, 1)], share * reckoner.beats, lags)
                at_least([(end, 1)], reckoner.beats, tails)
        starts.append(start)
        ends.append(end)
    for resource in RESOURCES:
        row = solver.Constraint(-infinity, getattr(budget, resource))
        for found, mixture in zip(choices, mixtures, strict=True):
            for option, variable in zip(found, mixture, strict=True):
                row.SetCoefficient(variable, getattr(option.cost, resource))
    goal = solver.Objective()
    if within is None:
        goal.SetCoefficient(ends[-1], 1)
    else:
        solver.Constraint(-infinity, within).SetCoefficient(ends[-1], 1)
        for found, mixture in zip(choices, mixtures, strict=True):
            for option, variable in zip(found, mixture, strict=True):
                goal.SetCoefficient(variable, area(option.cost))
    goal.SetMinimization()
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    above = tuple(np.array([variable.reduced_cost() for variable in mixture]) for mixture in mixtures)
    return Relaxed(goal.Value(), above)
