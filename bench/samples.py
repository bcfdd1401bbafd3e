"""Where samples come from: a folder in the official MLPerf Tiny layout, a list in memory, or a random generator."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from accel.graph.head import decimals, probability
from accel.manifest import WIRES, Manifest, input_bytes
from bench.errors import BenchError

LABELS = "y_labels.csv"
NO_LABEL = -1


@dataclass(frozen=True)
class Sample:
    """One file of a data set: its bytes as they go over the wire, and its class, or `NO_LABEL`.

    With ``window`` and ``stride`` (bytes) the file is cut into overlapping inputs, whose scores are averaged.
    """

    file: str
    data: bytes
    label: int
    window: int | None = None
    stride: int | None = None

    @property
    def inputs(self) -> tuple[bytes, ...]:
        """What the device is given, one after the other; a rest that fills no window is left out."""
        if self.window is None or self.stride is None:
            return (self.data,)
        starts = range(0, len(self.data) - self.window + 1, self.stride)
        return tuple(self.data[start : start + self.window] for start in starts)


@dataclass(frozen=True)
class Dataset:
    """Samples in their order. ``classes``: how many a label may name.

    ``golden``: what must be printed for each sample, where somebody else's outputs are known.
    """

    name: str
    classes: int
    samples: tuple[Sample, ...]
    golden: tuple[tuple[str, ...], ...] | None = None

    @property
    def labelled(self) -> bool:
        """Whether the class of every sample is known."""
        return all(sample.label != NO_LABEL for sample in self.samples)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of sha256 over every name, label and byte: the same data set or not."""
        total = hashlib.sha256()
        for sample in self.samples:
            total.update(f"{sample.file},{sample.label},{sample.window},{sample.stride},{len(sample.data)}\n".encode())
            total.update(sample.data)
        return total.hexdigest()[:16]


def wire_type(manifest: Manifest) -> np.dtype:
    """How the numbers of an input go over the wire (they may be wider in the accelerator's memory)."""
    if manifest.input_encoding.reals:
        return np.dtype("<f4")
    wire = WIRES[manifest.input_encoding.wire]
    return np.dtype(f"<{'i' if wire.signed else 'u'}{input_bytes(wire)}")


def payload_bytes(manifest: Manifest) -> int:
    """Bytes of one input on the wire."""
    return manifest.input.elements * wire_type(manifest).itemsize


def load_folder(folder: Path | str, *, golden: str | None = None) -> Dataset:
    """The samples that ``y_labels.csv`` in ``folder`` lists: ``file,classes,label[,window bytes,stride bytes]`` a line.

    ``golden`` is a file of int8 probabilities as TFLite gives them, (samples, classes), which may be in the folder.
    Raises `BenchError` that names file and line.
    """
    folder = Path(folder)
    labels = folder / LABELS
    try:
        rows = [(number, row) for number, row in enumerate(csv.reader(labels.read_text().splitlines()), 1) if row]
    except OSError as error:
        raise BenchError(
            f"{labels}: {error.strerror}; a folder of samples needs this file (file,classes,label)"
        ) from error
    samples: list[Sample] = []
    counts: set[int] = set()
    seen: set[str] = set()
    for number, row in rows:
        where = f"{labels}:{number}"
        try:
            file, (classes, label, *cut) = row[0].strip(), [int(cell) for cell in row[1:]]
        except ValueError:
            raise BenchError(f"{where}: expected file,classes,label[,window,stride], not {','.join(row)!r}") from None
        if len(cut) not in (0, 2) or any(value < 1 for value in cut):
            raise BenchError(f"{where}: window and stride must be two positive numbers of bytes, not {cut}")
        if not 0 <= label < classes:
            raise BenchError(f"{where}: label must lie within 0..{classes - 1}, not {label}")
        if file in seen:
            raise BenchError(f"{where}: {file} is listed twice")
        try:
            data = (folder / file).read_bytes()
        except OSError as error:
            raise BenchError(f"{where}: {folder / file}: {error.strerror}") from error
        window, stride = cut if cut else (None, None)
        samples.append(Sample(file, data, label, window, stride))
        counts.add(classes)
        seen.add(file)
    if len(counts) != 1:
        what = "no sample" if not counts else f"different numbers of classes ({', '.join(map(str, sorted(counts)))})"
        raise BenchError(f"{labels}: {what}")
    dataset = Dataset(folder.name, counts.pop(), tuple(samples))
    if golden is None or not (folder / golden).exists():
        return dataset
    return replace(dataset, golden=read_golden(folder / golden, (len(samples), dataset.classes)))


def read_golden(path: Path, shape: tuple[int, int]) -> tuple[tuple[str, ...], ...]:
    """What is printed of the probabilities in a file. Raises `BenchError`."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot be read ({error}); move it away") from error
    if (found.dtype, found.shape) != (np.dtype(np.int8), shape):
        raise BenchError(f"{path}: must hold int8 of shape {shape}, not {found.dtype} of {found.shape}; move it away")
    return tuple(tuple(decimals(probability(p)) for p in row) for row in found.tolist())


def from_list(name: str, items: Iterable[tuple[str, bytes, int]], classes: int) -> Dataset:
    """Samples held in memory: (file name, bytes, label)."""
    samples = tuple(Sample(file, bytes(data), label) for file, data, label in items)
    if not samples:
        raise BenchError(f"data set {name}: no sample")
    if wrong := [sample for sample in samples if not 0 <= sample.label < classes]:
        raise BenchError(
            f"data set {name}: {wrong[0].file}: label must lie within 0..{classes - 1}, not {wrong[0].label}"
        )
    if len({sample.file for sample in samples}) < len(samples):
        raise BenchError(f"data set {name}: two samples have the same name")
    return Dataset(name, classes, samples)


def random_inputs(manifest: Manifest, count: int = 5) -> Dataset:
    """Inputs drawn evenly from the input's type, always the same ones; without labels, so accuracy is equality alone.

    Numbers of float32 are drawn from all that the type means, and a little beyond.
    """
    kind = manifest.input.type
    rng = np.random.default_rng(2206_11791)
    size = (count, manifest.input.elements)
    if manifest.input_encoding.reals:
        quantizer = manifest.input.quantizer
        drawn = quantizer.scale * (rng.uniform(kind.lo - 4, kind.hi + 4, size) - quantizer.zero_point)
    else:
        drawn = np.asarray(kind.lo + kind.step * rng.integers(0, kind.levels, size))
    numbers = drawn.astype(wire_type(manifest))
    samples = tuple(Sample(f"random{i}", row.tobytes(), NO_LABEL) for i, row in enumerate(numbers))
    return Dataset("random", 1, samples)
