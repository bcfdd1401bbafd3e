"""The shipped network is what the registry says, and its training can be interrupted and repeated."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from accel.graph import IntType
from models import evaluate, registry, train
from models.datasets import mnist
from models.train import TrainError

trainable = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in train.NEEDS),
    reason="PyTorch and Brevitas are not installed (extra `train`): nothing is trained",
)


def test_the_shipped_network_is_exactly_as_good_as_the_registry_says() -> None:
    entry = registry.find("mnist-w2a2")
    graph = evaluate.graph(entry)
    assert graph.input.shape == (784,) and graph.input.type == IntType(0, 255) and graph.head == "softmax"
    dense = [op for op in graph.operators if type(op).__name__ == "Dense"]
    assert [op.weights.shape for op in dense] == [(64, 784), (64, 64), (10, 64)]
    assert {int(w) for op in dense for w in op.weights.flat} == {-1, 0, 1}
    assert sum(op.weights.size for op in dense) == entry.macs
    right, samples = evaluate.top1(entry)
    assert (right / samples, samples) == (entry.accuracy["mnist-50"], 50)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("mnist-w2a2", "mnist"), ("kws-w3a3", "kws01-w3a3"), ("tfc-w1a1", "mnist-50")],
)
def test_expected_accuracies(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, dataset: str
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    entry = registry.find(name)
    right, samples = evaluate.top1(entry, dataset)
    assert right / samples == entry.accuracy[dataset]


def test_what_cannot_be_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"^only mnist-w2a2 can be trained here, not 'kws01'$"):
        train.train("kws01")
    with pytest.raises(TrainError, match=r"^epochs must be a positive integer, not 0$"):
        train.train("mnist-w2a2", epochs=0)
    monkeypatch.setattr(train, "NEEDS", ("numpy", "no_such_package"))
    with pytest.raises(TrainError, match=r"^training needs no_such_package: pip install 'headrace\[train\]'$"):
        train.train("mnist-w2a2")
    monkeypatch.setattr(train, "NEEDS", ())
    (tmp_path / "models").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(
        TrainError, match=r"^training of mnist-w2a2 ended with status [1-9]\d*; the same command goes on"
    ):
        train.train("mnist-w2a2", tmp_path / "file")


@trainable
def test_an_interrupted_training_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    trainer = importlib.import_module("models.train.mnist")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, 1500).astype(np.uint8)
    strokes = rng.integers(0, 256, (10, 784)) * (rng.random((10, 784)) < 0.2)
    images = np.clip(strokes[labels] + rng.integers(0, 64, (1500, 784)), 0, 255).astype(np.uint8)
    monkeypatch.setattr(mnist, "load", lambda part: (images, labels))
    monkeypatch.setattr(trainer, "HELD_OUT", 500)
    recipe = trainer.Recipe(epochs=3, batch=50)

    whole = trainer.train(tmp_path / "whole", recipe).read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    save = trainer._save
    for epoch in (1, 2):  # killed after an epoch, and in the middle of writing the next checkpoint
        monkeypatch.setattr(
            trainer, "_save", lambda *a, last=epoch, **parts: save(*a, **parts) if a[2] <= last else stop()
        )
        with pytest.raises(KeyboardInterrupt):
            trainer.train(tmp_path / "broken", recipe)
    monkeypatch.setattr(trainer, "_save", save)
    path = trainer.train(tmp_path / "broken", recipe)
    assert path.read_bytes() == whole
    assert trainer.train(tmp_path / "broken", recipe).read_bytes() == whole

    entry = registry.find(path)
    graph = evaluate.graph(entry)
    model = trainer.network()
    model.load_state_dict(torch.load(path.parent / "checkpoint.pt", weights_only=True)["model"])
    pixels = torch.tensor(images).float() / 256
    model.eval()
    with torch.no_grad():
        logits = model(pixels).numpy()
    exact = evaluate.scores(graph, graph.run(images.astype(np.int64)))
    assert np.array_equal(exact.argmax(axis=1), logits.argmax(axis=1))
