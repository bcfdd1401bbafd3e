"""`headrace run`: the simulated board, for any serial program to talk to."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from headrace import flow
from headrace.options import Board, Engine, Model, Out
from headrace.target import Target, TargetError
from models.registry import DEFAULT


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    engine: Engine = "stream",
    out: Out = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 is a free one.")] = 0,
) -> None:
    """Build what is missing and leave the simulated board running until Ctrl-C; prints its TCP port and terminal."""
    target = Target.of(model, board=board, engine=engine, out=out)
    if not target.board.simulated:
        raise TargetError(f"run is for the simulated board; `headrace load --board {board}` puts a build onto this one")
    flow.build(target)
    typer.echo(
        "Simulated board, until Ctrl-C. Talk to it with any serial program, for instance pyserial's: "
        "python -m serial.tools.miniterm --eol CR socket://127.0.0.1:PORT"
    )
    # Nothing is left to do here, so the simulator takes this process over, with its signals and its exit status.
    os.execv(target.simulator, [str(target.simulator), "--pty", "--port", str(port)])
