"""What a built design is: the bitstream, its clocks, what it takes of the device, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolchain import timing, yosys


class ImplementationError(RuntimeError):
    """No bitstream; the message says which step failed, why, and where its log is."""


class TimingError(ImplementationError):
    """The routed design misses a clock; ``report`` is of that design, which has no bitstream."""

    def __init__(self, message: str, report: ImplementationReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class SeedResult:
    """One seed: what place and route made of it, or the ``error`` it ended with. ``margin``: see `timing.Routed`."""

    seed: int
    seconds: float
    margin: float = 0.0
    clocks: tuple[timing.Clock, ...] = ()
    error: str = ""

    @classmethod
    def of(cls, data: dict[str, Any]) -> SeedResult:
        """From `dataclasses.asdict` of one, as JSON keeps it."""
        return cls(**data | {"clocks": tuple(timing.Clock(**each) for each in data["clocks"])})


@dataclass(frozen=True)
class ImplementationReport:
    """A built design. ``clocks`` worst first, ``paths`` slowest first, of the best seed.

    ``bitstream`` is its file, None where only place and route were asked for.
    ``utilization`` by lut, ff, bram36, dsp against the whole device;
    ``synthesis`` is Yosys' own count. ``seconds`` by step, of the run that did it.
    ``patched``: only what block memories hold is new, place and route are those of an earlier build.
    """

    bitstream: str | None
    device: str
    seed: int
    clocks: tuple[timing.Clock, ...]
    paths: tuple[timing.CriticalPath, ...]
    utilization: dict[str, timing.Use]
    synthesis: yosys.Resources | None
    seeds: tuple[SeedResult, ...]
    seconds: dict[str, float]
    tools: dict[str, str]
    logs: dict[str, str]
    patched: bool

    @property
    def met(self) -> bool:
        """Whether every clock reaches what it has to."""
        return all(clock.met for clock in self.clocks)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> ImplementationReport:
        data = json.loads(path.read_text())
        data["clocks"] = tuple(timing.Clock(**each) for each in data["clocks"])
        data["paths"] = tuple(_path(each) for each in data["paths"])
        data["utilization"] = {name: timing.Use(**each) for name, each in data["utilization"].items()}
        data["synthesis"] = yosys.Resources(**data["synthesis"]) if data["synthesis"] else None
        data["seeds"] = tuple(SeedResult.of(each) for each in data["seeds"])
        return cls(**data)


def _path(data: dict[str, Any]) -> timing.CriticalPath:
    hops = tuple(timing.Hop(**hop) for hop in data["hops"])
    return timing.CriticalPath(data["start"], data["end"], hops, tuple(data["through"]))


def speeds(clocks: Sequence[timing.Clock]) -> str:
    """The clocks in a line: what each reaches of what it has to."""
    if not clocks:
        return "no clocks"
    return ", ".join(f"{c.name} {c.achieved_hz / 1e6:.1f} MHz of {c.required_hz / 1e6:.1f}" for c in clocks)


def check_timing(report: ImplementationReport, *, log: Path, allow_fail: bool, seeds: int = 0) -> None:
    """Raise `TimingError`, with the critical path, where a clock is missed and that is not allowed.

    ``seeds``: how many came through, of a flow that has seeds. Raises `ImplementationError` where registers have no
    clock, as then ``log`` was not understood.
    """
    if not report.clocks and report.utilization.get("ff", timing.Use(0, 0)).used:
        raise ImplementationError(f"timing: no clock is told of a design with registers (log: {log})")
    missed = ", ".join(
        f"{c.name} reaches {c.achieved_hz / 1e6:.1f} of {c.required_hz / 1e6:.1f} MHz"
        for c in report.clocks
        if not c.met
    )
    if missed and not allow_fail:
        worst = next((path for path in report.paths if path.start == report.clocks[0].name), None)
        swept, more = (f" with seed {report.seed}, the best of {seeds}", ", more SEEDS") if seeds else ("", "")
        raise TimingError(
            f"timing: {missed}{swept}. Critical path: {worst or 'not reported'}. "
            f"A lower clock{more}, or ALLOW_TIMING_FAIL=1 to take it as it is (log: {log})",
            report,
        )
