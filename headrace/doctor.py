"""`headrace doctor`: each tool, where it was found, and how to get the one that is missing."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from toolchain.find import check_all


def main() -> None:
    """List each tool, where it was found, what needs it, how to get it. Fails when a required one is missing."""
    console = Console(soft_wrap=True, highlight=False)
    checks = check_all()
    names, versions = (
        max(map(len, column)) for column in zip(*[(c.tool.name, c.version) for c in checks], strict=True)
    )
    for check in checks:
        tool = check.tool
        colour = "green" if check.found else "red" if tool.required else "yellow"
        place = check.found.where if check.found else f"{check.reason} → {tool.get}"
        console.print(
            f"[{colour}]{tool.name:{names}}[/]  {check.version:{versions}}  {escape(place)}  [dim]for {tool.jobs}[/]"
        )
    data = os.environ.get("HEADRACE_DATA")
    state = "not set: models and samples are fetched from their addresses"
    if data:
        state = data if Path(data).is_dir() else f"{data}: no such folder"
    console.print(f"HEADRACE_DATA: {escape(state)}")
    if missing := [check.tool.name for check in checks if check.tool.required and not check.found]:
        raise RuntimeError(f"{', '.join(missing)} missing; the list above says how to get it")
    console.print("All that make bench and make test need is there.")
