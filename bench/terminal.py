"""What the user sees in the terminal: a progress bar while it runs, a table at the end."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bench.published import published_for
from bench.results import Results


def progress_bar(console: Console) -> Progress:
    """A bar with counts, time gone, time to go and a note (the task's field ``note``)."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def microseconds(value: float) -> str:
    """A time with a unit that keeps it readable: 5.12 µs, 1.3 ms, 2.1 s."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value * 1000:.3g} ns"


def measurements(results: Results) -> list[tuple[str, str]]:
    """The headline numbers as (name, text), only those that were measured."""
    rows: list[tuple[str, str]] = []
    if results.latency_us is not None:
        rows.append(("latency, median", microseconds(results.latency_us.median)))
        rows.append(("throughput", f"{results.throughput_inf_per_s:,.0f} inferences/s"))
    if results.cycles is not None:
        cycles = results.cycles
        text = f"{cycles.accelerator:,} core, {cycles.face:,} with DMA, {cycles.inference:,} as the CPU sees it"
        rows.append(("cycles", text))
    if results.accuracy is not None:
        rows.append(("Top-1", f"{100 * results.accuracy:.2f} %"))
    if results.auc is not None:
        rows.append(("AUC", f"{results.auc:.4f}"))
    if results.energy_uj is not None:
        rows.append(("energy", f"{results.energy_uj:.4g} µJ an inference"))
    exact = results.bit_exact
    if exact.samples:
        equal = exact.samples - exact.mismatches
        rows.append(("equal to the reference", f"{equal:,} of {exact.samples:,} samples, every integer"))
    if results.golden is not None:
        equal = results.golden.samples - results.golden.mismatches
        rows.append(("equal to the golden outputs", f"{equal:,} of {results.golden.samples:,} samples, every class"))
    return rows


def resources(found: dict[str, Any]) -> str:
    """What the accelerator takes of the device, and at which stage that was counted."""
    counts = f"{found['lut']:,} LUT, {found['ff']:,} FF, {found['bram36']:g} BRAM36, {found['dsp']:,} DSP48E1"
    return f"{counts} ({found['stage']})"


def print_results(console: Console, results: Results, task: str) -> None:
    """The table at the end of a run, and published numbers to stand beside."""
    table = Table(
        title=f"{results.model} on {results.board}, engine {results.engine}", title_justify="left", show_header=False
    )
    table.add_column(style="bold")
    table.add_column()
    for name, text in measurements(results):
        table.add_row(name, text)
    if results.resources:
        table.add_row("resources", resources(results.resources))
    console.print(table)
    if results.latency_us is not None:
        console.print(f"[dim]{results.latency_us.note}[/dim]")
    published = published_for(results.model, task)
    if published:
        beside = Table(title="published, to stand beside", title_justify="left")
        for heading in ("what", "where", "latency", "accuracy", "source"):
            beside.add_column(heading)
        for entry in published:
            latency = microseconds(entry.latency_us) if entry.latency_us else ""
            quality = entry.quality or ""
            beside.add_row(entry.what, entry.where, latency, quality, entry.source)
        console.print(beside)
