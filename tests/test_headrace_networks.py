"""The networks of the registry within what was asked of them: cycles, resources, time to compile; their inputs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accel.dataflow import store
from accel.dataflow.pipeline import ArrayNode
from accel.graph.store import load
from accel.rtl.images import ArrayPlan
from accel.rtl.simulate import Simulator
from accel.rtl.threshold import ParallelThreshold
from headrace import flow
from headrace.__main__ import app
from headrace.simulate import random_inputs
from headrace.target import Target

SECONDS = 60  # of one core, from the file to Verilog, FIFOs included
CYCLES = {
    "kws-w3a3": 1_000, "ad08": 500, "tfc-w1a1": 500, "rn07": 40_000, "cnv-w1a1": 20_000, "resnet8-w4a4": 40_000,
    "dscnn-w4a4": 20_000, "kws01": 30_000, "ic01": 60_000, "ad01": 8_000, "vww01": 60_000, "sww01": 30_000,
    "ic02": 600_000,
}  # fmt: skip
SLOWER = {"ic01": 90, "vww01": 90, "ic02": 600}  # of MLPerf Tiny's; ic02's weights take all block RAM that there is


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", CYCLES)
def test_compiled_for_the_arty(tmp_path: Path, name: str) -> None:
    target = Target.of(name, board="arty", engine="stream")
    start = time.process_time()
    manifest = flow.compile_into(target, tmp_path / name)
    took = time.process_time() - start
    estimate, budget = manifest.estimate, target.budget
    assert estimate.cycles <= CYCLES[name]
    assert all(getattr(estimate, each) <= getattr(budget, each) for each in ("lut", "ff", "bram36", "dsp"))
    if name == "cnv-w1a1":
        assert estimate.lut < 30_000 and estimate.bram36 < 100
    assert took <= SLOWER.get(name, SECONDS)


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("name", "samples", "accuracy"), [("rn07", 200, 0.85), ("kws01", 1000, 0.901), ("ic01", 200, 0.875)]
)
def test_all_benchmark_inputs_through_the_soc(tmp_path: Path, name: str, samples: int, accuracy: float) -> None:
    result = CliRunner().invoke(app, ["bench", name, "--mode", "accuracy", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["bit_exact"] == {"samples": samples, "mismatches": 0}
    assert results["accuracy"] == accuracy
    if name != "rn07":
        assert results["golden"] == {"samples": samples, "mismatches": 0}


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", ["ad01", "vww01"])
def test_random_inputs_through_the_soc(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["bench", name, "--mode", "accuracy", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["bit_exact"] == {"samples": 20, "mismatches": 0}


@pytest.mark.usefixtures("data")
def test_thresholds_that_are_read_ahead(tmp_path: Path) -> None:
    """KWS-W3A3 as folded for the ECP5, where its thresholds lie in block RAM; for the Arty they do not."""
    target = Target.of("kws-w3a3", board="ulx3s", engine="stream")
    manifest = flow.compile_into(target, tmp_path / "model")
    pipeline = store.load(load(tmp_path / "model" / "graph.npz"), tmp_path / "model" / store.FILE_NAME)
    (array,) = (node for node in pipeline.nodes if isinstance(node, ArrayNode))
    assert hasattr(ParallelThreshold(ArrayPlan(array).thresholds(search=False), ahead=True), "ahead")
    x = random_inputs(manifest, 20)
    outputs = Simulator(pipeline, tmp_path / "core").run(x).outputs
    assert (outputs == pipeline.graph.run(x).reshape(outputs.shape)).all()
