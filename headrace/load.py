"""`headrace load`: a build onto its board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Flow, Model, Out, Seeds
from headrace.target import Target, TargetError
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
    bitstream: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Build nothing, but take this bitstream, which was made elsewhere."),
    ] = None,
) -> None:
    """Build what is missing and put it onto its board, until power goes or, with --flash, for good."""
    target = Target.of(model, board=board, engine=engine, out=out, flow=flow_name)
    if bitstream is not None and target.board.simulated:
        raise TargetError("--bitstream is for a board with an FPGA, not for the simulated one")
    if bitstream is not None and not bitstream.is_file():
        raise TargetError(f"{bitstream}: there is no such bitstream")
    if target.board.simulated:
        flow.build(target)
        typer.echo(
            f"The simulated board needs no loading: {target.simulator} is built with gateware and firmware inside, "
            "`headrace run` starts it and prints its serial port, and `headrace bench` starts one of its own."
        )
        return
    if target.board.programmer is None:
        raise usb.UsbError(
            f"{target.board.title}: openFPGALoader's name for it (openFPGALoader --list-boards) is missing in its file "
            "in boards/, as programmer=; until it is there, load what `headrace build` makes with a program of your own"
        )
    loader = usb.find_loader()  # before a build that may take an hour
    if bitstream is None:
        flow.build(target, flow.Told(flow_name, seeds, allow_timing_fail), again=True)
        bitstream = target.bitstream
    log = target.out_dir / "logs" / "load.log"
    usb.load(bitstream, loader=loader, programmer=target.board.programmer, log=log, flash=flash)
    typer.echo(f"{target.board.title}: {bitstream} is {'in its flash memory' if flash else 'loaded'}")
