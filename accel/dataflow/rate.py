"""The least area at a rate: one option for each part, none of which takes longer for a frame than is asked for.

When things happen does not matter here, so the end of the last part has no limit, and area is what is made least.
Whether the pipeline keeps the rate, with all that waits for each other in it, `accel.dataflow.tokens` says afterwards.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from accel.dataflow.budget import Budget
from accel.dataflow.folding import FoldingError
from accel.dataflow.network import Chosen, Pins, binding, explain, solve
from accel.dataflow.options import Option
from accel.dataflow.parts import Part
from accel.dataflow.relax import Reckoner, dive


def at_rate(
    name: str,
    some: Sequence[Part],
    wide: Sequence[Sequence[Option]],
    *,
    budget: Budget,
    pins: Pins,
    beats: int,
    rate: int,
) -> Chosen:
    """The smallest of the ``wide`` options for each part that take a frame every ``rate`` cycles.

    Raises FoldingError, which names the part that is too slow, the rate that is within the budget, or what does not fit
    at any rate.
    """
    choices = [[o for o in found if o.cost.fits(budget)] for found in wide]
    if not all(choices):
        raise FoldingError(explain(name, some, budget=budget, pins=pins))
    fastest = [min(o.work for o in found) for found in choices]
    slowest = max(range(len(some)), key=lambda i: fastest[i])
    if fastest[slowest] > rate:
        raise FoldingError(
            f"{some[slowest].name}: cannot take a frame every {rate} cycles within {budget.name}; "
            f"every {fastest[slowest]} at best"
        )
    reckoner = Reckoner(some, beats)
    picked = solve(reckoner, no_slower(choices, rate), budget, within=math.inf)
    if picked is None:
        within = reachable(reckoner, choices, budget)
        if within is None:
            raise FoldingError(explain(name, some, budget=budget, pins=pins))
        raise FoldingError(
            f"{name}: no folding within {budget.name} takes a frame every {rate} cycles; without FIFOs it fits from "
            f"{within} on"
        )
    return Chosen(tuple(picked), lambda: binding(reckoner, wide, budget, rate=rate))


def no_slower(choices: Sequence[Sequence[Option]], rate: int) -> list[list[Option]]:
    """The options that take a frame every ``rate`` cycles."""
    return [[o for o in found if o.work <= rate] for found in choices]


def reachable(reckoner: Reckoner, choices: Sequence[Sequence[Option]], budget: Budget) -> int | None:
    """The fewest cycles a frame for which a dive finds a folding; None where there are none for any number."""
    works = sorted({o.work for found in choices for o in found})

    def fits(work: int) -> bool:
        some = no_slower(choices, work)
        return all(some) and dive(reckoner, some, budget, within=math.inf) is not None

    at = bisect_left(works, True, key=fits)
    return works[at] if at < len(works) else None
