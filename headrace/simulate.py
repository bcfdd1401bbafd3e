"""`headrace simulate`: the accelerator's core alone, verilated, against the exact reference."""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import typer

from accel.compiler import hash_of
from accel.dataflow import store
from accel.dataflow.pipeline import Pipeline
from accel.graph.store import load
from accel.manifest import Manifest
from accel.rtl.simulate import Simulator
from headrace import flow
from headrace.options import Model, Out
from headrace.steps import Runner, StepError
from headrace.target import Target
from models.registry import DEFAULT


def main(
    model: Model = DEFAULT,
    *,
    out: Out = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many random inputs.")] = 5,
) -> None:
    """Run random inputs through the compiled accelerator in Verilator and compare every output with the reference."""
    target = Target.of(model, board="sim", engine="stream", out=out)
    runner = Runner(target.out_dir, typer.echo)
    with runner.locked():
        runner.run(flow.compile_step(target))
        manifest = Manifest.load(target.model_dir)
        pipeline = compiled_pipeline(target, manifest)
        typer.echo(f"core: {manifest.name} through Verilator")
        simulator = Simulator(pipeline, target.out_dir / "core")
    x = random_inputs(manifest, count)
    start = time.monotonic()
    result = simulator.run(x)
    seconds = time.monotonic() - start
    expected = pipeline.graph.run(x.reshape(count, *pipeline.graph.input.shape)).reshape(count, -1)
    wrong = int((result.outputs != expected).any(axis=1).sum())
    typer.echo(
        f"{manifest.name}: {count - wrong} of {count} inputs equal the reference, every integer; "
        f"{int(result.cycles[0]):,} cycles from first input to last output ({seconds:.2f} s)"
    )
    if wrong:
        raise StepError(f"{manifest.name}: the gateware differs from the reference; please report it with this model")


def random_inputs(manifest: Manifest, count: int) -> np.ndarray:
    """Inputs drawn evenly from the input's type, always the same: shape (count, elements)."""
    kind = manifest.input.type
    levels = np.random.default_rng(1).integers(0, kind.levels, size=(count, manifest.input.elements))
    return kind.lo + kind.step * levels


def compiled_pipeline(target: Target, manifest: Manifest) -> Pipeline:
    """The pipeline that was compiled, as it was stored. Raises `StepError` when other gateware would be made of it."""
    graph = load(target.model_dir / "graph.npz")
    pipeline = store.load(graph, target.model_dir / store.FILE_NAME)
    if hash_of(pipeline, manifest.memory) != manifest.hash:
        raise StepError(f"{target.model_dir}: compiled by another version of Headrace; remove it and compile again")
    return pipeline
