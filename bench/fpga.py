"""The built FPGA for a person: utilization against the device, clocks, seeds, critical path, time a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from bench.results import STEPS
from toolchain.implementation import ImplementationReport
from toolchain.timing import CriticalPath, owner

REPORT = Path("bitstream") / "report.json"
LABELS = {
    "xc7": {"lut": "LUT", "ff": "FF", "bram36": "BRAM36", "dsp": "DSP48E1"},
    "lfe5": {"lut": "LUT4", "ff": "FF", "bram36": "BRAM36", "dsp": "MULT18"},
}
SHARE_FULL = 0.9  # of a resource: above it placing and routing become hard
BAR = 30  # characters in the terminal


@dataclass(frozen=True)
class Bar:
    """A horizontal bar: ``percent`` of the full width, a text at its end; ``kind`` chooses its colour."""

    name: str
    percent: float
    text: str
    kind: str = ""
    detail: str = ""


def load(out_dir: Path) -> ImplementationReport | None:
    """What place and route made of this build; None before, and while it is of an older state of the build."""
    if not (out_dir / STEPS / "bitstream.json").is_file() or not (out_dir / REPORT).is_file():
        return None
    return ImplementationReport.load(out_dir / REPORT)


def view(report: ImplementationReport | None) -> dict[str, Any] | None:
    """What the template shows of it."""
    if report is None:
        return None
    path = next(iter(report.paths), None)
    return {
        "device": report.device,
        "met": report.met,
        "seed": report.seed,
        "patched": report.patched,
        "utilization": utilization_bars(report),
        "clocks": clock_bars(report),
        "seeds": seed_bars(report) if len(report.seeds) > 1 else [],
        "path": path and {"text": str(path), "start": path.start, "end": path.end, "bars": path_bars(path)},
    }


def utilization_bars(report: ImplementationReport) -> list[Bar]:
    """Each resource against the whole device."""
    family = next((name for name in LABELS if report.device.lower().startswith(name)), "xc7")
    bars = []
    for name, use in report.utilization.items():
        share = use.used / use.available if use.available else 0.0
        kind = "bad" if share > SHARE_FULL else ""
        detail = f"{use.used:,.10g} of {use.available:,.10g}"
        bars.append(Bar(LABELS[family].get(name, name), 100 * min(share, 1), f"{100 * share:.0f} %", kind, detail))
    return bars


def clock_bars(report: ImplementationReport) -> list[Bar]:
    """What each clock reaches of what it has to; a full bar is met."""
    return [
        Bar(
            clock.name,
            100 * min(clock.achieved_hz / clock.required_hz, 1),
            f"{clock.achieved_hz / 1e6:.1f} MHz",
            "" if clock.met else "bad",
            f"{'meets' if clock.met else 'misses'} {clock.required_hz / 1e6:.1f} MHz, as routed",
        )
        for clock in report.clocks
    ]


def seed_bars(report: ImplementationReport) -> list[Bar]:
    """The worst clock of each seed; where one did not come through, why."""
    reached = [min((c.achieved_hz for c in seed.clocks), default=0.0) for seed in report.seeds]
    fastest = max(reached) or 1
    return [
        Bar(
            f"seed {seed.seed}",
            100 * hertz / fastest,
            "failed" if seed.error else f"{hertz / 1e6:.1f} MHz",
            "" if seed.seed == report.seed else "soft",
            seed.error[:80] or f"{seed.seconds:,.0f} s",
        )
        for seed, hertz in zip(report.seeds, reached, strict=True)
    ]


def path_bars(path: CriticalPath) -> list[Bar]:
    """The critical path in the design's own names: what each takes in logic, and in routing.

    What Yosys made up belongs to the name before it. Modules that all names are in are left out.
    """
    pieces: list[tuple[str, dict[str, float]]] = []
    for hop in path.hops:
        name = owner(hop.name) or (pieces[-1][0] if pieces else "made by Yosys")
        if not pieces or pieces[-1][0] != name:
            pieces.append((name, {}))
        kind = "second" if hop.kind == "routing" else ""
        pieces[-1][1][kind] = pieces[-1][1].get(kind, 0.0) + hop.delay_ns
    names = [name.split(".") for name, _ in pieces]
    shared = 0
    while names and all(len(parts) > shared + 1 and parts[shared] == names[0][shared] for parts in names):
        shared += 1
    longest = max((delay for _, delays in pieces for delay in delays.values()), default=0.0) or 1
    return [
        Bar(".".join(parts[shared:]), 100 * delay / longest, f"{delay:.1f} ns", kind)
        for parts, (_, delays) in zip(names, pieces, strict=True)
        for kind, delay in delays.items()
    ]


def step_bars(seconds: Mapping[str, float]) -> list[Bar]:
    """Time a step, of the run that did it."""
    longest = max(seconds.values(), default=0.0) or 1
    return [Bar(name, 100 * value / longest, duration(value)) for name, value in seconds.items()]


def duration(seconds: float) -> str:
    """Seconds for a reader: 0.4 s, 59 s, 12 min 5 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def print_report(console: Console, report: ImplementationReport) -> None:
    """The same in the terminal, without the pieces of the path."""
    table = Table(title=f"{report.device}, seed {report.seed}", title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(width=BAR)
    table.add_column(justify="right")
    table.add_column(style="dim")
    for bar in [*utilization_bars(report), *clock_bars(report)]:
        style = "red" if bar.kind == "bad" else "cyan"
        drawn = ProgressBar(total=100, completed=bar.percent, width=BAR, complete_style=style, finished_style=style)
        table.add_row(bar.name, drawn, bar.text, bar.detail)
    console.print(table)
    if report.paths:
        console.print(f"critical path: {report.paths[0]}", markup=False, highlight=False, soft_wrap=True)
    steps = ", ".join(f"{name} {duration(value)}" for name, value in report.seconds.items())
    console.print(f"[dim]{steps}[/dim]", highlight=False)
