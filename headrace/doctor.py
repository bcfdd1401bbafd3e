"""`headrace doctor`: each tool, where it was found, and how to get the one that is missing."""

from __future__ import annotations

import os
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from toolchain.find import check_all


def main() -> None:
    """List each tool, which jobs need it, where it was found, how to get it. Fails when a required one is missing."""
    console = Console()
    table = Table("tool", "version", "found", "for", box=None)
    checks = check_all()
    for check in checks:
        name = check.tool.name
        if check.found:
            table.add_row(f"[green]{name}", check.found.version, check.found.where, check.tool.jobs)
        else:
            table.add_row(f"[{'red' if check.tool.required else 'yellow'}]{name}", "–", check.reason, check.tool.jobs)
    console.print(table)
    for check in checks:
        if not check.found:
            word = "missing" if check.tool.required else "optional"
            console.print(f"{word}: {check.tool.name}: {check.tool.get}", soft_wrap=True)
    data = os.environ.get("HEADRACE_DATA")
    state = "not set: models and samples are fetched from their addresses"
    if data:
        state = data if Path(data).is_dir() else f"{data}: no such folder"
    console.print(f"HEADRACE_DATA: {state}", soft_wrap=True)
    if lacking := [check.tool.name for check in checks if check.tool.required and not check.found]:
        raise RuntimeError(f"{', '.join(lacking)} missing; see above for how to get it")
    typer.echo("All that `make BOARD=sim bench` and `make test` need is there.")
