"""`headrace route`: the accelerator alone through place and route, for the clock that it reaches."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

import bench
import boards
from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Model, Out, Seeds
from headrace.steps import Runner
from headrace.target import Target, TargetError
from models.registry import DEFAULT
from soc.alone import TOP, generate_alone
from toolchain.device import Device
from toolchain.flow import implement


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "ulx3s",
    engine: Engine = "stream",
    out: Out = None,
    mhz: Annotated[float, typer.Option(min=1, help="What the clock has to reach.")] = 100.0,
    seeds: Seeds = 1,
    allow_timing_fail: AllowTimingFail = None,
) -> None:
    """Place and route the accelerator without the SoC around it, and show its clock and critical path.

    It is folded for what the SoC leaves of the board. A clock that is missed is a failure.
    """
    target = Target.of(model, board=board, engine=engine, out=out)
    if target.board.flow != "open":
        routed = [name for name in boards.names() if boards.find(name).flow == "open"]
        raise TargetError(f"only boards of the open flow are routed: --board {' or '.join(routed)}")
    runner = Runner(target.out_dir, typer.echo)
    folder = target.out_dir / "alone"
    with runner.locked():
        runner.run(flow.compile_step(target))
        clock_hz, device = mhz * 1e6, Device.of(target.board.device)
        verilog = generate_alone(
            folder, board=target.board, accelerator=target.model_dir / "accelerator.v", clock_hz=clock_hz
        )
        report = implement(
            [verilog],
            top=TOP,
            device=device,
            constraints=(folder / f"{TOP}{device.constraints_suffix}").read_text(),
            clock_hz=clock_hz,
            out_dir=folder / "routing",
            seeds=seeds or 1,
            allow_timing_fail=bool(allow_timing_fail),
            pack=False,
            say=typer.echo,
        )
    bench.print_implementation(Console(), report)
