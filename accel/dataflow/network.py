"""Folding of networks of images: one option for each part, so that the last output comes soonest within the budget.

All parts work at the same time, each on what the ones before it have given so far. To CP-SAT a part is a stretch of
time: it starts when the parts before it have given what its first output needs, lasts at least its own work, and ends
at least a tail after each of the parts before it. In between things are taken to flow evenly. The end of the last part
is made least; among foldings that end as soon, the smallest is taken. `accel.dataflow.tokens` then counts the cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ortools.sat.python import cp_model

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.folding import FoldingError
from accel.dataflow.guess import Reckoner, guess
from accel.dataflow.options import Option, options
from accel.dataflow.parts import Part

# LUTs that one of each resource is worth when area counts: as many as the Artix-7 100T has of them for each.
LUT_EQUIVALENTS = {"lut": 1.0, "ff": 0.25, "bram36": 470.0, "dsp": 264.0}
EFFORT = 2.0  # seconds of CP-SAT's own, deterministic clock for each question
SLACK = 0.005  # of the latency, for a smaller folding
SHARE = 1000  # parts of a frame in which fill is counted

Pins = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Chosen:
    """An option for each part; ``binding`` finds out what it would be faster with more of: a resource or None."""

    options: tuple[Option, ...]
    binding: Callable[[], str | None]


def all_options(some: Sequence[Part], *, budget: Budget, pins: Pins) -> list[list[Option]]:
    """The options of each part within twice the budget, as `choose` takes them."""
    doubled = replace(budget, **{r: 2 * getattr(budget, r) for r in RESOURCES})
    return [options(part, budget=doubled, wishes=pins.get(part.name, {})) for part in some]


def choose(
    name: str,
    some: Sequence[Part],
    wide: Sequence[Sequence[Option]],
    *,
    budget: Budget,
    pins: Pins,
    beats: int,
    rate: int | None = None,
) -> Chosen:
    """The best of the ``wide`` options for each part; ``rate`` asks for the least area with so many cycles a frame.

    Raises FoldingError, which names the resource and the part, where nothing fits.
    """
    choices = [[o for o in found if o.cost.fits(budget)] for found in wide]
    if rate is not None:
        choices = [[o for o in found if o.work <= rate] for found in choices]
        for part, found in zip(some, choices, strict=True):
            if not found:
                raise FoldingError(f"{part.name}: cannot take a frame every {rate} cycles within {budget.name}")
    if not all(choices):
        raise FoldingError(explain(name, some, budget=budget, pins=pins))
    reckoner = Reckoner(some, beats)
    start = guess(reckoner, choices, budget) if rate is None else None
    first = solve(reckoner, choices, budget, rate=rate, hint=start)
    if first is None:
        raise FoldingError(explain(name, some, budget=budget, pins=pins))
    if rate is not None:
        return Chosen(tuple(first), lambda: None)
    end = reckoner.end(first)
    smaller = solve(reckoner, choices, budget, within=math.ceil(end * (1 + SLACK)), hint=first, effort=EFFORT / 2)
    return Chosen(tuple(smaller or first), lambda: binding(reckoner, wide, budget))


def binding(reckoner: Reckoner, wide: Sequence[Sequence[Option]], budget: Budget) -> str | None:
    """The resource of which twice as much would save most, as far as guesses say; None where it is less than 2 %."""
    ends = {}
    for resource in (None, *RESOURCES):
        more = replace(budget, **{resource: 2 * getattr(budget, resource)}) if resource else budget
        found = guess(reckoner, [[o for o in some if o.cost.fits(more)] for some in wide], more, starts=1)
        ends[resource] = reckoner.end(found) if found else math.inf
    best = min(RESOURCES, key=lambda r: ends[r])
    return best if ends[best] < 0.98 * ends[None] else None


def used(some: Sequence[Option], resource: str) -> float:
    """What options take of a resource together."""
    return sum(getattr(o.cost, resource) for o in some)


def solve(
    reckoner: Reckoner,
    choices: Sequence[Sequence[Option]],
    budget: Budget,
    *,
    rate: int | None = None,
    within: int | None = None,
    hint: Sequence[Option] | None = None,
    effort: float = EFFORT,
) -> list[Option] | None:
    """The options that end soonest, or, with a rate or ``within`` so many cycles, the smallest; None: nothing fits.

    A hint that nothing better was found than is as good an answer.
    """
    model = cp_model.CpModel()
    picks: list[list[cp_model.IntVar]] = []
    horizon = reckoner.beats + sum(max(o.work + o.tail + o.lag for o in found) for found in choices)
    starts: list[cp_model.IntVar] = []
    ends: list[cp_model.IntVar] = []
    for i, (part, found) in enumerate(zip(reckoner.parts, choices, strict=True)):
        chosen = [model.new_bool_var("") for _ in found]
        model.add_exactly_one(chosen)
        picks.append(chosen)
        if hint is not None:
            for option, variable in zip(found, chosen, strict=True):
                model.add_hint(variable, option is hint[i])
        start, end = model.new_int_var(0, horizon, ""), model.new_int_var(0, horizon, "")
        share = math.ceil(reckoner.shares[i] * SHARE)

        def sum_of(values: Sequence[int], chosen: list[cp_model.IntVar] = chosen) -> cp_model.LinearExpr:
            return cp_model.LinearExpr.weighted_sum(chosen, values)

        model.add(end >= start + sum_of([o.work for o in found]))
        for source in part.sources:
            began, ended = (starts[source], ends[source]) if source >= 0 else (0, reckoner.beats)
            lag = sum_of([o.lag for o in found])
            model.add(SHARE * start >= (SHARE - share) * began + share * ended + SHARE * lag)
            model.add(end >= ended + sum_of([o.tail for o in found]))
        starts.append(start)
        ends.append(end)

    flat = [variable for chosen in picks for variable in chosen]
    costs = [option.cost for found in choices for option in found]
    for resource in RESOURCES:
        amounts = [math.ceil(2 * getattr(cost, resource)) for cost in costs]  # halves of block RAM count
        limit = math.floor(2 * getattr(budget, resource))
        model.add(cp_model.LinearExpr.weighted_sum(flat, amounts) <= limit)
    if rate is not None or within is not None:
        if within is not None:
            model.add(ends[-1] <= within)
        model.minimize(cp_model.LinearExpr.weighted_sum(flat, [round(area(cost)) for cost in costs]))
    else:
        model.minimize(ends[-1])

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.catch_sigint_signal = False  # else Ctrl-C ends Python without cleaning up ever after
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = effort
    solver.parameters.relative_gap_limit = SLACK
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return list(hint) if hint is not None else None
    picked = [
        next(o for o, v in zip(found, chosen, strict=True) if solver.value(v))
        for found, chosen in zip(choices, picks, strict=True)
    ]
    better = hint is None or within is not None or reckoner.end(picked) <= reckoner.end(hint)
    return picked if better else list(hint or picked)


def area(cost: Cost) -> float:
    """All resources in LUTs."""
    return sum(getattr(cost, resource) * worth for resource, worth in LUT_EQUIVALENTS.items())


def explain(name: str, some: Sequence[Part], *, budget: Budget, pins: Pins) -> str:
    """Why nothing fits: the resource of which even the least is too much, and the part that needs most of it."""
    most = 1 << 30
    unlimited = Budget(most, most, most, most, name=budget.name)
    every = [options(part, budget=unlimited, wishes=pins.get(part.name, {})) for part in some]
    for part, found in zip(some, every, strict=True):
        if not found:
            return f"{part.name}: no folding obeys the pins"
    for resource in RESOURCES:
        least = [min(getattr(o.cost, resource) for o in found) for found in every]
        limit = getattr(budget, resource)
        if sum(least) > limit:
            worst = max(range(len(some)), key=lambda i: least[i])
            return (
                f"{name} does not fit the budget {budget.name}: its smallest folding needs {sum(least):g} "
                f"{resource} of {limit:g}, {least[worst]:g} of them for {some[worst].name}; "
                "choose a larger device or a smaller model"
            )
    return f"{name}: no folding fits the budget {budget.name}; choose a larger device or a smaller model"
