"""Samples: the official layout, lists, and random inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_device import make_model

from accel.graph import IntType
from accel.graph.head import results
from accel.passes import lower
from bench import BenchError, Sample, from_list, load_folder, random_inputs
from models import evaluate, registry


def test_a_real_folder(data: Path) -> None:
    kws = load_folder(data / "datasets" / "kws01-w3a3")
    assert (kws.name, kws.classes, len(kws.samples)) == ("kws01-w3a3", 12, 1000)
    first = kws.samples[0]
    assert (first.file, first.label, len(first.data)) == ("tst_000000_Stop_7.bin", 7, 490)
    assert first.inputs == (first.data,)


def test_golden_outputs(data: Path, tmp_path: Path) -> None:
    """TFLite's own outputs beside the samples, as our reference prints them; a file that is wrong."""
    entry = registry.find("kws01")
    kws = load_folder(data / "datasets" / "kws01", golden=entry.golden)
    graph = lower(evaluate.graph(entry))
    x = np.stack([np.frombuffer(sample.data, np.int8).reshape(graph.input.shape) for sample in kws.samples[::50]])
    x = x.astype(np.int64)
    y = graph.run(x)
    assert kws.golden is not None and len(kws.golden) == 1000
    assert [list(row) for row in kws.golden[::50]] == [results(graph, a, b) for a, b in zip(x, y, strict=True)]
    assert load_folder(data / "datasets" / "kws01").golden is None

    (tmp_path / "a.bin").write_bytes(b"123")
    (tmp_path / "y_labels.csv").write_text("a.bin,3,1\n")
    path = tmp_path / "golden.npy"
    assert load_folder(tmp_path, golden=path.name).golden is None
    np.save(path, np.array([[-128, 127, 0]], np.int8))
    assert load_folder(tmp_path, golden=path.name).golden == (("0.000", "0.996", "0.500"),)
    for array in (np.zeros((2, 3), np.int8), np.zeros((1, 3), np.uint8)):
        np.save(path, array)
        with pytest.raises(BenchError) as caught:
            load_folder(tmp_path, golden=path.name)
        wrong = f"{array.dtype} of {array.shape}"
        assert str(caught.value) == f"{path}: must hold int8 of shape (1, 3), not {wrong}; move it away"
    path.write_bytes(b"x")
    with pytest.raises(BenchError, match=r"golden\.npy: cannot be read \(.*\); move it away$"):
        load_folder(tmp_path, golden=path.name)


def test_windows_and_labels(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(20)))
    (tmp_path / "y_labels.csv").write_text("a.bin, 2, 1, 8, 4\n\n")
    dataset = load_folder(tmp_path)
    (sample,) = dataset.samples
    assert (sample.window, sample.stride, sample.label) == (8, 4, 1)
    assert sample.inputs == (bytes(range(8)), bytes(range(4, 12)), bytes(range(8, 16)), bytes(range(12, 20)))
    assert replace(sample, stride=9).inputs == (bytes(range(8)), bytes(range(9, 17)))
    assert Sample("short", b"1234", 0, 8, 4).inputs == ()
    other = from_list(dataset.name, [("a.bin", sample.data, 1)], 2)
    assert len(dataset.digest) == 16 and dataset.digest != other.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.bin,2\n", "y_labels.csv:1: expected file,classes,label[,window,stride], not 'a.bin,2'"),
        ("a.bin,2,x\n", "y_labels.csv:1: expected file,classes,label[,window,stride], not 'a.bin,2,x'"),
        ("a.bin,2,1,8\n", "y_labels.csv:1: window and stride must be two positive numbers of bytes, not [8]"),
        ("a.bin,2,1,8,0\n", "y_labels.csv:1: window and stride must be two positive numbers of bytes, not [8, 0]"),
        ("a.bin,2,2\n", "y_labels.csv:1: label must lie within 0..1, not 2"),
        ("a.bin,2,1\na.bin,2,1\n", "y_labels.csv:2: a.bin is listed twice"),
        ("a.bin,2,1\nb.bin,2,1\n", "y_labels.csv:2: {folder}/b.bin: No such file or directory"),
        ("a.bin,2,1\nc.bin,3,1\n", "y_labels.csv: different numbers of classes (2, 3)"),
        ("\n", "y_labels.csv: no sample"),
        (None, "y_labels.csv: No such file or directory; a folder of samples needs this file (file,classes,label)"),
    ],
)
def test_a_folder_that_is_wrong(tmp_path: Path, text: str | None, message: str) -> None:
    for name in ("a.bin", "c.bin"):
        (tmp_path / name).write_bytes(b"123")
    if text is not None:
        (tmp_path / "y_labels.csv").write_text(text)
    with pytest.raises(BenchError) as caught:
        load_folder(tmp_path)
    assert str(caught.value) == f"{tmp_path}/{message.format(folder=tmp_path)}"


def test_a_list_that_is_wrong() -> None:
    with pytest.raises(BenchError, match="data set x: no sample"):
        from_list("x", [], 2)
    with pytest.raises(BenchError, match=r"data set x: a: label must lie within 0..1, not -1"):
        from_list("x", [("a", b"", -1)], 2)
    with pytest.raises(BenchError, match="data set x: two samples have the same name"):
        from_list("x", [("a", b"", 0), ("a", b"", 1)], 2)


def test_random_inputs_fit_the_model(tmp_path: Path) -> None:
    manifest = make_model(tmp_path)
    dataset = random_inputs(manifest, 7)
    assert [len(sample.data) for sample in dataset.samples] == [70] * 7
    assert not dataset.labelled and dataset.digest == random_inputs(manifest, 7).digest
    bipolar = replace(manifest, input=replace(manifest.input, type=IntType.bipolar()))
    assert {byte for sample in random_inputs(bipolar).samples for byte in sample.data} == {1, 255}
