"""`headrace build`: everything a board needs, step by step."""

from __future__ import annotations

import typer

import bench
from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Flow, Model, Out, Seeds
from headrace.target import Target
from models.registry import DEFAULT


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    engine: Engine = "stream",
    out: Out = None,
    flow_name: Flow = None,
    seeds: Seeds = flow.SEEDS,
    allow_timing_fail: AllowTimingFail = False,
) -> None:
    """Model file to Verilog, SoC, firmware and simulator or bitstream. What is up to date is not done again."""
    target = Target.of(model, board=board, engine=engine, out=out, flow=flow_name)
    flow.build(target, seeds=seeds, allow_timing_fail=allow_timing_fail)
    if not target.board.simulated:
        typer.echo(bench.write_report(model_dir=target.model_dir, out_dir=target.out_dir))
    typer.echo(f"{target.out_dir} is up to date")
