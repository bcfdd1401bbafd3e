"""The official layout: a folder with ``y_labels.csv`` (file, classes, label) and one .bin a sample."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

INDEX = "y_labels.csv"


class LayoutError(ValueError):
    """A folder that is not in the official layout; names the folder and what is wrong."""


def files(folder: Path) -> list[tuple[str, int]]:
    """File name and label of each sample, in the order of the index."""
    try:
        text = (folder / INDEX).read_text()
    except OSError as error:
        raise LayoutError(f"{folder / INDEX}: {error.strerror}") from None
    rows = []
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 3 or not cells[2].isdigit() or Path(cells[0]).name != cells[0]:
            raise LayoutError(f"{folder / INDEX}, line {number}: must be file,classes,label, not {','.join(row)!r}")
        rows.append((cells[0], int(cells[2])))
    if not rows:
        raise LayoutError(f"{folder / INDEX}: has no samples")
    return rows


def digest(folder: Path) -> str:
    """The sha256 of the index followed by every sample in its order. Other files in the folder do not count."""
    rows = files(folder)
    total = hashlib.sha256((folder / INDEX).read_bytes())
    for name, _ in rows:
        try:
            total.update((folder / name).read_bytes())
        except OSError as error:
            raise LayoutError(f"{folder / name}: {error.strerror}") from None
    return total.hexdigest()


def write(folder: Path, samples: Iterable[tuple[str, int, bytes]], *, classes: int) -> None:
    """Write samples (file name, label, content) and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, label, content in samples:
        (folder / name).write_bytes(content)
        lines.append(f"{name},{classes},{label}\n")
    (folder / INDEX).write_text("".join(lines))
