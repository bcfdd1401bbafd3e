"""`headrace compile`: model file to Verilog, memory images, and estimates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from accel.dataflow import pins
from accel.manifest import Manifest
from headrace import flow, nodes
from headrace.options import Board, Model
from headrace.steps import Runner
from headrace.target import Target
from models.registry import DEFAULT


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The folder to write. [default: build/BOARD-MODEL-stream/model]"
        ),
    ] = None,
    lut: Annotated[int | None, typer.Option(help="At most so many LUTs, instead of what the board has left.")] = None,
    dsp: Annotated[int | None, typer.Option(help="At most so many DSP slices.")] = None,
    bram: Annotated[float | None, typer.Option(help="At most so many 36-Kbit block RAMs.")] = None,
    objective: Annotated[str, typer.Option(help="latency of a frame, or area at a given --rate.")] = "latency",
    rate: Annotated[int | None, typer.Option(metavar="CYCLES", help="Area: a frame every so many cycles.")] = None,
    folding: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Choices that are made already: a folding.yaml, or a part of one."),
    ] = None,
) -> None:
    """Compile a model to Verilog and memory images, and estimate cycles and resources."""
    target = Target.of(model, board=board, engine="stream")
    wanted: dict[str, Any] = {"lut": lut, "dsp": dsp, "bram36": bram}
    limits = {name: value for name, value in wanted.items() if value is not None}
    if lut is not None:
        limits["array_lut"] = None
    wishes: dict[str, Any] = {"objective": objective, "rate": rate} if objective != "latency" or rate else {}
    if folding is not None:
        wishes["pins"] = pins.read(folding)
    if out is None and (limits or wishes):
        raise ValueError("a budget or a folding of your own needs a folder of its own: add -o DIR")
    if limits:
        target = replace(target, entry=replace(target.entry, limits=None))
        target = replace(target, board=replace(target.board, budget=replace(target.board.budget, **limits)))
    if out is None:
        runner = Runner(target.out_dir, typer.echo)
        with runner.locked():
            runner.run(flow.compile_step(target))
        out = target.model_dir
    else:
        flow.compile_into(target, out, typer.echo, **wishes)
    manifest = Manifest.load(out)
    console = Console(soft_wrap=True, highlight=False)
    nodes.show(nodes.table(manifest))
    bound = f", bound by {manifest.budget.binding}" if manifest.budget.binding else ""
    interval = f", a frame every {manifest.estimate.interval:,}" if manifest.estimate.interval else ""
    console.print(f"{out}: {manifest.estimate.cycles:,} cycles estimated{interval}{bound}; hash {manifest.hash}")
