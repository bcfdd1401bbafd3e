"""MNIST: the four idx files, and the test set in the official layout."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models import download
from models.datasets import official

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
CLASSES = 10


def load(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 of shape (n, 784), and labels, uint8 of shape (n,), of ``train`` or ``t10k``."""
    images = read_idx(_file(f"{part}-images-idx3-ubyte.gz"))
    return images.reshape(len(images), -1), read_idx(_file(f"{part}-labels-idx1-ubyte.gz"))


def read_idx(path: Path) -> np.ndarray:
    """The array in a gzipped idx file of unsigned bytes: magic 0, 0, 8, dimensions; sizes big-endian; content."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08" or len(data) < 4 * (1 + data[3]):
        raise ValueError(f"{path}: is not an idx file of unsigned bytes")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    content = np.frombuffer(data, np.uint8, offset=4 * (1 + data[3]))
    if content.size != shape.prod():
        raise ValueError(f"{path}: has {content.size} bytes of content, its header says {tuple(map(int, shape))}")
    return content.reshape(shape)


def build(folder: Path, *, each: int | None = None) -> None:
    """Write the 10,000 test images in the official layout, or the first ``each`` of every class in the order given."""
    official.write(folder, _samples(each), classes=CLASSES)


def _samples(each: int | None) -> Iterator[tuple[str, int, bytes]]:
    images, labels = load("t10k")
    seen = [0] * CLASSES
    for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        seen[label] += 1
        if each is None or seen[label] <= each:
            yield f"t10k_{i:05}_{label}.bin", label, image.tobytes()


def _file(name: str) -> Path:
    return download.fetch(download.File(f"datasets/mnist/{name}", FILES[name], MIRROR + name, unpacked=True))
