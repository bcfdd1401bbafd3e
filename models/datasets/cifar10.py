"""CIFAR-10: the benchmark's images are 200 of its test set, RGB interleaved."""

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
MEMBER = "cifar-10-batches-bin/test_batch.bin"
RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes


def build(folder: Path, positions: Sequence[int]) -> None:
    """Write the sample of each row of the index in ``folder``; ``positions`` are their places in the test set."""
    with tarfile.open(download.fetch(ARCHIVE)) as tar:
        member = tar.extractfile(MEMBER)
        assert member is not None, f"{ARCHIVE.path} has no {MEMBER}"
        records = np.frombuffer(member.read(), np.uint8).reshape(-1, RECORD)
    for (name, label), position in zip(official.files(folder), positions, strict=True):
        record = records[position]
        if record[0] != label:
            raise official.LayoutError(
                f"{name}: the index says class {label}, image {position} is of class {record[0]}"
            )
        (folder / name).write_bytes(record[1:].reshape(3, 32, 32).transpose(1, 2, 0).tobytes())
