"""`headrace load`: a build onto its board."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Flow, Model, Out, Seeds
from headrace.target import Target
from models.registry import DEFAULT
from toolchain import usb


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    engine: Engine = "stream",
    out: Out = None,
    flow_name: Flow = None,
    seeds: Seeds = None,
    allow_timing_fail: AllowTimingFail = None,
    flash: Annotated[bool, typer.Option("--flash", help="Into the memory that the board starts from.")] = False,
) -> None:
    """Build what is missing and put it onto its board, until power goes or, with --flash, for good."""
    target = Target.of(model, board=board, engine=engine, out=out, flow=flow_name)
    flow.build(target, flow.Told(flow_name, seeds, allow_timing_fail), again=True)
    if target.board.programmer is None:
        typer.echo(
            f"The simulated board needs no loading: {target.simulator} is built with gateware and firmware inside, "
            "`headrace run` starts it and prints its serial port, and `headrace bench` starts one of its own."
        )
        return
    usb.load(target.bitstream, programmer=target.board.programmer, flash=flash)
    typer.echo(f"{target.board.title}: {target.bitstream} is {'in its flash memory' if flash else 'loaded'}")
