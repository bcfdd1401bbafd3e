"""`headrace synth`: the accelerator alone through Yosys, and what it takes of a device."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import bench
from accel.manifest import Manifest
from headrace import flow
from headrace.options import Board, Engine, Model, Out
from headrace.steps import Runner, Step
from headrace.target import Target
from models.registry import DEFAULT
from toolchain import yosys

DEVICES = {"xc7": "xc7a100tcsg324-1", "ecp5": "LFE5U-85F"}


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    engine: Engine = "stream",
    out: Out = None,
    family: Annotated[str, typer.Option(help="xc7 (Artix-7) or ecp5.")] = "xc7",
) -> None:
    """Synthesize the accelerator with Yosys; the resources go to results.json, too."""
    if family not in DEVICES:
        raise ValueError(f"--family must be one of {', '.join(DEVICES)}, not {family!r}")
    target = Target.of(model, board=board, engine=engine, out=out)
    runner = Runner(target.out_dir, typer.echo)
    folder = target.out_dir / "synthesis"
    tool = yosys.find()
    with runner.locked():
        runner.run(flow.compile_step(target))
        verilog = target.model_dir / "accelerator.v"
        runner.run(
            Step(
                "synthesis",
                f"{target.entry.name} with {tool.kind} {tool.version} for {family}",
                folder,
                lambda: yosys.synthesize(verilog, "headrace", family=family, out_dir=folder),
                inputs=[verilog],
                settings={"family": family},
                code=["toolchain"],
                tools={tool.kind: tool.version},
            )
        )
    report = yosys.SynthesisReport.load(folder / "report.json")
    total = report.total
    bench.record_step(
        target.out_dir,
        "resources",
        resources={
            "device": DEVICES[family],
            "lut": total.lut,
            "ff": total.ff,
            "bram36": total.bram36,
            "dsp": total.dsp,
        }
        | {"stage": "synthesis"},
    )
    estimate = Manifest.load(target.model_dir).estimate
    table = Table("", "LUT", "FF", "BRAM36", "DSP", box=None)
    for name, found in ((f"synthesized, {family}", total), ("estimated", estimate)):
        table.add_row(name, f"{found.lut:,}", f"{found.ff:,}", f"{found.bram36:g}", f"{found.dsp:,}")
    Console().print(table)
