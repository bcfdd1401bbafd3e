"""`headrace models`: what MODEL may be."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from models import registry


def main() -> None:
    """List the registered models: task, size, samples, expected quality, licence."""
    table = Table("model", "task", "MACs", "expected", "samples", "licence", "", box=None)
    for entry in registry.all():
        expected = ", ".join(f"{value:.2%}" for value in entry.accuracy.values()) or "–"
        macs = f"{entry.macs:,}" if entry.macs else "–"
        note = "shipped" if entry.trained_here else entry.format
        name = f"[bold]{entry.name}[/bold]" if entry.name == registry.DEFAULT else entry.name
        table.add_row(name, entry.task, macs, expected, ", ".join(entry.datasets) or "–", entry.licence, note)
    Console().print(table)
