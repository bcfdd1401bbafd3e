"""`headrace build`: everything a board needs, step by step."""

from __future__ import annotations

import typer

from headrace import flow
from headrace.options import Board, Engine, Model, Out
from headrace.target import Target
from models.registry import DEFAULT


def main(model: Model = DEFAULT, *, board: Board = "sim", engine: Engine = "stream", out: Out = None) -> None:
    """Model file to Verilog, SoC, firmware and simulator. What is up to date is not done again."""
    target = Target.of(model, board=board, engine=engine, out=out)
    flow.build(target)
    typer.echo(f"{target.out_dir} is up to date")
