"""Folding of networks of images: one option for each part, so that the last output comes soonest within the budget.

All parts work at the same time, each on what the ones before it have given so far. To CP-SAT a part is a stretch of
time: it starts when the parts before it have given what its first output needs, lasts at least its own work, and ends
at least a tail after each of the parts before it. In between things are taken to flow evenly, up to the last row and
from there on. The end of the last part is made least; among foldings that end as soon, the smallest is taken. Of the
thousands of options, CP-SAT gets those that a good folding can have, which `accel.dataflow.relax` tells.
`accel.dataflow.tokens` then counts the cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ortools.sat.python import cp_model

from accel.dataflow.budget import RESOURCES, Budget
from accel.dataflow.folding import FoldingError
from accel.dataflow.options import Option, options
from accel.dataflow.parts import Part
from accel.dataflow.relax import Reckoner, area, dive, relax

EFFORT = 3.0  # seconds of CP-SAT's own, deterministic clock for each question
GAPS = (0.01, 0.1, math.inf)  # above the bound: how near to it options have to be to be tried, first and then
SLACK = 0.005  # of the latency, for a smaller folding
SHARE = 1000  # parts of a frame in which fill is counted
RATE = "rate"  # what binds where no resource does, but the cycles a frame that were asked for

Pins = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Chosen:
    """An option for each part; ``binding`` finds out what more of would make it better: see `binding`."""

    options: tuple[Option, ...]
    binding: Callable[[], str | None]


def all_options(some: Sequence[Part], *, budget: Budget, pins: Pins, steady: bool = False) -> list[list[Option]]:
    """The options of each part within twice the budget, as `choose` takes them, or ``steady`` as `at_rate` does."""
    doubled = replace(budget, **{r: 2 * getattr(budget, r) for r in RESOURCES})
    return [options(part, budget=doubled, wishes=pins.get(part.name, {}), steady=steady) for part in some]


def choose(
    name: str,
    some: Sequence[Part],
    wide: Sequence[Sequence[Option]],
    *,
    budget: Budget,
    pins: Pins,
    beats: int,
) -> Chosen:
    """Those of the ``wide`` options for each part with which the last output comes soonest.

    Raises FoldingError, which names the resource and the part, where nothing fits.
    """
    choices = [[o for o in found if o.cost.fits(budget)] for found in wide]
    reckoner = Reckoner(some, beats)
    first = solve(reckoner, choices, budget) if all(choices) else None
    if first is None:
        raise FoldingError(explain(name, some, budget=budget, pins=pins))
    end = math.ceil(reckoner.end(first) * (1 + SLACK))
    smaller = solve(reckoner, choices, budget, within=end, known=first)
    return Chosen(tuple(smaller or first), lambda: binding(reckoner, wide, budget))


def binding(
    reckoner: Reckoner, wide: Sequence[Sequence[Option]], budget: Budget, *, rate: int | None = None
) -> str | None:
    """The resource of which twice as much would save most, as far as bounds say; None where it is less than 2 %.

    What is saved are cycles. With a ``rate`` it is area, and that may be what binds: `RATE`, where twice as many cycles
    a frame would save most.
    """
    asked = () if rate is None else (RATE,)
    bounds = {}
    for key in (None, *asked, *RESOURCES):
        more = replace(budget, **{key: 2 * getattr(budget, key)}) if key in RESOURCES else budget
        most = math.inf if rate is None else 2 * rate if key == RATE else rate
        some = [[o for o in found if o.cost.fits(more) and o.work <= most] for found in wide]
        relaxed = relax(reckoner, some, more, within=None if rate is None else math.inf)
        bounds[key] = relaxed.bound if relaxed else math.inf
    best = min((*asked, *RESOURCES), key=lambda key: bounds[key])
    return best if bounds[best] < 0.98 * bounds[None] else None


def used(some: Sequence[Option], resource: str) -> float:
    """What options take of a resource together."""
    return sum(getattr(o.cost, resource) for o in some)


def solve(
    reckoner: Reckoner,
    choices: Sequence[Sequence[Option]],
    budget: Budget,
    *,
    within: float | None = None,
    known: Sequence[Option] | None = None,
) -> list[Option] | None:
    """The options that end soonest, or the smallest that end ``within`` so many cycles; None where nothing fits.

    A dive finds a first folding, CP-SAT a better one of the options that come near the best mixture, and then one of
    all that could be part of such. ``known`` is an answer already.
    """
    relaxed = relax(reckoner, choices, budget, within=within)
    if relaxed is None:
        return list(known) if known is not None else None

    def value(picked: Sequence[Option]) -> float:
        return reckoner.end(picked) if within is None else sum(area(o.cost) for o in picked)

    def nearer(most: float) -> list[list[Option]]:
        """The options that cost at most so much more than the mixture, and those of the best folding so far."""
        best: Sequence[Option | None] = known or [None] * len(choices)
        return [
            [o for o, extra in zip(found, above, strict=True) if extra <= most or o is own]
            for found, above, own in zip(choices, relaxed.above, best, strict=True)
        ]

    tried = 0
    found = dive(reckoner, choices, budget, within=within)
    if found is not None and (known is None or value(found) < value(known)):
        known = found
    for gap in GAPS:
        some = nearer(max(gap * relaxed.bound, 1e-6))
        tried = sum(map(len, some))
        if all(some) and (found := search(reckoner, some, budget, within=within, hint=known)) is not None:
            known = found
            break
    if known is None:
        return None
    rest = nearer(value(known) - relaxed.bound)
    if sum(map(len, rest)) > tried:
        known = search(reckoner, rest, budget, within=within, hint=known) or known
    return list(known)


def search(
    reckoner: Reckoner,
    choices: Sequence[Sequence[Option]],
    budget: Budget,
    *,
    within: float | None,
    hint: Sequence[Option] | None,
) -> list[Option] | None:
    """What CP-SAT finds for `solve`; a hint that nothing better was found than is as good an answer."""
    model = cp_model.CpModel()
    picks: list[list[cp_model.IntVar]] = []
    horizon = reckoner.beats + sum(max(o.work + o.tail + o.lag for o in found) for found in choices)
    moments: list[tuple[cp_model.IntVar, ...]] = []
    for i, (part, found) in enumerate(zip(reckoner.parts, choices, strict=True)):
        chosen = [model.new_bool_var("") for _ in found]
        model.add_exactly_one(chosen)
        picks.append(chosen)
        if hint is not None:
            for option, variable in zip(found, chosen, strict=True):
                model.add_hint(variable, option is hint[i])
        start, late, end = (model.new_int_var(0, horizon, "") for _ in range(3))

        def sum_of(values: Sequence[int], chosen: list[cp_model.IntVar] = chosen) -> cp_model.LinearExpr:
            return cp_model.LinearExpr.weighted_sum(chosen, values)

        first = [round(o.work * reckoner.before[i]) for o in found]
        model.add(late >= start + sum_of(first))
        model.add(end >= late + sum_of([o.work - part_ for o, part_ in zip(found, first, strict=True)]))
        lag = sum_of([o.lag for o in found])
        for source in part.sources:
            for moment, share in zip((start, late), reckoner.demands[i], strict=True):
                if source < 0:
                    model.add(moment >= math.ceil(share * reckoner.beats) + lag)
                    continue
                *earlier, later = (math.floor(weight * SHARE) for weight in reckoner.moment(source, share))
                weights = [*earlier, SHARE - sum(earlier)] if later else [earlier[0], SHARE - earlier[0], 0]
                given = cp_model.LinearExpr.weighted_sum(moments[source], weights)
                model.add(SHARE * moment >= given + SHARE * lag)
            ended = moments[source][-1] if source >= 0 else reckoner.beats
            model.add(end >= ended + sum_of([o.tail for o in found]))
        moments.append((start, late, end))

    flat = [variable for chosen in picks for variable in chosen]
    costs = [option.cost for found in choices for option in found]
    for resource in RESOURCES:
        amounts = [math.ceil(2 * getattr(cost, resource)) for cost in costs]  # halves of block RAM count
        limit = math.floor(2 * getattr(budget, resource))
        model.add(cp_model.LinearExpr.weighted_sum(flat, amounts) <= limit)
    if within is not None:
        if within < horizon:
            model.add(moments[-1][-1] <= math.floor(within))
        model.minimize(cp_model.LinearExpr.weighted_sum(flat, [round(area(cost)) for cost in costs]))
    else:
        model.minimize(moments[-1][-1])

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.catch_sigint_signal = False  # else Ctrl-C ends Python without cleaning up ever after
    solver.parameters.random_seed = 1
    solver.parameters.linearization_level = 2  # the programs that it bounds with know the starts and ends as well
    solver.parameters.max_deterministic_time = EFFORT
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
