"""Training of the models that are shipped here: one module a model, one command, the same bytes every time.

Floating-point sums depend on the order in which a machine adds, and so on the number of threads and on the vector
instructions a library picks. Training by the recipe therefore runs in a process of its own with one thread and with the
code paths of PyTorch and its libraries pinned (`environment`), which must happen before they are loaded. A training of
other epochs makes another model anyway, so that it may use whatever the machine has.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from accel.passes import lower
from models import evaluate, fetch, registry
from models.datasets import cifar10
from models.registry import Entry


@dataclass(frozen=True)
class Training:
    """How a model is trained: its module, what that imports, the vector instructions that are pinned."""

    module: str
    needs: tuple[str, ...]
    vectors: str


TRAININGS = {
    "mnist-w2a2": Training("models.train.mnist", ("torch", "brevitas", "onnxoptimizer"), "avx2"),
    "cnv-w1a1": Training("models.train.cnv", ("torch",), "avx512"),
    "resnet8-w4a4": Training("models.train.resnet8", ("torch",), "avx512"),
    "dscnn-w4a4": Training("models.train.dscnn", ("torch",), "avx512"),
}
#: AVX-512 is for convolutions only: CNV takes 400 s an epoch with it and 670 s with AVX2.
PINNED = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "MKL_CBWR": "AVX512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}


class TrainError(RuntimeError):
    """Training that cannot be started or did not end; the message says why."""


def environment(vectors: str) -> dict[str, str]:
    """The variables under which training repeats itself."""
    return PINNED[vectors] | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def train(
    name: str,
    folder: Path | None = None,
    *,
    epochs: int | None = None,
    restart: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Train ``name`` and export it to ``folder``/NAME.onnx (default ``build/train/NAME``); returns that path.

    A training that was interrupted goes on after its last whole epoch, unless ``restart``. ``epochs`` other than the
    recipe's own give another model; networks of images then train on a GPU, if there is one, and on all cores.
    Raises TrainError.
    """
    if name not in TRAININGS:
        raise TrainError(f"only {', '.join(TRAININGS)} can be trained here, not {name!r}")
    if epochs is not None and epochs < 1:
        raise TrainError(f"epochs must be a positive integer, not {epochs}")
    training = TRAININGS[name]
    if missing := [package for package in training.needs if importlib.util.find_spec(package) is None]:
        raise TrainError(f"training needs {', '.join(missing)}: pip install 'headrace[train]'")
    folder = folder or Path("build") / "train" / name
    command = [sys.executable, "-m", training.module, str(folder)]
    command += ["--epochs", str(epochs)] if epochs is not None else []
    command += ["--restart"] if restart else []
    free = epochs is not None and training.vectors != "avx2"
    variables = os.environ | ({} if free else environment(training.vectors))
    if code := subprocess.run(command, env=variables, check=False).returncode:
        raise TrainError(f"training of {name} ended with status {code}; the same command goes on where it stopped")
    path = folder / f"{name}.onnx"
    say(compare(registry.find(name), path))
    return path


def compare(shipped: Entry, path: Path) -> str:
    """The trained file beside the shipped one: its exact accuracy on the whole test set, and whether bytes agree."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    inputs, labels = test_set(shipped)
    graph = lower(evaluate.graph(replace(shipped, path=path, sha256=digest)))  # the same integers in less time
    right = evaluate.right(graph, inputs, labels)
    same = "the same bytes as" if digest == shipped.sha256 else "not the bytes of"
    return f"{path}: {right} of {len(labels)} test samples right in exact arithmetic; {same} the shipped model"


def test_set(shipped: Entry) -> tuple[np.ndarray, np.ndarray]:
    """The whole test set of what a model was trained for: samples (n, elements) and labels (n,). Raises FetchError."""
    if shipped.task == "ic01":  # its benchmark's set has 200 of the 10,000
        images, labels = cifar10.load("test")
        return images.reshape(len(images), -1).astype(np.int64), labels.astype(np.int64)
    return evaluate.read(fetch.samples(shipped, shipped.datasets[-1]), evaluate.wire(shipped))
