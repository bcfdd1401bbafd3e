"""Model files and sample sets: shipped, local, downloaded, built from an archive; always checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from http_server import Server, serving

from models import download, fetch, registry
from models.datasets import cifar10, dataset, mnist, official
from models.datasets.dataset import Dataset
from models.datasets.official import LayoutError
from models.download import FetchError, File


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_DATA", raising=False)


def known(monkeypatch: pytest.MonkeyPatch, dataset_: Dataset) -> None:
    monkeypatch.setattr(dataset, "all", lambda: (dataset_,))


@pytest.mark.usefixtures("offline")
def test_what_is_shipped_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.find(registry.DEFAULT)
    path, folder = fetch.model(entry), fetch.samples(entry)
    assert path.stat().st_size < 300_000
    rows = official.files(folder)
    assert len(rows) == 50 and sorted(label for _, label in rows) == sorted([*range(10)] * 5)
    assert {(folder / name).stat().st_size for name, _ in rows} == {784}

    copy = tmp_path / "shipped"
    shutil.copytree(registry.SHIPPED, copy)
    monkeypatch.setattr(registry, "SHIPPED", copy)
    (copy / "mnist-50" / rows[3][0]).write_bytes(bytes(784))
    with pytest.raises(
        FetchError, match=r"shipped/mnist-50: sha256 of index and samples is [0-9a-f]{64}, expected f1c5"
    ):
        fetch.samples(entry)
    (copy / "mnist-50" / rows[3][0]).unlink()
    with pytest.raises(FetchError, match=r"shipped/mnist-50/t10k_00003_0\.bin: No such file or directory$"):
        fetch.samples(entry)
    damaged = replace(entry, path=copy / entry.file)
    (copy / entry.file).write_bytes(b"")
    with pytest.raises(FetchError, match=rf"{entry.file}: sha256 is e3b0c442[0-9a-f]*, expected {entry.sha256}$"):
        fetch.model(damaged)
    (copy / entry.file).unlink()
    with pytest.raises(FetchError, match=rf"{entry.file}: there is no such file$"):
        fetch.model(damaged)


def test_every_model_and_set_at_hand_is_right(data: Path) -> None:
    for entry in registry.all():
        if not entry.trained_here:
            assert fetch.model(entry) == data / "models" / entry.file
    for name, samples in (("kws01", 1000), ("kws01-w3a3", 1000), ("ic01", 200)):
        assert len(official.files(fetch.fetch_dataset(name))) == samples
    # The 200 images of ic01 are these of CIFAR-10's test set: their classes agree.
    labels = (data / "cifar10" / "test_batch.labels").read_bytes()
    rows = official.files(data / "datasets" / "ic01")
    assert [labels[i] for i in dataset.find("ic01").positions] == [label for _, label in rows]


def test_mnist_from_its_archives(data: Path, cache: Path) -> None:
    images, labels = mnist.load("train")
    assert images.shape == (60000, 784) and np.bincount(labels)[[0, 9]].tolist() == [5923, 5949]
    folder = fetch.fetch_dataset("mnist")
    rows = official.files(folder)
    assert folder == cache / "datasets" / "mnist" and len(rows) == 10_000
    shipped = registry.SHIPPED / "mnist-50"
    counts = [0] * 10
    first = [row for row in rows if (counts.__setitem__(row[1], counts[row[1]] + 1) or counts[row[1]]) <= 5]
    assert official.files(shipped) == first
    for name, _ in first:
        assert (shipped / name).read_bytes() == (folder / name).read_bytes()
    assert fetch.fetch_dataset("mnist") == folder
    (folder / rows[7][0]).write_bytes(b"")
    with pytest.raises(FetchError, match=r"^mnist: sha256 is [0-9a-f]{64}, expected b62b.*mnist\.bad, not used"):
        fetch.fetch_dataset("mnist")
    assert not folder.exists()


@pytest.mark.usefixtures("offline")
def test_a_set_of_single_files(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    samples = [(f"s{i}.bin", i % 12, bytes([i]) * 490) for i in range(30)]
    official.write(tmp_path / "right", samples, classes=12)
    server.files = {p.name: p.read_bytes() for p in (tmp_path / "right").iterdir()}
    right = official.digest(tmp_path / "right")
    index = server.url("y_labels.csv")
    words = Dataset("words", "t", "kws01", "files", 30, "x", right, server.url("").rstrip("/"), index)
    known(monkeypatch, words)

    del server.files["s7.bin"]
    with pytest.raises(FetchError, match=r"s7\.bin cannot be downloaded: 404 Not Found; or put it at .*datasets/words"):
        fetch.fetch_dataset("words")
    assert not (cache / "datasets" / "words").exists()
    server.files["s7.bin"] = samples[7][2]
    server.cut = [100]  # one of the transfers breaks off
    server.ranges.clear()
    folder = fetch.fetch_dataset("words")
    assert folder == cache / "datasets" / "words" and official.digest(folder) == right
    assert len(server.ranges) < 32, "what an earlier run brought is not fetched again"
    server.ranges.clear()
    assert fetch.fetch_dataset("words") == folder and server.ranges == []

    (folder / "s3.bin").write_bytes(bytes(490))
    for _ in range(2):  # each bad folder is kept under a name of its own
        with pytest.raises(
            FetchError, match=rf"^words: sha256 is [0-9a-f]{{64}}, expected {right}, from http.*words\.bad"
        ):
            fetch.fetch_dataset("words")
        folder.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "right" / "y_labels.csv", folder)
        for name, _, content in samples:
            (folder / name).write_bytes(content[::-1] if name != "s3.bin" else bytes(490))
    assert len(list(folder.parent.glob("words.bad*"))) == 2


@pytest.mark.usefixtures("offline")
def test_cifar10_samples_from_the_archive(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (5, 32, 32, 3), np.uint8), [3, 1, 4, 1, 5]
    records = b"".join(bytes([c]) + i.transpose(2, 0, 1).tobytes() for i, c in zip(images, labels, strict=True))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in (
            ("test_batch", records),
            *((f"data_batch_{i}", records[i * 3073 :]) for i in range(1, 6)),
        ):
            info = tarfile.TarInfo(cifar10.MEMBER.format(name))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    archive = File("archives/c.tar.gz", hashlib.sha256(packed.getvalue()).hexdigest(), server.url("c.tar.gz"))
    monkeypatch.setattr(cifar10, "ARCHIVE", archive)
    chosen = [4, 0]
    samples = [(f"{i}.bin", labels[i], images[i].tobytes()) for i in chosen]
    official.write(tmp_path / "right", samples, classes=10)
    server.files = {"c.tar.gz": packed.getvalue(), "y.csv": (tmp_path / "right" / "y_labels.csv").read_bytes()}
    right = official.digest(tmp_path / "right")
    set_ = Dataset("pics", "t", "ic01", "cifar10", 2, "x", right, None, server.url("y.csv"), positions=tuple(chosen))
    known(monkeypatch, replace(set_, positions=(0, 4)))
    with pytest.raises(FetchError, match=r"^4\.bin: the index says class 5, image 0 is of class 3$"):
        fetch.fetch_dataset("pics")
    known(monkeypatch, set_)
    assert official.digest(fetch.fetch_dataset("pics")) == right
    for part, places in (("test", range(5)), ("train", [i for first in range(1, 6) for i in range(first, 5)])):
        pixels, classes = cifar10.load(part)
        assert np.array_equal(pixels, images[[*places]]) and classes.tolist() == [labels[i] for i in places]


@pytest.mark.usefixtures("offline")
def test_what_cannot_be_downloaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(fetch.NoSamplesError) as error:
        fetch.samples(registry.find("ad01"))
    assert str(error.value).startswith("ad01 cannot be downloaded: the benchmark makes it from the ToyADMOS recordings")
    tail = f"Make it, then put it at {cache}/datasets/ad01, or set HEADRACE_DATA to a folder that has datasets/ad01"
    assert str(error.value).endswith(tail)
    folder = cache / "datasets" / "ad01"
    official.write(folder, [("a.bin", 0, bytes(2560)), ("b.bin", 1, bytes(3072))], classes=2)
    assert fetch.samples(registry.find("ad01")) == folder
    (folder / "b.bin").write_bytes(bytes(2559))
    with pytest.raises(FetchError, match=r"b\.bin: must have at least 2560 bytes, not 2559$"):
        fetch.samples(registry.find("ad01"))
    official.write(cache / "datasets" / "vww01", [("a.bin", 0, bytes(27649))], classes=2)
    with pytest.raises(FetchError, match=r"a\.bin: must have 27648 bytes, not 27649$"):
        fetch.samples(registry.find("vww01"))
    with pytest.raises(FetchError, match=r"^ad08 has no sample set$"):
        fetch.samples(registry.find("ad08"))
    with pytest.raises(FetchError, match=r"^kws01 can be run on kws01, not on 'ic01'$"):
        fetch.samples(registry.find("kws01"), "ic01")
    with pytest.raises(FetchError, match=r"^models/ad08\.onnx has no public address \(QONNX made from https://"):
        fetch.model(registry.find("ad08"))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("", "/y_labels.csv: has no samples"),
        ("a.bin,10\n", "/y_labels.csv, line 1: must be file,classes,label, not 'a.bin,10'"),
        ("a.bin,10,0\n\nb.bin,10,x\n", "/y_labels.csv, line 3: must be file,classes,label, not 'b.bin,10,x'"),
        ("../a.bin,10,0\n", "/y_labels.csv, line 1: must be file,classes,label, not '../a.bin,10,0'"),
    ],
)
def test_an_index_that_is_not_one(tmp_path: Path, index: str, message: str) -> None:
    with pytest.raises(LayoutError, match=r"y_labels\.csv: No such file or directory$"):
        official.files(tmp_path)
    (tmp_path / "y_labels.csv").write_text(index)
    with pytest.raises(LayoutError) as error:
        official.files(tmp_path)
    assert str(error.value) == f"{tmp_path}{message}"


def test_idx_files(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    header = b"\0\0\x08\x03" + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))
    assert np.array_equal(mnist.read_idx(path), array)
    path.write_bytes(gzip.compress(header + array.tobytes()[:-1]))
    with pytest.raises(ValueError, match=r"x\.gz: has 23 bytes of content, its header says \(2, 3, 4\)$"):
        mnist.read_idx(path)
    for content in (b"", b"\0\0\x0b\x01\0\0\0\0", header[:10]):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=r"x\.gz: is not an idx file of unsigned bytes$"):
            mnist.read_idx(path)
