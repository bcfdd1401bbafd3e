"""`headrace synth`: the accelerator alone through Yosys, node by node, beside what was estimated."""

from __future__ import annotations

from typing import Annotated

import typer

import bench
from accel.manifest import Manifest
from headrace import flow, nodes
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
    """Synthesize the accelerator (or that of a compiled model's folder) with Yosys, and show it beside the estimate.

    Nodes are kept apart to be counted, which takes a few per cent more LUTs than a flat design. The resources go to
    results.json, too.
    """
    if family not in DEVICES:
        raise ValueError(f"--family must be one of {', '.join(DEVICES)}, not {family!r}")
    tool = yosys.find()
    if (compiled := nodes.compiled(model)) is not None:
        manifest, out_dir = Manifest.load(compiled), out or compiled
        folder, verilog = out_dir / "synthesis", compiled / "accelerator.v"
        runner = Runner(out_dir, typer.echo)
    else:
        target = Target.of(model, board=board, engine=engine, out=out)
        out_dir, folder, verilog = target.out_dir, target.out_dir / "synthesis", target.model_dir / "accelerator.v"
        runner = Runner(out_dir, typer.echo)
    with runner.locked():
        if compiled is None:
            runner.run(flow.compile_step(target))
            manifest = Manifest.load(target.model_dir)
        keep = [nodes.CORE, *map(nodes.module, manifest.pipeline)]
        runner.run(
            Step(
                "synthesis",
                f"{manifest.name} with {tool.kind} {tool.version} for {family}",
                folder,
                lambda: yosys.synthesize(verilog, nodes.TOP, family=family, out_dir=folder, keep=keep),
                inputs=[verilog],
                settings={"family": family},
                code=["toolchain"],
                tools={tool.kind: tool.version},
            )
        )
    report = yosys.SynthesisReport.load(folder / "report.json")
    total = report.total
    bench.record_step(
        out_dir,
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
    nodes.show(nodes.beside(manifest, report.modules, total))
