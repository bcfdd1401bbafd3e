"""`headrace bench`: the benchmark over the serial line, on a simulator of its own or at a given port."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import bench
import boards
from accel.manifest import Manifest
from headrace import flow
from headrace.options import AllowTimingFail, Board, Engine, Flow, Model, Out, Seeds
from headrace.target import Target
from models import fetch
from models.download import FetchError
from models.registry import DEFAULT
from soc.simulator import Simulation
from toolchain import usb

ACCURACY_INPUTS = 20  # random ones, of a model without samples


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
    seeds: Seeds = None,
    allow_timing_fail: AllowTimingFail = None,
) -> None:
    """Build what is missing, benchmark as MLPerf Tiny does, and write results.json and report.html."""
    target = Target.of(model, board=board, engine=engine, out=out, flow=flow_name)
    serial = None if port is not None or target.board.simulated else identity(target.board)
    flow.build(target, flow.Told(flow_name, seeds, allow_timing_fail), again=True)
    dataset = choose_samples(target, mode, samples)
    with ExitStack() as stack:
        if serial is not None:
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


def identity(board: boards.Board) -> boards.Usb:
    """How the serial port of a board with wires is known. Raises UsbError where its file does not say."""
    if board.usb is None:
        raise usb.UsbError(
            f"{board.title}: the USB identity of its serial port is missing in its file in boards/, as "
            "usb=Usb(vendor, product); name its port with --port (PORT= for make)"
        )
    return board.usb


def choose_samples(target: Target, mode: str, samples: str | None) -> bench.Dataset:
    """A folder, a data set of the registry, the model's first one, or random inputs where there is none.

    Neither time nor equality with the reference depends on what samples mean; only accuracy does.
    """
    golden = target.entry.golden if mode == "accuracy" else None
    if samples is not None and samples not in target.entry.datasets:
        return bench.load_folder(Path(samples), golden=golden)
    try:
        return bench.load_folder(fetch.samples(target.entry, samples), golden=golden)
    except FetchError as error:
        # Samples that could be had, but not now, are a reason to stop where they are all that it is about.
        if samples is not None or (mode == "accuracy" and not isinstance(error, fetch.NoSamplesError)):
            raise
        only = ", so only equality with the reference is found out" if mode == "accuracy" else ""
        typer.echo(f"Random inputs, as there are no samples{only}: {error}")
    manifest = Manifest.load(target.model_dir)
    return bench.random_inputs(manifest, ACCURACY_INPUTS) if mode == "accuracy" else bench.random_inputs(manifest)
