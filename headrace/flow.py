"""The steps from a model file to a simulated board: compile, SoC, firmware, simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import typer

import firmware.build
from accel.compiler import VERSIONS, compile_model
from accel.manifest import Manifest
from accel.rtl import verilate
from headrace.steps import Runner, Step, package_versions
from headrace.target import Target
from models import evaluate, fetch
from soc import BUFFER, generate, simulator
from toolchain import find

LATER = ("soc", "firmware", "simulator", "synthesis", "resources")


def build(target: Target, say: Callable[[str], None] = typer.echo) -> None:
    """Do every step of ``target`` that is not up to date. Raises `StepError`, `FetchError`."""
    runner = Runner(target.out_dir, say)
    with runner.locked():
        for step in (compile_step, soc_step, firmware_step, simulator_step):
            runner.run(step(target))


def compile_into(target: Target, folder: Path, say: Callable[[str], None] = print) -> Manifest:
    """Compile the model of ``target`` into ``folder``, a line to ``say`` a stage. Raises what the stages raise."""
    return compile_model(
        fetch.model(target.entry),
        folder,
        budget=target.board.budget,
        memory=BUFFER,
        name=target.entry.name,
        task=target.entry.task,
        encoding=evaluate.encoding(target.entry),
        progress=say,
    )


def compile_step(target: Target) -> Step:
    """The compiled model, from the model file."""
    entry, budget = target.entry, target.board.budget
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
