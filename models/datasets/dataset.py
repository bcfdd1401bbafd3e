"""What is known of each sample set: one TOML file beside this module a set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models import tasks, tomlfile
from models.tomlfile import RegistryError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Dataset:
    """One sample set, a folder ``datasets/NAME`` of HEADRACE_DATA or of the cache.

    ``kind`` says how it is obtained: ``files`` (each sample below ``url``), ``mnist`` and ``cifar10`` (built from the
    archive), ``shipped``, or ``local`` (must be made by hand as ``origin`` tells). ``index`` is the address of its
    y_labels.csv, ``sha256`` that of `models.datasets.official.digest` (None for ``local``),
    ``positions`` the places of the samples in the archive.
    """

    name: str
    title: str
    task: str
    kind: str
    samples: int
    licence: str
    sha256: str | None = None
    url: str | None = None
    index: str | None = None
    origin: str | None = None
    positions: tuple[int, ...] = ()


@cache
def all() -> tuple[Dataset, ...]:
    """Every sample set, by name."""
    return tuple(
        tomlfile.read(Dataset, path, name=path.stem) for path in sorted(FOLDER.glob("*.toml"), key=lambda p: p.stem)
    )


def find(name: str) -> Dataset:
    """The set called ``name``. Raises RegistryError with the list."""
    for dataset in all():
        if dataset.name == name:
            tasks.find(dataset.task)
            return dataset
    raise RegistryError(f"no data set is called {name!r}; known: {', '.join(d.name for d in all())}")
