"""`headrace report`: report.html from what was measured before."""

from __future__ import annotations

import typer

import bench
from headrace.options import Board, Engine, Model, Out
from headrace.target import Target
from models.registry import DEFAULT


def main(model: Model = DEFAULT, *, board: Board = "sim", engine: Engine = "stream", out: Out = None) -> None:
    """Draw report.html again: the pipeline, cycles and resources a layer, latency."""
    target = Target.of(model, board=board, engine=engine, out=out)
    typer.echo(bench.write_report(model_dir=target.model_dir, out_dir=target.out_dir))
