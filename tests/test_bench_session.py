"""Whole benchmarks against a device made of Python: what is on the disk afterwards, whatever happened on the way."""

from __future__ import annotations

import io
import json
import re
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_device import FakeDevice, TcpLine, make_inputs, make_model
from rich.console import Console

from accel.graph import Affine, load, save
from accel.graph.head import results
from accel.manifest import InputEncoding, Manifest, Output
from accel.passes import lower
from bench import (
    BenchError,
    Dataset,
    Interrupted,
    Results,
    Sample,
    Target,
    bench,
    from_list,
    load_folder,
    random_inputs,
    record_step,
    write_report,
)
from bench.performance import WindowLength
from bench.results import BitExact
from firmware import host
from models import evaluate, registry

COUNT = 12


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    make_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def device(model_dir: Path) -> FakeDevice:
    return FakeDevice.of(model_dir)


@pytest.fixture
def dataset(device: FakeDevice) -> Dataset:
    items = [(f"{i:02}.bin", data, i % 4) for i, data in enumerate(make_inputs(device.manifest, COUNT))]
    return from_list("random", items, 4)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def run(device: FakeDevice, mode: str, dataset: Dataset | None, folder: Path, **more: object) -> tuple[Results, str]:
    """One benchmark; the results, and what was printed."""
    console = quiet()
    with TcpLine(device) as wire:
        target = Target(board="sim", port=wire.url, simulated=True)
        results = bench(
            target=target,
            mode=mode,
            model_dir=folder.parent / "model",
            out_dir=folder,
            dataset=dataset,
            console=console,
            **more,  # type: ignore[arg-type]
        )
    file = console.file
    assert isinstance(file, io.StringIO)
    return results, file.getvalue()


def test_both_modes_share_a_folder(tmp_path: Path, device: FakeDevice, dataset: Dataset) -> None:
    out = tmp_path / "out"
    synthesis = {"device": "xc7a100tcsg324-1", "lut": 290, "ff": 190, "bram36": 0.5, "dsp": 8, "stage": "synthesis"}
    record_step(out, "synthesis", tools={"yosys": "0.70"}, seconds={"synthesis": 12.5}, resources=synthesis)
    record_step(out, "zz-again", resources={**synthesis, "lut": 1, "stage": "estimate"})
    _, shown = run(device, "performance", dataset, out)
    data = json.loads((out / "results.json").read_text())
    names = (
        "schema model board engine mode samples accuracy auc latency_us throughput_inf_per_s cycles clock_hz resources"
    )
    assert " ".join(data) == names + " fmax_hz energy_uj bit_exact golden tools seconds"
    assert (data["schema"], data["model"], data["board"], data["engine"]) == (1, "tiny", "sim", "stream")
    assert (data["mode"], data["samples"], data["accuracy"], data["auc"]) == ("performance", 5, None, None)
    # 12.5 µs an inference by the device's clock, which wraps on the way.
    assert data["latency_us"]["windows"] == [12.5] * 5
    assert data["latency_us"]["median"] == 12.5
    assert data["latency_us"]["note"] == (
        "Cycles of the simulated SoC at 100 MHz, in windows of at least 5 ms of simulated time."
    )
    assert all(5_000 <= n * 12.5 < 15_000 for n in data["latency_us"]["inferences"])
    assert data["throughput_inf_per_s"] == 80_000
    assert data["cycles"] == {"accelerator": 990, "face": 1020, "inference": 1050, "streams": [[10, 20], [30, 40]]}
    assert (data["clock_hz"], data["resources"]) == (100_000_000, synthesis)
    assert data["bit_exact"] == {"samples": 5, "mismatches": 0}
    assert data["tools"]["amaranth"] == "0.5.10" and data["tools"]["yosys"] == "0.70"
    assert data["seconds"] == {"compile": 1.5, "synthesis": 12.5}
    assert re.search("latency, median .* 12.5 µs", shown)

    results, shown = run(device, "accuracy", dataset, out)
    right = sum(row.split(",")[1] == row.split(",")[2] for row in (out / "samples.csv").read_text().splitlines()[1:])
    assert (results.mode, results.samples, results.accuracy) == ("accuracy", COUNT, right / COUNT)
    assert results.latency_us is not None and results.latency_us.windows == [12.5] * 5
    assert (results.bit_exact.samples, results.bit_exact.mismatches) == (COUNT, 0)
    assert Results.load(out) == results
    written = (out / "results.txt").read_text()
    assert re.search(r"^\d{4}\.\d{6} ulp-mlperf: Median throughput is  80000.000 inf./sec.$", written, re.M)
    assert re.search(rf"^\d{{4}}\.\d{{6}} ulp-mlperf: Top-1: {100 * right / COUNT:.1f}$", written, re.M)
    # Once more: everything is there, nothing is run.
    before = len(device.commands)
    again, shown = run(device, "accuracy", dataset, out)
    assert again == results
    assert f"going on after {COUNT} of {COUNT} samples" in shown
    assert not [text for text in device.commands[before:] if text.startswith("infer")]


