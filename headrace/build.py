"""`headrace build`: everything a board needs, step by step."""

from __future__ import annotations

import typer

import bench
from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Flow, Model, Out, Seeds
from headrace.target import Target
from models.registry import DEFAULT
from toolchain.implementation import TimingError


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    engine: Engine = "stream",
    out: Out = None,
    flow_name: Flow = None,
    seeds: Seeds = None,
    allow_timing_fail: AllowTimingFail = None,
) -> None:
    """Model file to Verilog, SoC, firmware and simulator or bitstream. What is up to date is not done again."""
    target = Target.of(model, board=board, engine=engine, out=out, flow=flow_name)
    try:
        flow.build(target, flow.Told(flow_name, seeds, allow_timing_fail))
    except TimingError:
        report(target)
        raise
    if not target.board.simulated:
        report(target)
    typer.echo(f"{target.out_dir} is up to date")


def report(target: Target) -> None:
    """What the FPGA's build came to, as a page."""
    typer.echo(bench.write_report(model_dir=target.model_dir, out_dir=target.out_dir))
