"""`headrace compile`: model file to Verilog, memory images, and estimates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from accel.manifest import Manifest
from headrace import flow
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
) -> None:
    """Compile a model to Verilog and memory images, and estimate cycles and resources."""
    target = Target.of(model, board=board, engine="stream")
    wanted: dict[str, Any] = {"lut": lut, "dsp": dsp, "bram36": bram}
    if limits := {name: value for name, value in wanted.items() if value is not None}:
        if out is None:
            raise ValueError("a budget of your own needs a folder of its own: add -o DIR")
        target = replace(target, board=replace(target.board, budget=replace(target.board.budget, **limits)))
    if out is None:
        runner = Runner(target.out_dir, typer.echo)
        with runner.locked():
            runner.run(flow.compile_step(target))
        out = target.model_dir
    else:
        flow.compile_into(target, out, typer.echo)
    manifest = Manifest.load(out)
    console = Console(soft_wrap=True, highlight=False)
    console.print(describe(manifest))
    bound = f", bound by {manifest.budget.binding}" if manifest.budget.binding else ""
    console.print(f"{out}: {manifest.estimate.cycles:,} cycles estimated{bound}; hash {manifest.hash}")


def describe(manifest: Manifest) -> Table:
    """A row a hardware node, and their sum."""
    table = Table("node", "layers", "PE × SIMD", "cycles", "LUT", "FF", "BRAM36", "DSP", box=None)
    for node in manifest.pipeline:
        layers = ", ".join(f"{layer.inputs}→{layer.outputs}" for layer in node.layers) or node.kind
        size = f"{node.pe} × {node.simd}" if node.pe else ""
        table.add_row(node.node, layers, size, *numbers(node))
    table.add_row("all", "", "", *numbers(manifest.estimate))
    return table


def numbers(found: object) -> list[str]:
    """Cycles and resources, as cells."""
    return [f"{getattr(found, name):,g}" for name in ("cycles", "lut", "ff", "bram36", "dsp")]
