"""CIFAR-10: its images, and the benchmark's 200 of its test set, RGB interleaved.

The archive is the publisher's. A folder of HEADRACE_DATA may hold the same images as lossless mosaics instead, one file
for each of the archive's: ``cifar10/NAME.webp``, 100 x 100 images in raster order, and ``NAME.labels``, a byte each.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import download
from models.datasets import official

ARCHIVE = download.File(
    "archives/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
MEMBER = "cifar-10-batches-bin/{}.bin"
PARTS = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
CLASSES = 10
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # label, then the red, green and blue planes
TILES = 100  # images across and down a mosaic


def load(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 of shape (n, 32, 32, 3), and labels, uint8 of shape (n,), of ``train`` or ``test``.

    Raises FetchError.
    """
    read = _mosaic if _mosaics() else _records
    batches = [read(name) for name in PARTS[part]]
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def _records(name: str) -> tuple[np.ndarray, np.ndarray]:
    with tarfile.open(download.fetch(ARCHIVE)) as tar:
        member = tar.extractfile(MEMBER.format(name))
        assert member is not None, f"{ARCHIVE.path} has no {name}"
        records = np.frombuffer(member.read(), np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), records[:, 0]


def _mosaics() -> Path | None:
    data = download.data_folder()
    folder = data / "cifar10" if data else None
    return folder if folder and (folder / "test_batch.webp").is_file() else None


def _mosaic(name: str) -> tuple[np.ndarray, np.ndarray]:
    folder = _mosaics()
    assert folder is not None
    try:
        from PIL import Image  # noqa: PLC0415 - needed for mosaics only
    except ImportError:
        raise download.FetchError(f"{folder}: its mosaics need Pillow to be read: pip install pillow") from None
    pixels = np.asarray(Image.open(folder / f"{name}.webp").convert("RGB"))
    images = pixels.reshape(TILES, SIDE, TILES, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)
    return images, np.fromfile(folder / f"{name}.labels", np.uint8)


def build(folder: Path, positions: Sequence[int]) -> None:
    """Write the sample of each row of the index in ``folder``; ``positions`` are their places in the test set."""
    images, labels = _records(PARTS["test"][0])
    for (name, label), position in zip(official.files(folder), positions, strict=True):
        if labels[position] != label:
            raise official.LayoutError(
                f"{name}: the index says class {label}, image {position} is of class {labels[position]}"
            )
        (folder / name).write_bytes(images[position].tobytes())
