"""results.json: written whole or not at all, read strictly, merged without losing anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_device import make_model

from bench.errors import BenchError
from bench.published import published, published_for
from bench.results import BitExact, Cycles, Latency, Results, Run, record_step, step_facts, write_json

PERFORMANCE = Results(
    model="tiny",
    board="arty",
    engine="stream",
    mode="performance",
    samples=5,
    latency_us=Latency(12.5, [12.5] * 5, [800000] * 5, "By the board's clock."),
    throughput_inf_per_s=80000.0,
    cycles=Cycles(990, 1020, 1050, [[1, 2]]),
    clock_hz=100_000_000,
    bit_exact=BitExact(5, 0),
)
ACCURACY = replace(
    PERFORMANCE,
    mode="accuracy",
    samples=1000,
    accuracy=0.825,
    auc=0.98,
    latency_us=None,
    throughput_inf_per_s=None,
    cycles=None,
    bit_exact=BitExact(1000, 0),
)


def test_saved_loaded_merged(tmp_path: Path) -> None:
    assert PERFORMANCE.save(tmp_path) == tmp_path / "results.json"
    assert Results.load(tmp_path) == PERFORMANCE
    both = ACCURACY.merged(PERFORMANCE)
    assert (both.mode, both.accuracy, both.latency_us, both.cycles) == (
        "accuracy",
        0.825,
        PERFORMANCE.latency_us,
        PERFORMANCE.cycles,
    )
    assert PERFORMANCE.merged(ACCURACY).bit_exact == BitExact(1000, 0)
    # A mismatch outweighs any number of samples without one; a run of the same mode replaces what it measured.
    assert ACCURACY.merged(replace(PERFORMANCE, bit_exact=BitExact(5, 1))).bit_exact == BitExact(5, 1)
    assert PERFORMANCE.merged(replace(PERFORMANCE, bit_exact=BitExact(5, 1))).bit_exact == BitExact(5, 0)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PERFORMANCE.save(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.results.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ACCURACY.save(tmp_path)
    assert Results.load(tmp_path) == PERFORMANCE
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_files_that_are_no_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    def error(text: str) -> str:
        path.write_text(text)
        with pytest.raises(BenchError) as caught:
            Results.load(tmp_path)
        return str(caught.value)

    assert error("{") == (
        f"{path}: cannot be read (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); "
        "delete it to start anew"
    )
    assert error("[]") == f"{path}: not a JSON object; delete it to start anew"
    assert error('{"schema": 2}') == f"{path}: schema must be 1, not 2; move it away and bench again"
    assert "missing 4 required positional arguments: 'board'" in error('{"schema": 1, "model": "x"}')


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    run = Run("tiny", "8f3a91c2", "arty", "stream", False, 100_000_000)
    for name in ("results.json", "samples.csv", "samples.json"):
        (tmp_path / name).write_text("old")
    write_json(tmp_path / "run.json", {**run.__dict__, "note": "an unknown field is no other run"})
    run.claim(tmp_path)
    assert (tmp_path / "results.json").read_text() == "old"
    for k, other in enumerate([replace(run, clock_hz=75_000_000), run], 1):
        other.claim(tmp_path)
        assert (tmp_path / f"samples-8f3a91c2-{k}.csv").exists()
        assert json.loads((tmp_path / "run.json").read_text()) == other.__dict__
        (tmp_path / "samples.csv").write_text("new")


def test_steps(tmp_path: Path) -> None:
    manifest = make_model(tmp_path / "model")
    assert step_facts(manifest, tmp_path)["resources"] == {
        "device": "sim",
        "lut": 300,
        "ff": 200,
        "bram36": 0.5,
        "dsp": 8,
        "stage": "estimate",
    }
    routed = {"device": "xc7a100tcsg324-1", "lut": 310, "ff": 210, "bram36": 0.5, "dsp": 8, "stage": "routing"}
    record_step(tmp_path, "a-route", resources=routed, fmax_hz=98_000_000, seconds={"routing": 70.0})
    record_step(tmp_path, "b-synthesis", resources={**routed, "stage": "synthesis"}, tools={"yosys": "0.70"})
    found = step_facts(manifest, tmp_path)
    assert (found["resources"], found["fmax_hz"], found["tools"]["yosys"]) == (routed, 98_000_000, "0.70")
    assert found["seconds"] == {"compile": 1.5, "routing": 70.0}
    with pytest.raises(
        ValueError, match="step x: stage of resources must be one of estimate, synthesis, routing, not None"
    ):
        record_step(tmp_path, "x", resources={"lut": 1})

    (tmp_path / "steps" / "c.json").write_text('{"resources": {"lut": 1}}')
    with pytest.raises(
        BenchError, match=r"c.json: stage of resources must be one of estimate, synthesis, routing; build"
    ):
        step_facts(manifest, tmp_path)


def test_published_numbers_have_sources() -> None:
    assert all(entry.source and entry.latency_us for entry in published())
    arty, board, *others = published_for("kws-w3a3", "kws01")
    assert (arty.where, arty.latency_us, arty.quality, arty.energy_uj) == ("Arty A7-100T", 33.2, "82.5 %", 53.7)
    assert board.where == "Pynq-Z2"
    assert others and all(entry.model is None and entry.task == "kws01" for entry in others)
    assert published_for("mnist-mine", "mnist") == []
