"""How good a model is by its exact integer graph: what every engine and board must then reach too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from accel.frontends import Encoding, load
from accel.graph import Conv, Graph, Quantizer
from accel.manifest import WIRES
from accel.passes import lower
from models import fetch, tasks
from models.datasets import official
from models.registry import Entry

ELEMENTS = 2**25  # of one array while a graph runs: 256 MiB
DTYPES = {"int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2", "float32": "<f4"}


def graph(entry: Entry) -> Graph:
    """The integer graph of an entry's file, its input as the entry says. Raises FetchError, FrontendError."""
    return load(fetch.model(entry), name=entry.name, encoding=encoding(entry), head=head(entry))


def encoding(entry: Entry) -> Encoding | None:
    """What a sample's bytes mean, as the frontend takes it; None where the file says it, or they are float32."""
    said = entry.encoding
    if said is None or said.wire not in WIRES:
        return None
    return Encoding(WIRES[said.wire], Fraction(said.scale), Fraction(said.offset))


def reals(entry: Entry) -> bool | None:
    """Whether a sample is of float32 numbers, which the device quantizes; None where the file says it."""
    return None if entry.encoding is None else entry.encoding.reals


def head(entry: Entry) -> str | None:
    """What its task wants to be printed of an output; None where the file says it."""
    return tasks.TASKS[entry.task].head if entry.task in tasks.TASKS else None


def wire(entry: Entry) -> str:
    """What the bytes of a sample are."""
    return entry.encoding.wire if entry.encoding else "uint8"


def top1(entry: Entry, dataset: str | None = None) -> tuple[int, int]:
    """How many samples of a set (the default one) the exact graph classifies rightly, and how many there are."""
    inputs, labels = read(fetch.samples(entry, dataset), wire(entry))
    return right(lower(graph(entry)), inputs, labels), len(labels)  # lowered, it gives the same integers sooner


def right(network: Graph, inputs: np.ndarray, labels: np.ndarray) -> int:
    """How many samples (n, elements), as they come over the wire, the exact graph gives their label (n,).

    Numbers of float32 are quantized first, as the device does.
    """
    chunk = max(1, ELEMENTS // _largest(network))
    found = 0
    for start in range(0, len(labels), chunk):
        some = inputs[start : start + chunk]
        if some.dtype == np.float32:
            some = Quantizer.of(network.input.affine, network.input.type)(some)
        outputs = network.run(some.reshape(len(some), *network.input.shape))
        predicted = outputs[:, 0] if network.head == "argmax" else scores(network, outputs).argmax(axis=1)
        found += int((predicted == labels[start : start + chunk]).sum())
    return found


def _largest(network: Graph) -> int:
    """Elements of the largest array while one sample runs: a tensor, or the patches that a convolution sees."""
    sizes = [tensor.size for tensor in network.tensors.values()]
    for op in network.operators:
        if isinstance(op, Conv):
            rows, columns, _ = network.tensors[op.output].shape
            sizes.append(rows * columns * op.window.taps * network.tensors[op.inputs[0]].shape[2])
    return max(sizes)


def scores(network: Graph, outputs: np.ndarray) -> np.ndarray:
    """The outputs in a common unit, so that they compare: exact integers where all channels have one scale."""
    scale, offset = network.output_affine.scale, network.output_affine.offset
    if len(set(scale)) == 1 and len(set(offset)) == 1:
        return outputs if scale[0] > 0 else -outputs
    return outputs * np.array(scale, dtype=object) + np.array(offset, dtype=object)


def read(folder: Path, wire: str) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a folder in the official layout, integers or float32 (n, elements), and their labels (n,)."""
    rows = official.files(folder)
    inputs = np.stack([np.fromfile(folder / name, np.dtype(DTYPES[wire])) for name, _ in rows])
    return inputs.astype(np.float32 if wire == "float32" else np.int64), np.array([label for _, label in rows])
