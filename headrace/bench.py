"""`headrace bench`: the benchmark over the serial line, on a simulator of its own or at a given port."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import bench
from accel.manifest import Manifest
from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Flow, Model, Out, Seeds
from headrace.target import Target
from models import fetch
from models.download import FetchError
from models.registry import DEFAULT
from soc.simulator import Simulation
from toolchain import usb


def main(
    model: Model = DEFAULT,
    *,
    board: Board = "sim",
    engine: Engine = "stream",
    mode: Annotated[str, typer.Option(metavar="MODE", help="performance or accuracy.")] = "performance",
    out: Out = None,
    samples: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Samples: a folder with y_labels.csv, or another of the model's data sets."),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="PORT", help="A serial port or URL where the device already is (/dev/…, socket://…)."),
    ] = None,
    flow_name: Flow = None,
    seeds: Seeds = flow.SEEDS,
    allow_timing_fail: AllowTimingFail = False,
) -> None:
    """Build what is missing, benchmark as MLPerf Tiny does, and write results.json and report.html."""
    target = Target.of(model, board=board, engine=engine, out=out, flow=flow_name)
    flow.build(target, seeds=seeds, allow_timing_fail=allow_timing_fail)
    dataset = choose_samples(target, mode, samples)
    with ExitStack() as stack:
        if port is None and (serial := target.board.usb):
            port = usb.serial_port(serial.vendor, serial.product, serial.interface, title=target.board.title)
        elif port is None:
            port = f"socket://127.0.0.1:{stack.enter_context(Simulation(target.simulator)).port}"
        bench.bench(
            target=bench.Target(
                board=target.board.name,
                port=port,
                engine=engine,
                simulated=target.board.simulated,
                baud=target.board.baud,
                clock_hz=target.board.clock_hz,
            ),
            mode=mode,
            model_dir=target.model_dir,
            out_dir=target.out_dir,
            dataset=dataset,
        )
    typer.echo(bench.write_report(model_dir=target.model_dir, out_dir=target.out_dir))


def choose_samples(target: Target, mode: str, samples: str | None) -> bench.Dataset:
    """A folder, a data set of the registry, the model's first one, or, for performance alone, random inputs."""
    if samples is not None and samples not in target.entry.datasets:
        return bench.load_folder(Path(samples), golden=target.entry.golden)
    if samples is None and mode == "performance":
        # Time does not depend on the data, so samples that cannot be had are no reason to stop.
        if not target.entry.datasets:
            return bench.random_inputs(Manifest.load(target.model_dir))
        try:
            return bench.load_folder(fetch.samples(target.entry))
        except FetchError as error:
            typer.echo(f"Random inputs, as there are no samples: {error}")
            return bench.random_inputs(Manifest.load(target.model_dir))
    return bench.load_folder(fetch.samples(target.entry, samples), golden=target.entry.golden)
