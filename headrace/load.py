"""`headrace load`: a build onto its board."""

from __future__ import annotations

import typer

from headrace import flow
from headrace.options import Board, Engine, Model, Out
from headrace.target import Target
from models.registry import DEFAULT


def main(model: Model = DEFAULT, *, board: Board = "sim", engine: Engine = "stream", out: Out = None) -> None:
    """Put a build onto its board. The simulated board starts with its build inside: there is nothing to load."""
    target = Target.of(model, board=board, engine=engine, out=out)
    flow.build(target)
    typer.echo(
        f"The simulated board needs no loading: {target.simulator} is built with gateware and firmware inside, "
        "`headrace run` starts it and prints its serial port, and `headrace bench` starts one of its own."
    )
