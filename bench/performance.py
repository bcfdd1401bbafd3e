"""Performance mode: five inputs, each inferred often enough to fill a window of time; the median counts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.client import Client
from bench.device import Outcome, cycle_counters, run_input
from bench.errors import BenchError
from bench.reference import Expected
from bench.results import Cycles

INPUTS = 5
WARMUP = 10
MOST_INFERENCES = 10**9


@dataclass(frozen=True)
class WindowLength:
    """How long a window lasts by the device's clock, in microseconds: at least ``least``, less than ``below``."""

    least: int
    below: int


BOARD_WINDOW = WindowLength(10_000_000, 30_000_000)  # MLPerf Tiny's rule
SIMULATED_WINDOW = WindowLength(5_000, 15_000)  # 5 ms: a simulated cycle costs what 30 of a board do, and all are alike


@dataclass(frozen=True)
class Window:
    """``inferences`` of one input in ``elapsed_us``."""

    inferences: int
    elapsed_us: int

    @property
    def latency_us(self) -> float:
        return self.elapsed_us / self.inferences


@dataclass(frozen=True)
class Performance:
    """What performance mode measured. ``exact``: for each input, whether its output equals the reference's."""

    windows: tuple[Window, ...]
    cycles: Cycles
    exact: tuple[bool | None, ...]

    @property
    def latency_us(self) -> float:
        """Median over the windows."""
        return statistics.median(window.latency_us for window in self.windows)


def measure(
    client: Client,
    inputs: Sequence[bytes],
    *,
    length: WindowLength,
    expected: Sequence[Expected] | None = None,
    on_window: Callable[[int, Window], None] = lambda number, window: None,
) -> Performance:
    """Time ``INPUTS`` inputs.

    ``on_window`` is called with each window's number (from 1) as it is done. Raises `BenchError`.
    """
    if len(inputs) != INPUTS:
        raise ValueError(f"performance mode takes {INPUTS} inputs, not {len(inputs)}")
    inferences = calibrate(client, inputs[0], length)
    windows: list[Window] = []
    exact: list[bool | None] = []
    for number, data in enumerate(inputs, 1):
        wanted = expected[number - 1] if expected is not None else None
        window, outcome = take_window(client, data, inferences, length, wanted)
        inferences = window.inferences
        windows.append(window)
        exact.append(outcome.exact)
        on_window(number, window)
    return Performance(tuple(windows), cycle_counters(client), tuple(exact))


def calibrate(client: Client, data: bytes, length: WindowLength) -> int:
    """How many inferences fill a window, by trying ever more until a trial is long enough to count on."""
    inferences = 1
    while True:
        elapsed = run_input(client, data, inferences=inferences, warmup=1).inference.elapsed_us
        if elapsed * 20 >= length.least:
            return enough(Window(inferences, elapsed), length)
        if inferences >= MOST_INFERENCES:
            raise no_clock(client, inferences, elapsed)
        # A tenth of a window next; the first trials are shorter than the clock's microsecond can tell, so step by step.
        inferences = min(
            math.ceil(inferences * length.least / 10 / max(elapsed, 1)), inferences * 1000, MOST_INFERENCES
        )


def enough(trial: Window, length: WindowLength) -> int:
    """Inferences for a window 10 % longer than it must be, at the trial's pace."""
    return max(1, math.ceil(1.1 * length.least / trial.latency_us))


def take_window(
    client: Client, data: bytes, inferences: int, length: WindowLength, expected: Expected | None
) -> tuple[Window, Outcome]:
    """One window of the right length; a window that is not is taken again with another number of inferences."""
    for _ in range(3):
        outcome = run_input(client, data, inferences=inferences, warmup=min(WARMUP, inferences), expected=expected)
        window = Window(inferences, outcome.inference.elapsed_us)
        long_enough = window.elapsed_us >= length.least
        if long_enough and (window.elapsed_us < length.below or inferences == 1):
            return window, outcome
        if window.elapsed_us == 0:
            break
        inferences = enough(window, length)
    raise no_clock(client, window.inferences, window.elapsed_us)


def no_clock(client: Client, inferences: int, elapsed_us: int) -> BenchError:
    return BenchError(
        f"{client.port}: {inferences} inferences took {elapsed_us} µs by the device's clock, which does not hold "
        "still; see that the firmware's timer runs at the clock it was built for"
    )
