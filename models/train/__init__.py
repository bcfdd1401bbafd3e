"""Training of the models that are shipped here: one module a model, one command, the same bytes every time.

Floating-point sums depend on the order in which a machine adds, and so on the number of threads and on the vector
instructions a library picks. Training therefore runs in a process of its own with one thread and with the code paths of
PyTorch and its libraries pinned (`ENVIRONMENT`), which must happen before they are loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from models import evaluate, registry
from models.registry import Entry

MODULES = {"mnist-w2a2": "models.train.mnist"}
NEEDS = ("torch", "brevitas", "onnxoptimizer")
ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


class TrainError(RuntimeError):
    """Training that cannot be started or did not end; the message says why."""


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
    recipe's own are for trying out: they give another model. Raises TrainError.
    """
    if name not in MODULES:
        raise TrainError(f"only {', '.join(MODULES)} can be trained here, not {name!r}")
    if epochs is not None and epochs < 1:
        raise TrainError(f"epochs must be a positive integer, not {epochs}")
    if missing := [package for package in NEEDS if importlib.util.find_spec(package) is None]:
        raise TrainError(f"training needs {', '.join(missing)}: pip install 'headrace[train]'")
    folder = folder or Path("build") / "train" / name
    command = [sys.executable, "-m", MODULES[name], str(folder)]
    command += ["--epochs", str(epochs)] if epochs is not None else []
    command += ["--restart"] if restart else []
    if code := subprocess.run(command, env=os.environ | ENVIRONMENT, check=False).returncode:
        raise TrainError(f"training of {name} ended with status {code}; the same command goes on where it stopped")
    path = folder / f"{name}.onnx"
    say(compare(registry.find(name), path))
    return path


def compare(shipped: Entry, path: Path) -> str:
    """The trained file beside the shipped one: its exact accuracy on the whole test set, and whether bytes agree."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    right, samples = evaluate.top1(replace(shipped, path=path, sha256=digest), shipped.datasets[-1])
    same = "the same bytes as" if digest == shipped.sha256 else "not the bytes of"
    return f"{path}: {right} of {samples} test samples right in exact arithmetic; {same} the shipped model"
