"""The steps from a model file to a board: compile, SoC, firmware; then the simulator, or gateware and bitstream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

import bench
import firmware.build
from accel.compiler import VERSIONS, compile_model
from accel.dataflow.budget import RESOURCES
from accel.manifest import Manifest
from accel.rtl import verilate
from headrace.steps import Runner, Step, package_versions, write_whole
from headrace.target import Target
from models import evaluate, fetch
from soc import BUFFER, generate, simulator
from toolchain import find, flow, vivado
from toolchain.device import Device
from toolchain.implementation import ImplementationReport, TimingError

LATER = ("soc", "firmware", "simulator", "gateware", "bitstream", "synthesis", "resources")
SEEDS = 4  # of place and route, unless SEEDS= says otherwise


@dataclass(frozen=True)
class Told:
    """What a command line says of how a bitstream is made; None where it says nothing."""

    flow: str | None = None
    seeds: int | None = None
    allow_timing_fail: bool | None = None

    def over(self, other: Told) -> Told:
        """This, and where it says nothing ``other``."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(other, **said)


def build(
    target: Target, told: Told | None = None, say: Callable[[str], None] = typer.echo, *, again: bool = False
) -> None:
    """Do every step of ``target`` that is not up to date. ``told`` is for bitstreams.

    With ``again``, for those who need a build rather than ask for one, a bitstream is made as that of before was where
    ``told`` says nothing. Raises `StepError`, `FetchError`, and, for a bitstream, what `toolchain.flow.implement`
    raises.
    """
    runner = Runner(target.out_dir, say)
    with runner.locked(), resumable(say):
        for step in (compile_step, soc_step, firmware_step):
            runner.run(step(target))
        if target.board.simulated:
            runner.run(simulator_step(target))
        else:
            runner.run(gateware_step(target))
            implement(target, (told or Told()).over(before(target) if again else Told()), say)


