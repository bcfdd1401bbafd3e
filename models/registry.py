"""The registry: what is known of each model, one file of `models/entries` a model."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from accel.manifest import InputEncoding
from models import tasks, tomlfile
from models.tomlfile import RegistryError

__all__ = ["DEFAULT", "Entry", "Published", "RegistryError", "all", "find", "read"]

ENTRIES = Path(__file__).parent / "entries"
SHIPPED = Path(__file__).parent / "shipped"
SUFFIXES = (".onnx", ".tflite")


@dataclass(frozen=True)
class Published:
    """What its authors, or the best of its kind, reached: a fraction of 1, microseconds of one inference, on what."""

    accuracy: float | None = None
    latency_us: float | None = None
    system: str | None = None


@dataclass(frozen=True)
class Limits:
    """LUTs and 36-Kbit block RAMs of a device that a model takes at most; None is what the board leaves."""

    lut: int | None = None
    bram36: float | None = None


@dataclass(frozen=True)
class Entry:
    """One model.

    ``format`` is onnx or tflite; ``file`` its name below ``models/`` of HEADRACE_DATA and of the cache. ``url`` is
    None where these bytes have no public address (``origin`` then says what they were made from) or are shipped.
    ``encoding`` says what the bytes of a sample mean to the model; None: what the file says. ``datasets`` are the
    sample sets it can be benchmarked with, the default first; ``accuracy`` what is expected on them, as a fraction
    of 1, and ``test_accuracy`` on the whole test set of what it was trained for. ``macs``: multiplications an
    inference. ``limits`` are of what it takes of a device, where the board leaves more. ``golden`` is a file that may
    lie beside the samples, with the int8 outputs of TFLite's reference kernels for them, (samples, classes). ``path``
    is set for a model file that lies on this machine already: a shipped one, or one given by its path.
    """

    name: str
    title: str
    task: str
    format: str
    file: str
    sha256: str
    source: str = ""
    url: str | None = None
    origin: str | None = None
    licence: str = "unknown"
    preprocessing: str = ""
    encoding: InputEncoding | None = None
    datasets: tuple[str, ...] = ()
    accuracy: Mapping[str, float] = field(default_factory=dict)
    test_accuracy: float | None = None
    macs: int | None = None
    limits: Limits | None = None
    golden: str | None = None
    published: Published | None = None
    trained_here: bool = False
    path: Path | None = None


DEFAULT = "mnist-w2a2"


@cache
def all() -> tuple[Entry, ...]:
    """Every registered model, by name."""
    return tuple(read(path) for path in sorted(ENTRIES.glob("*.toml"), key=lambda p: p.stem))


def find(name_or_path: str | Path) -> Entry:
    """The entry of a registered name, or of a model file.

    A name wins over a file of the same name. A file whose bytes are those of a registered model gets that model's
    entry, with ``path`` set; any other a bare one, named after the file, of task ``custom``. Raises RegistryError,
    with what comes close and the list.
    """
    known = {entry.name: entry for entry in all()}
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return _of_file(path)
    if path.suffix in SUFFIXES or path.exists():
        raise RegistryError(f"{path}: there is no such model file")
    close = difflib.get_close_matches(str(name_or_path), known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise RegistryError(
        f"no model is called {str(name_or_path)!r}. {hint}Known: {', '.join(known)}; "
        f"or give the path of a file ({' or '.join(SUFFIXES)})"
    )


def read(path: Path) -> Entry:
    """The entry in one TOML file. Raises RegistryError with the file and the field."""
    entry = tomlfile.read(Entry, path, name=path.stem, path=None)
    if entry.task not in tasks.TASKS:
        raise RegistryError(f"{path}: task must be one of {', '.join(tasks.TASKS)}, not {entry.task!r}")
    if not re.fullmatch("[0-9a-f]{64}", entry.sha256):
        raise RegistryError(f"{path}: sha256 must have 64 hexadecimal digits, not {entry.sha256!r}")
    if stray := sorted(set(entry.accuracy) - set(entry.datasets)):
        raise RegistryError(f"{path}: accuracy on {stray[0]}, which is not one of its datasets")
    if entry.trained_here:
        return replace(entry, path=SHIPPED / entry.file)
    if entry.url is None and entry.origin is None:
        raise RegistryError(f"{path}: needs a url, or an origin that says what the file was made from")
    return entry


def _of_file(path: Path) -> Entry:
    if path.suffix not in SUFFIXES:
        raise RegistryError(f"{path}: a model file ends in {' or '.join(SUFFIXES)}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for entry in all():
        if entry.sha256 == digest:
            return replace(entry, path=path)
    return Entry(
        name=path.stem, title=path.name, task="custom", format=path.suffix[1:], file=path.name, sha256=digest, path=path
    )
