"""The shipped networks are what the registry says, and their training can be interrupted and repeated."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from accel.frontends import load
from accel.graph import Conv, Dense, Graph, IntType
from models import evaluate, registry, train
from models.datasets import cifar10, dataset, mnist
from models.train import TrainError

IMAGES = {"cnv-w1a1": (1_542_848, 59_461_376), "dscnn-w4a4": (35_680, 4592896), "resnet8-w4a4": (77_360, 12_501_632)}


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        any(importlib.util.find_spec(package) is None for package in train.TRAININGS[name].needs),
        reason=f"{', '.join(train.TRAININGS[name].needs)} are not installed (extra `train`): nothing is trained",
    )


def layers(graph: Graph) -> list[Conv | Dense]:
    return [op for op in graph.operators if isinstance(op, (Conv, Dense))]


def pixels(layer: Conv | Dense, graph: Graph) -> int:
    return int(np.prod(graph.tensors[layer.output].shape[:-1]))


def test_the_default_network_is_exactly_as_good_as_the_registry_says() -> None:
    entry = registry.find("mnist-w2a2")
    graph = evaluate.graph(entry)
    assert graph.input.shape == (784,) and graph.input.type == IntType(0, 255) and graph.head == "softmax"
    dense = layers(graph)
    assert [op.weights.shape for op in dense] == [(64, 784), (64, 64), (10, 64)]
    assert {int(w) for op in dense for w in op.weights.flat} == {-1, 0, 1}
    assert sum(op.weights.size for op in dense) == entry.macs
    right, samples = evaluate.top1(entry)
    assert (right / samples, samples) == (entry.accuracy["mnist-50"], 50)


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images_are_read_as_their_files_say(name: str) -> None:
    entry = registry.find(name)
    graph = evaluate.graph(entry)
    assert graph.input.shape == (32, 32, 3) and graph.input.type == IntType(0, 255)
    assert graph.head == ("scores" if name == "cnv-w1a1" else "softmax")
    weights, macs = IMAGES[name]
    assert sum(op.weights.size for op in layers(graph)) == weights
    assert sum(op.weights.size * pixels(op, graph) for op in layers(graph)) == macs == entry.macs
    levels = {int(w) for op in layers(graph) for w in op.weights.flat}
    assert levels == ({-1, 1} if name == "cnv-w1a1" else set(range(-7, 8)))
    assert entry.path is not None
    check(entry.path, graph)


def check(path: Path, graph: Graph) -> None:
    """Scores of the graph are those of the file, in floating point that is much finer than any tie."""
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3))
    scale = float(graph.output_affine.scale[0])
    for image, scores in zip(images, graph.run(images), strict=True):
        expected = evaluate_file(path, (image / 256).transpose(2, 0, 1)[None])
        assert np.allclose(expected / scale, np.rint(expected / scale), atol=1e-6)
        assert np.array_equal(np.rint(expected / scale)[0], scores)


def evaluate_file(path: Path, x: np.ndarray) -> np.ndarray:
    """The network's output in float64, up to a Softmax; written from the operators' definitions for what is shipped."""
    model = onnx.load(path)
    values: dict[str, Any] = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    values["input"] = x
    for node in model.graph.node:
        a = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        i = [values[name] for name in node.input]
        values[node.output[0]] = result = _evaluate(node.op_type, i, a)
    return result


def _evaluate(operator: str, i: list[Any], a: dict[str, Any]) -> Any:
    match operator:
        case "DequantizeLinear":
            return i[0] * i[1].reshape(-1, *[1] * (i[0].ndim - 1)) if i[1].ndim else i[0] * i[1]
        case "Quant":
            x, scale, zero, bits = i
            assert zero == 0 and not a["narrow"] and a["rounding_mode"] == b"ROUND"
            lo = -(2 ** (bits - 1)) if a["signed"] else 0
            return np.clip(np.rint(x / scale), lo, lo + 2**bits - 1) * scale
        case "BipolarQuant":
            return np.where(i[0] >= 0, i[1], -i[1])
        case "BatchNormalization":
            x, scale, bias, mean, variance = i[0], *(v.reshape(-1, *[1] * (i[0].ndim - 2)) for v in i[1:])
            return (x - mean) / np.sqrt(variance + a["epsilon"]) * scale + bias
        case "Conv":
            top, left, bottom, right = a["pads"]
            x = np.pad(i[0][0], ((0, 0), (top, bottom), (left, right)))
            views = np.lib.stride_tricks.sliding_window_view(x, a["kernel_shape"], axis=(1, 2))
            views = views[:, :: a["strides"][0], :: a["strides"][1]]
            groups = zip(np.split(views, a["group"]), np.split(i[1], a["group"]), strict=True)
            return np.concatenate([np.tensordot(w, v, ((1, 2, 3), (0, 3, 4))) for v, w in groups])[None]
        case "MaxPool":
            _, channels, rows, columns = i[0].shape
            assert a["kernel_shape"] == a["strides"] == [2, 2]
            return i[0].reshape(1, channels, rows // 2, 2, columns // 2, 2).max(axis=(3, 5))
        case "GlobalAveragePool":
            return i[0].mean(axis=(2, 3), keepdims=True)
        case "Flatten":
            return i[0].reshape(1, -1)
        case "MatMul":
            return i[0] @ i[1]
        case "Add":
            return i[0] + i[1]
        case "Softmax":
            return i[0]
    raise NotImplementedError(operator)


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("mnist-w2a2", "mnist"),
        ("kws-w3a3", "kws01-w3a3"),
        ("tfc-w1a1", "mnist-50"),
        *((name, "ic01") for name in (*IMAGES, "rn07")),
    ],
)
def test_expected_accuracies(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, samples: str
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    entry = registry.find(name)
    right, count = evaluate.top1(entry, samples)
    assert right / count == entry.accuracy[samples]


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_accuracies_on_the_whole_test_set(data: Path, name: str) -> None:
    pytest.importorskip("PIL")
    entry = registry.find(name)
    assert entry.path is not None and entry.test_accuracy is not None
    assert f": {round(entry.test_accuracy * 10_000)} of 10000 test samples right" in train.compare(entry, entry.path)


def test_samples_are_scored_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.find("mnist-w2a2")
    graph = evaluate.graph(entry)
    inputs, labels = train.test_set(replace(entry, datasets=("mnist-50",)))
    whole = evaluate.right(graph, inputs, labels)
    assert whole == 49
    sizes = []
    run = Graph.run
    monkeypatch.setattr(Graph, "run", lambda self, x: sizes.append(len(x)) or run(self, x))
    monkeypatch.setattr(evaluate, "ELEMENTS", 784 * 20)
    assert evaluate.right(graph, inputs, labels) == whole and sizes == [20, 20, 10]


def test_what_cannot_be_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = "mnist-w2a2, cnv-w1a1, resnet8-w4a4, dscnn-w4a4"
    with pytest.raises(TrainError, match=rf"^only {names} can be trained here, not 'kws01'$"):
        train.train("kws01")
    with pytest.raises(TrainError, match=r"^epochs must be a positive integer, not 0$"):
        train.train("mnist-w2a2", epochs=0)
    training = train.TRAININGS["mnist-w2a2"]
    monkeypatch.setitem(
        train.TRAININGS, "mnist-w2a2", train.Training(training.module, ("numpy", "no_such_package"), "avx2")
    )
    with pytest.raises(TrainError, match=r"^training needs no_such_package: pip install 'headrace\[train\]'$"):
        train.train("mnist-w2a2")
    monkeypatch.setitem(train.TRAININGS, "mnist-w2a2", train.Training(training.module, (), "avx2"))
    (tmp_path / "file").touch()
    with pytest.raises(
        TrainError, match=r"^training of mnist-w2a2 ended with status [1-9]\d*; the same command goes on"
    ):
        train.train("mnist-w2a2", tmp_path / "file")


def test_only_a_training_by_the_recipe_is_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Run:
        returncode = 0

    calls: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(train.subprocess, "run", lambda c, env, check: calls.append((c[1:], env)) or Run())
    monkeypatch.setattr(train, "compare", lambda shipped, path: f"{shipped.name} {path.name}")
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(train.os, "environ", {"HOME": "/"})
    said: list[str] = []
    for name, epochs in (("resnet8-w4a4", None), ("resnet8-w4a4", 9), ("mnist-w2a2", 9)):
        train.train(name, tmp_path, epochs=epochs, say=said.append)
    assert said == ["resnet8-w4a4 resnet8-w4a4.onnx"] * 2 + ["mnist-w2a2 mnist-w2a2.onnx"]
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    assert calls == [
        (["-m", "models.train.resnet8", str(tmp_path)], {"HOME": "/"} | train.PINNED["avx512"] | one),
        (["-m", "models.train.resnet8", str(tmp_path), "--epochs", "9"], {"HOME": "/"}),
        (["-m", "models.train.mnist", str(tmp_path), "--epochs", "9"], {"HOME": "/"} | train.PINNED["avx2"] | one),
    ]


def digits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 10, 1500).astype(np.uint8)
    strokes = rng.integers(0, 256, (10, 784)) * (rng.random((10, 784)) < 0.2)
    return np.clip(strokes[labels] + rng.integers(0, 64, (1500, 784)), 0, 255).astype(np.uint8), labels


def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 10, 80).astype(np.uint8)
    colours = rng.integers(0, 192, (10, 1, 1, 3))
    return (colours[labels] + rng.integers(0, 64, (80, 32, 32, 3))).astype(np.uint8), labels


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mnist-w2a2", marks=needs("mnist-w2a2")),
        pytest.param("dscnn-w4a4", marks=needs("dscnn-w4a4")),
        pytest.param("cnv-w1a1", marks=(needs("cnv-w1a1"), pytest.mark.slow)),
    ],
)
def test_an_interrupted_training_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    torch = pytest.importorskip("torch")
    loop = importlib.import_module("models.train.loop")
    trainer = importlib.import_module(train.TRAININGS[name].module)
    rng = np.random.default_rng(1)
    if name == "mnist-w2a2":
        images, labels = digits(rng)
        monkeypatch.setattr(mnist, "load", lambda part: (images, labels))
        monkeypatch.setattr(trainer, "HELD_OUT", 500)
        recipe = trainer.Recipe(epochs=3, batch=50)
        train_one = trainer.train
    else:
        images, labels = pictures(rng)
        common = importlib.import_module("models.train.images")
        monkeypatch.setattr(cifar10, "load", lambda part: (images, labels))
        monkeypatch.setattr(common, "HELD_OUT", 30)
        recipe = common.Recipe(epochs=3, batch=25, learning_rate=1e-2)
        if name == "cnv-w1a1":
            recipe = replace(recipe, epochs=1, cycle=2, frozen=((6, 2), (11, 3)))

        def train_one(folder: Path, recipe: Any) -> Path:
            return common.train(name, trainer.network, folder, recipe, softmax=True)

    whole = train_one(tmp_path / "whole", recipe).read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    save = loop.save
    for epoch in (1, 2):  # killed after an epoch, and in the middle of writing the next checkpoint
        monkeypatch.setattr(loop, "save", lambda *a, last=epoch, **parts: save(*a, **parts) if a[2] <= last else stop())
        with pytest.raises(KeyboardInterrupt):
            train_one(tmp_path / "broken", recipe)
    monkeypatch.setattr(loop, "save", save)
    path = train_one(tmp_path / "broken", recipe)
    assert path.read_bytes() == whole
    assert train_one(tmp_path / "broken", recipe).read_bytes() == whole

    graph = load(path, name=name)
    model = trainer.network()
    model.load_state_dict(torch.load(path.parent / "checkpoint.pt", weights_only=True)["model"])
    for first, _ in getattr(recipe, "frozen", ()):
        state = torch.load(path.parent / f"from-{first}" / "checkpoint.pt", weights_only=True)["model"]
        model[first:].load_state_dict(state)
    model.eval()
    with torch.no_grad():
        real = torch.tensor(images).float() / 256
        logits = model(real if name == "mnist-w2a2" else real.permute(0, 3, 1, 2)).numpy()
    exact = evaluate.scores(graph, graph.run(images.astype(np.int64)))
    same = exact.argmax(axis=1) == logits.argmax(axis=1)
    assert same.all() if name == "mnist-w2a2" else same.mean() > 0.95  # where float32 meets a tie, it may differ


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in IMAGES])
def test_a_network_is_written_as_it_computes(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    export = importlib.import_module("models.train.export")
    trainer = importlib.import_module(train.TRAININGS[name].module)
    torch.manual_seed(1)
    model = trainer.network()
    assert name == trainer.NAME
    for _ in range(3):  # normalizations that are not their first ones
        model(torch.rand(4, 3, 32, 32))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.bias.data.normal_(std=0.3)
    path = export.write(model.eval(), tmp_path / f"{name}.onnx", shape=(3, 32, 32), outputs=10)
    graph = load(path, name=name)
    check(path, graph)
    images = np.random.default_rng(2).integers(0, 256, (2, 32, 32, 3))
    with torch.no_grad():
        outputs = model.double()(torch.tensor(images).permute(0, 3, 1, 2).double() / 256).numpy()
    assert np.allclose(outputs, graph.run(images) * float(graph.output_affine.scale[0]), rtol=1e-6, atol=1e-6)
    with pytest.raises(TypeError, match=r"^Tanh cannot be written$"):
        export.write(torch.nn.Tanh(), path, shape=(1,), outputs=1)


@needs("dscnn-w4a4")
def test_images_are_mirrored_and_moved_whole() -> None:
    torch = pytest.importorskip("torch")
    common = importlib.import_module("models.train.images")
    torch.manual_seed(1)
    image = np.random.default_rng(1).integers(1, 256, (32, 32, 3)).astype(np.uint8)
    some = common.distort(torch.tensor(np.stack([image] * 200)), 2).numpy()
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    ways = {}
    for down, across, mirrored in np.ndindex(5, 5, 2):
        crop = padded[down : down + 32, across : across + 32]
        ways[(crop[:, ::-1] if mirrored else crop).tobytes()] = down, across, mirrored
    seen = [ways.get(each.tobytes()) for each in some]
    assert None not in seen and len(set(seen)) > 45
    same = common.distort(torch.tensor(image[None]), 0).numpy()[0]
    assert any(np.array_equal(same, each) for each in (image, image[:, ::-1]))


def test_the_local_form_of_cifar10_holds_the_benchmarks_images(data: Path) -> None:
    pytest.importorskip("PIL")
    images, labels = cifar10.load("test")
    assert images.shape == (10_000, 32, 32, 3) and np.bincount(labels).tolist() == [1000] * 10
    samples, classes = evaluate.read(data / "datasets" / "ic01", "uint8")
    places = list(dataset.find("ic01").positions)
    assert np.array_equal(images[places].reshape(200, -1), samples) and np.array_equal(labels[places], classes)