def test_random_inputs_tell_equality_alone(tmp_path: Path, device: FakeDevice, model_dir: Path) -> None:
    manifest = Manifest.load(model_dir)
    results, shown = run(device, "accuracy", random_inputs(manifest, 20), tmp_path / "out")
    assert (results.accuracy, results.auc) == (None, None) and "Top-1" not in shown
    assert (results.samples, results.bit_exact.samples, results.bit_exact.mismatches) == (20, 20, 0)
    assert {row.split(",")[1] for row in (tmp_path / "out/samples.csv").read_text().splitlines()[1:]} == {"-1"}
    page = write_report(model_dir=model_dir, out_dir=tmp_path / "out").read_text()
    assert "of 20 samples equal the reference" in page and "confusion" not in page.lower()


@pytest.mark.parametrize("end", ["interrupt", "dead", "torn"])
def test_a_run_cut_short_ends_as_if_it_had_not_been(
    tmp_path: Path, device: FakeDevice, dataset: Dataset, end: str
) -> None:
    whole, _ = run(device, "accuracy", dataset, tmp_path / "whole")
    out = tmp_path / "cut"
    start = len(device.commands)

    def behaviour(number: int, text: str) -> str | None:
        done = sum(command.startswith("infer") for command in device.commands[start:])
        return "dead" if done == 8 and end != "interrupt" else None

    device.behaviour = behaviour
    right_reference = device.reference

    def reference(inputs: list[bytes]) -> object:
        if end == "interrupt" and len(device.commands) > start + 60:
            raise KeyboardInterrupt
        return right_reference(inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.session.SIMULATED_TIME_SCALE", 0.01)
        patch.setattr("bench.accuracy.REFERENCE_BATCH", 1)
        with pytest.raises(Interrupted if end == "interrupt" else BenchError) as caught:
            run(device, "accuracy", dataset, out, reference=reference)
    rows = len((out / "samples.csv").read_text().splitlines()) - 1
    assert 0 < rows < COUNT
    kept = f"{rows} of {COUNT} samples are kept in {out / 'samples.csv'}; run the same command again to go on."
    assert str(caught.value).endswith(kept)
    assert not (out / "results.json").exists()
    if end == "torn":  # the machine itself went down while a line was being written
        with (out / "samples.csv").open("a") as file:
            file.write("11.bin,3,1,0.1")
    device.behaviour, device.dead = lambda number, text: None, False
    before = len(device.commands)
    resumed, shown = run(device, "accuracy", dataset, out)
    assert f"going on after {rows} of {COUNT} samples" in shown
    assert sum(text.startswith("infer") for text in device.commands[before:]) == COUNT - rows
    assert resumed == whole
    assert (out / "samples.csv").read_bytes() == (tmp_path / "whole" / "samples.csv").read_bytes()


def test_what_belongs_to_others_is_set_aside(tmp_path: Path, device: FakeDevice, dataset: Dataset) -> None:
    out = tmp_path / "out"
    run(device, "accuracy", dataset, out)
    first = (out / "samples.csv").read_bytes()
    # Other samples: the old ones stay beside.
    other = from_list("other", [(s.file, s.data[::-1], s.label) for s in dataset.samples], 4)
    run(device, "accuracy", other, out)
    assert (out / "samples-old-1.csv").read_bytes() == first
    # Another model: results go as well.
    results = (out / "results.json").read_bytes()
    manifest = replace(Manifest.load(tmp_path / "model"), hash="00c0ffee")
    manifest.save(tmp_path / "model")
    device.manifest = manifest
    run(device, "performance", dataset, out)
    assert (out / "results-8f3a91c2-1.json").read_bytes() == results
    assert (out / "samples-8f3a91c2-1.csv").exists() and not (out / "samples.csv").exists()
    assert Results.load(out).accuracy is None


def test_a_run_that_ends_early_leaves_the_results_there_are(
    tmp_path: Path, device: FakeDevice, dataset: Dataset
) -> None:
    def stop(inputs: object) -> list[object]:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    run(device, "performance", dataset, out)
    before = (out / "results.json").read_bytes()
    with pytest.raises(Interrupted) as caught:
        run(device, "performance", dataset, out, reference=stop)
    assert str(caught.value) == f"interrupted; earlier results in {out} are as they were. Run the same command again"
    assert (out / "results.json").read_bytes() == before
    # A broken file is found before anything is measured, not after.
    (out / "results.json").write_text("{")
    count = len(device.commands)
    with pytest.raises(BenchError, match=r"results.json: cannot be read .* delete it to start anew"):
        run(device, "performance", dataset, out)
    assert not [text for text in device.commands[count:] if text.startswith("infer")]


def test_mismatches_are_counted_and_listed(tmp_path: Path, device: FakeDevice, dataset: Dataset) -> None:
    bad = {dataset.samples[2].data, dataset.samples[9].data}
    device.wrong = lambda data, right: replace(right, integers=right.integers[::-1]) if data in bad else right
    results, shown = run(device, "accuracy", dataset, tmp_path / "out")
    assert (results.bit_exact.samples, results.bit_exact.mismatches) == (COUNT, 2)
    assert "2 samples differ from the exact reference: 02.bin, 09.bin" in shown
    assert json.loads((tmp_path / "out" / "samples.json").read_text())["mismatches"] == ["02.bin", "09.bin"]
    # They survive a later run that only looks at the first five inputs.
    device.wrong = lambda data, right: right
    results, _ = run(device, "performance", dataset, tmp_path / "out")
    assert (results.bit_exact.samples, results.bit_exact.mismatches) == (COUNT, 2)


def test_windows_of_the_right_length(tmp_path: Path, device: FakeDevice, dataset: Dataset) -> None:
    """On a board at least 10 s and less than 30 s, also where the pace changes; one long inference is a window."""
    length = WindowLength(10_000_000, 30_000_000)

    def behaviour(number: int, text: str) -> str | None:
        if sum(command.startswith("infer") for command in device.commands) == 6:
            device.latency_us = 4.25
        return None

    device.behaviour = behaviour
    results, _ = run(device, "performance", dataset, tmp_path / "out", window=length)
    assert results.latency_us is not None
    windows = [n * us for n, us in zip(results.latency_us.inferences, results.latency_us.windows, strict=True)]
    assert all(9_999_999 <= us < 30_000_000 for us in windows)
    assert results.latency_us.windows[0] > 12 and results.latency_us.windows[-1] < 5
    device.behaviour, device.latency_us = lambda number, text: None, 41_000_000.0
    results, _ = run(device, "performance", dataset, tmp_path / "slow", window=length)
    assert results.latency_us is not None and results.latency_us.inferences == [1] * 5
    device.latency_us = 0.0
    with pytest.raises(
        BenchError, match="1000000000 inferences took 0 µs by the device's clock, which does not hold still"
    ):
        run(device, "performance", dataset, tmp_path / "stopped", window=length)


def test_the_wrong_device(tmp_path: Path, model_dir: Path, device: FakeDevice, dataset: Dataset) -> None:
    right = device.manifest

    def error(**said: object) -> str:
        device.manifest = replace(right, **{k: v for k, v in said.items() if hasattr(right, k)})  # type: ignore[arg-type]
        device.engine = str(said.get("engine", "stream"))
        with TcpLine(device) as wire:
            target = Target(board="sim", port=wire.url, clock_hz=int(str(said.get("built_for", 100_000_000))))
            with pytest.raises(BenchError) as caught:
                bench(target=target, mode="performance", model_dir=model_dir, out_dir=tmp_path / "out", dataset=dataset)
        return str(caught.value).replace(wire.url, "PORT")

    advice = ". Build and load it: make BOARD=sim MODEL=tiny ENGINE=stream build load"
    assert error(hash="12345678") == "PORT: the device holds model 12345678, not 8f3a91c2 (tiny)" + advice
    assert error(task="ic01") == "PORT: the device runs the task ic01, not tiny01 of model tiny" + advice
    assert error(engine="cpu") == "PORT: the device runs engine cpu, not stream" + advice
    assert error(built_for=75_000_000) == "PORT: the device runs at 100000000 Hz, not 75000000 Hz" + advice
    device.manifest = right
    said = "e-[Model mismatch: gateware 12345678, firmware 8f3a91c2]"
    device.behaviour = lambda number, text: None
    obey = device.obey
    device.obey = lambda text: [said] if text == "hash" else obey(text)  # type: ignore[method-assign]
    assert f"firmware and gateware are of different builds (PORT: the device answered {said}" in error()
    assert not (tmp_path / "out" / "results.json").exists()


def test_what_cannot_be_run_is_said_before_it_starts(tmp_path: Path, model_dir: Path, dataset: Dataset) -> None:
    def error(mode: str, samples: Dataset | None) -> str:
        target = Target(board="sim", port="nowhere", simulated=True)
        with pytest.raises(BenchError) as caught:
            bench(target=target, mode=mode, model_dir=model_dir, out_dir=tmp_path / "out", dataset=samples)
        return str(caught.value)

    assert error("speed", dataset) == "mode must be one of performance, accuracy, energy, not 'speed'"
    assert error("energy", dataset).startswith("MODE=energy needs what Headrace does not drive: an IO manager between")
    assert error("accuracy", None) == "accuracy mode of tiny needs samples; give a folder of samples or random inputs"
    few = replace(dataset, samples=dataset.samples[:3])
    assert error("performance", few) == "performance mode needs 5 samples; random has 3"
    short = replace(dataset, samples=(*dataset.samples[:5], Sample("x.bin", b"123", 0)))
    assert error("performance", short) == (
        "random: x.bin gives inputs of 3 bytes, but tiny takes 70; the samples belong to another model"
    )
    assert error("accuracy", replace(dataset, classes=9)) == "random has 9 classes, but tiny has 4 outputs"
    with pytest.raises(BenchError, match="engine must be one of stream, cfu, cpu, host, not 'steam'"):
        Target(board="sim", port="x", engine="steam")
    (model_dir / "graph.npz").unlink()
    assert "graph.npz: the exact reference cannot be read" in error("performance", dataset)


@pytest.mark.parametrize("head", ["softmax", "scores", "argmax", "mse"])
def test_our_own_firmware(tmp_path: Path, head: str) -> None:
    """The real protocol code, compiled for this machine, on both kinds of port: every digit as the reference says."""
    manifest = make_model(tmp_path / "model", inputs=64, classes=64 if head == "mse" else 4, head=head)
    inputs = make_inputs(manifest, COUNT)
    x = np.array([np.frombuffer(data, np.int8) for data in inputs])
    y = load(tmp_path / "model" / "graph.npz").run(x.astype(np.int64))
    program = host.build(manifest=manifest, out_dir=tmp_path / "firmware", board="host")
    answers = host.write_answers(tmp_path / "answers.bin", manifest, x, y)
    classes = 2 if head == "mse" else 4
    dataset = from_list("random", [(f"{i}.bin", data, i % classes) for i, data in enumerate(inputs)], classes)
    way = ["--pty"] if head == "softmax" else ["--port", "0"]
    with subprocess.Popen([program, "--answers", answers, "--cycles", "1250", *way], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        kind, where = process.stdout.readline().decode().removeprefix("uart: ").split()
        port = where if kind == "pty" else f"socket://{where}"
        try:
            target = Target(board="host", port=port, engine="host", clock_hz=100_000_000)
            for mode in ("performance", "accuracy"):
                results = bench(
                    target=target,
                    mode=mode,
                    model_dir=tmp_path / "model",
                    out_dir=tmp_path / "out",
                    dataset=dataset,
                    console=quiet(),
                    window=WindowLength(100_000, 300_000),
                )
        finally:
            process.terminate()
    assert (results.bit_exact.samples, results.bit_exact.mismatches) == (COUNT, 0)
    assert results.latency_us is not None
    assert 12.5 <= results.latency_us.median < 12.6
    assert (results.accuracy is None) == (head == "mse")


def test_anomaly_detector(tmp_path: Path) -> None:
    """One score a window, averaged a file; AUC instead of Top-1."""
    manifest = make_model(tmp_path / "model", inputs=64, classes=64, head="mse")
    device = FakeDevice.of(tmp_path / "model")
    files = [data + data[:32] for data in make_inputs(manifest, 6)]
    samples = tuple(Sample(f"{i}.bin", data, i % 2, 64, 16) for i, data in enumerate(files))
    results, _ = run(device, "accuracy", Dataset("ad", 2, samples), tmp_path / "out")
    assert results.accuracy is None and results.bit_exact.samples == 6
    scores = []
    for sample in samples:
        assert len(sample.inputs) == 3
        scores.append(sum(float(one.results[0]) for one in device.reference(sample.inputs)) / 3)
    pairs = [(a > b) + (a == b) / 2 for a in scores[1::2] for b in scores[::2]]
    assert results.auc == sum(pairs) / len(pairs)
    row = (tmp_path / "out" / "samples.csv").read_text().splitlines()[1].split(",")
    assert row == ["0.bin", "0", f"{scores[0]:.6f}", f"{scores[0]:.6f}"]


def test_golden_outputs(tmp_path: Path, device: FakeDevice, dataset: Dataset) -> None:
    """What was printed is compared with what came with the samples, too, and that stays in the results."""
    right = tuple(one.results for one in device.reference([sample.data for sample in dataset.samples]))
    found, said = run(device, "accuracy", replace(dataset, golden=right), tmp_path / "out")
    assert found.golden == BitExact(COUNT, 0)
    assert "equal to the golden outputs" in said and "differ" not in said
    other = (*right[:3], ("0.000",) * 4, *right[4:])
    found, said = run(device, "accuracy", replace(dataset, golden=other), tmp_path / "out")
    assert (found.golden, found.bit_exact) == (BitExact(COUNT, 1), BitExact(COUNT, 0))
    assert "1 samples differ from the golden outputs: 03.bin" in said
    run(device, "performance", dataset, tmp_path / "out")
    assert Results.load(tmp_path / "out").golden == BitExact(COUNT, 1)
    run(device, "accuracy", dataset, tmp_path / "out")
    assert Results.load(tmp_path / "out").golden is None


def test_spectrograms_as_mlperf_tiny_has_them(data: Path, tmp_path: Path) -> None:
    """ad01: files of 128 float32 a frame, of which each five frames are an input that the firmware quantizes."""
    rng = np.random.default_rng(0)
    frames = {"normal_id_01_00000000.bin": 7, "anomaly_id_01_00000000.bin": 6, "anomaly_id_01_00000001.bin": 9}
    sounds = {name: rng.normal(-30, 12, (count, 128)).astype("<f4") for name, count in frames.items()}
    folder = tmp_path / "ad01"
    folder.mkdir()
    lines = []
    for name, sound in sounds.items():
        rest = bytes(100 * ("normal" in name))  # fills no window
        (folder / name).write_bytes(sound.tobytes() + rest)
        lines.append(f"{name},2,{int('anomaly' in name)},2560,512\n")
    (folder / "y_labels.csv").write_text("".join(lines))
    dataset = load_folder(folder)
    windows = [np.stack([sound[i : i + 5].ravel() for i in range(len(sound) - 4)]) for sound in sounds.values()]
    for sample, cut in zip(dataset.samples, windows, strict=True):
        assert sample.inputs == tuple(each.tobytes() for each in cut)

    graph = lower(evaluate.graph(registry.find("ad01")))
    output, meaning = graph.tensors[graph.output], graph.output_affine
    manifest = make_model(tmp_path / "model", inputs=640, classes=640, head="mse", name="ad01")
    x_scale, x_offset, y_scale, y_offset = (
        tuple(map(float, numbers))
        for affine in (graph.input.affine or Affine(), meaning)
        for numbers in (affine.scale, affine.offset)
    )
    manifest = replace(
        manifest,
        input=replace(manifest.input, scale=x_scale, offset=x_offset),
        input_encoding=InputEncoding("float32"),
        output=Output((640,), 640, 640, 1, output.type, y_scale, y_offset),
    )
    manifest.save(tmp_path / "model")
    save(graph, tmp_path / "model" / "graph.npz")
    x = np.concatenate(windows)
    q = manifest.input.quantizer(x)
    y = graph.run(q)
    scores = iter([float(results(manifest, one, other)[0]) for one, other in zip(x, y, strict=True)])
    means = [statistics.fmean(next(scores) for _ in cut) for cut in windows]
    program = host.build(manifest=manifest, out_dir=tmp_path / "firmware", board="host")
    answers = host.write_answers(tmp_path / "answers.bin", manifest, q, y)
    with subprocess.Popen([program, "--answers", answers, "--port", "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().decode().split()[-1]
            found = bench(
                target=Target(board="host", port=f"socket://{port}", engine="host"),
                mode="accuracy",
                model_dir=tmp_path / "model",
                out_dir=tmp_path / "out",
                dataset=dataset,
                console=quiet(),
            )
        finally:
            process.terminate()
    assert (found.samples, found.bit_exact.samples, found.bit_exact.mismatches) == (3, 3, 0)
    assert found.auc == sum(score > means[0] for score in means[1:]) / 2
    rows = (tmp_path / "out" / "samples.csv").read_text().splitlines()[1:]
    assert [row.split(",")[-1] for row in rows] == [f"{score:.6f}" for score in means]