@contextmanager
def resumable(say: Callable[[str], None]) -> Iterator[None]:
    """Tell whoever interrupts a build that nothing of it is lost."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where it was")
        raise


def compile_into(target: Target, folder: Path, say: Callable[[str], None] = print, **folding: Any) -> Manifest:
    """Compile the model of ``target`` into ``folder``, a line to ``say`` a stage. Raises what the stages raise.

    ``folding`` is handed on: pins, objective, rate.
    """
    return compile_model(
        fetch.model(target.entry),
        folder,
        budget=target.budget,
        memory=BUFFER,
        name=target.entry.name,
        task=target.entry.task,
        encoding=evaluate.encoding(target.entry),
        reals=evaluate.reals(target.entry),
        head=evaluate.head(target.entry),
        progress=say,
        **folding,
    )


def compile_step(target: Target) -> Step:
    """The compiled model, from the model file."""
    entry, budget = target.entry, target.budget
    return Step(
        "compile",
        f"{entry.file} to Verilog, for {budget.name}",
        target.model_dir,
        lambda: compile_into(target, target.model_dir),
        inputs=[fetch.model(entry)],
        settings={
            "name": entry.name,
            "task": entry.task,
            "encoding": asdict(entry.encoding) if entry.encoding else None,
            "head": evaluate.head(entry),
            "budget": asdict(budget),
            "memory": asdict(BUFFER),
        },
        code=["accel"],
        tools=package_versions(*VERSIONS),
        stale=LATER,
    )


def soc_step(target: Target) -> Step:
    """The SoC around the accelerator: soc.v, and the headers for the firmware."""
    accelerator = target.model_dir / "accelerator.v"
    return Step(
        "soc",
        f"VexRiscv, memories and accelerator for {target.board.title}",
        target.soc_dir,
        lambda: generate(
            target.soc_dir,
            board=target.board,
            accelerator=accelerator,
            memory=BUFFER,
        ),
        inputs=[accelerator],
        settings={"board": target.board.name, "memory": asdict(BUFFER)},
        code=["soc", "boards"],
        tools=package_versions("litex", "migen", "pythondata-cpu-vexriscv"),
    )


def firmware_step(target: Target) -> Step:
    """The firmware image for this model and this SoC."""
    generated = target.soc_dir / "generated"
    compiler = find.find_firmware_compiler()
    return Step(
        "firmware",
        f"C for the VexRiscv, with {compiler.where} {compiler.version}",
        target.firmware_dir,
        lambda: firmware.build.build(
            manifest=Manifest.load(target.model_dir),
            generated_dir=generated,
            out_dir=target.firmware_dir,
            engine=target.engine,
            board=target.board.name,
        ),
        inputs=[target.model_dir / "manifest.json", generated, target.soc_dir / "regions.ld"],
        settings={"engine": target.engine, "board": target.board.name},
        code=["firmware"],
        tools={"firmware compiler": f"{compiler.where} {compiler.version}"},
    )


def simulator_step(target: Target) -> Step:
    """The simulated board, an executable that loads the firmware when it starts."""
    source = target.soc_dir / "soc.v"
    compiler = " ".join(verilate.cxx())
    return Step(
        "simulator",
        f"verilating the SoC, compiling with {compiler}",
        target.simulator.parent,
        lambda: simulator.build(source, out_dir=target.simulator.parent, clock_hz=target.board.clock_hz),
        inputs=[source],
        settings={"clock_hz": target.board.clock_hz},
        code=["soc"],
        tools={"verilator": find.find_verilator().version, "c++": f"{compiler} {find.find_cxx().version}"},
    )


def gateware_step(target: Target) -> Step:
    """The SoC once more, with the firmware in its ROM, and where its ports are on the board."""
    accelerator, image = target.model_dir / "accelerator.v", target.firmware_dir / "firmware.bin"
    return Step(
        "gateware",
        f"SoC with the firmware in ROM, constraints for {target.board.title}",
        target.gateware_dir,
        lambda: generate(
            target.gateware_dir, board=target.board, accelerator=accelerator, memory=BUFFER, rom=image.read_bytes()
        ),
        inputs=[accelerator, image],
        settings={"board": target.board.name, "memory": asdict(BUFFER)},
        code=["soc", "boards"],
        tools=package_versions("litex", "migen", "pythondata-cpu-vexriscv"),
    )


def before(target: Target) -> Told:
    """What the last build of the bitstream was told."""
    file = target.bitstream_dir / "told.json"
    return Told(**json.loads(file.read_text())) if file.is_file() else Told()


def implement(target: Target, told: Told, say: Callable[[str], None]) -> None:
    """The bitstream, with what it takes of the device and its clock for results.json.

    This is no `Step`: place and route goes on by itself where it was, and keeps what a new firmware does not change.
    A design that misses its clock is shown and recorded as one that meets it, before `TimingError` tells of it.
    """
    record = target.out_dir / "steps" / "bitstream.json"
    record.unlink(missing_ok=True)
    target.bitstream_dir.mkdir(parents=True, exist_ok=True)
    write_whole(target.bitstream_dir / "told.json", json.dumps(asdict(told)))
    device = Device.of(target.board.device)
    files: dict[str, Any] = {
        "verilog": [target.gateware_dir / "soc.v"],
        "top": "soc",
        "device": device,
        "constraints": (target.gateware_dir / f"soc{device.constraints_suffix}").read_text(),
        "out_dir": target.bitstream_dir,
        "allow_timing_fail": bool(told.allow_timing_fail),
        "say": say,
    }
    try:
        if (told.flow or target.board.flow) == "vivado":
            report = vivado.implement(**files)
        else:
            report = flow.implement(**files, clock_hz=target.board.clock_hz, seeds=told.seeds or SEEDS)
    except TimingError as error:
        show(target, error.report)
        raise
    show(target, report)


def show(target: Target, report: ImplementationReport) -> None:
    """Print what was built, and record it for results.json and report.html."""
    bench.print_implementation(Console(), report)
    used = {name: use.used for name, use in report.utilization.items() if name in RESOURCES}
    whole = set(used) == set(RESOURCES)  # a nextpnr may count in words that are not known here
    bench.record_step(
        target.out_dir,
        "bitstream",
        tools=report.tools,
        seconds=report.seconds,
        resources={"device": report.device, **used, "stage": "routing"} if whole else None,
        fmax_hz=round(report.clocks[0].achieved_hz) if report.clocks else None,
    )
