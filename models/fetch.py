"""Model files and sample sets of registry entries, wherever they are, always checked."""

from __future__ import annotations

import shutil
from pathlib import Path

from models import download, registry, tasks
from models.datasets import cifar10, dataset, files, mnist, official
from models.datasets.dataset import Dataset
from models.download import FetchError
from models.registry import Entry

__all__ = ["FetchError", "NoSamplesError", "fetch_dataset", "model", "samples"]


class NoSamplesError(FetchError):
    """There is no sample set, or only its user can make it."""


def model(entry: Entry) -> Path:
    """The model file of an entry. Raises FetchError."""
    if entry.path is None:
        return download.fetch(download.File(f"models/{entry.file}", entry.sha256, entry.url, entry.origin))
    if not entry.path.is_file():
        raise FetchError(f"{entry.path}: there is no such file")
    if (got := download.sha256(entry.path)) != entry.sha256:
        raise FetchError(f"{entry.path}: sha256 is {got}, expected {entry.sha256}")
    return entry.path


def samples(entry: Entry, name: str | None = None) -> Path:
    """A sample set of an entry in the official layout: its default one, or ``name``. Raises FetchError."""
    if not entry.datasets:
        raise NoSamplesError(f"{entry.name} has no sample set")
    if name is not None and name not in entry.datasets:
        raise FetchError(f"{entry.name} can be run on {' or '.join(entry.datasets)}, not on {name!r}")
    return fetch_dataset(name or entry.datasets[0])


def fetch_dataset(name: str) -> Path:
    """The folder of a sample set, in the official layout: y_labels.csv and one .bin a sample. Raises FetchError."""
    known = dataset.find(name)
    if known.kind == "shipped":
        return _checked(registry.SHIPPED / name, known)
    data = download.data_folder()
    if data and (data / "datasets" / name / official.INDEX).is_file():
        return _checked(data / "datasets" / name, known)
    target = download.cache_folder() / "datasets" / name
    if not target.is_dir():
        advice = download.by_hand(f"datasets/{name}")
        if known.kind == "local":
            raise NoSamplesError(f"{name} cannot be downloaded: {known.origin}. Make it, then {advice}")
        part = target.with_name(f"{name}.part")
        try:
            _build(part, known, advice)
        except official.LayoutError as error:
            raise FetchError(str(error)) from None
        _keep_aside_unless_right(part, known)
        part.replace(target)
    if known.kind == "local":
        return _checked(target, known)
    _keep_aside_unless_right(target, known)
    return target


def _build(folder: Path, known: Dataset, advice: str) -> None:
    index = folder / official.INDEX
    if known.index and not index.exists():
        fresh = folder / f"{official.INDEX}.part"
        with download.progress(f"{known.name}/{official.INDEX}") as advance:
            download.download(known.index, fresh, advance, advice=advice)
        fresh.replace(index)
    match known.kind:
        case "files":
            size = tasks.find(known.task).sample_bytes
            files.build(folder, str(known.url), sample_bytes=size, advice=advice)
        case "cifar10":
            cifar10.build(folder, known.positions)
        case "mnist":
            shutil.rmtree(folder, ignore_errors=True)
            mnist.build(folder)
        case kind:
            raise FetchError(f"{known.name}: kind {kind!r} of data set is unknown")


def _keep_aside_unless_right(folder: Path, known: Dataset) -> None:
    try:
        got = official.digest(folder)
    except official.LayoutError as error:
        got = str(error)
    download.check(folder, got, str(known.sha256), name=known.name, url=known.url)


def _checked(folder: Path, known: Dataset) -> Path:
    """A folder that is not ours to move: right, or an error."""
    try:
        if known.sha256 is None:
            _check_sizes(folder, known)
        elif (got := official.digest(folder)) != known.sha256:
            raise FetchError(f"{folder}: sha256 of index and samples is {got}, expected {known.sha256}")
    except official.LayoutError as error:
        raise FetchError(str(error)) from None
    return folder


def _check_sizes(folder: Path, known: Dataset) -> None:
    need = tasks.find(known.task)
    for name, _ in official.files(folder):
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if size < need.sample_bytes or (need.stride is None and size != need.sample_bytes):
            at_least = "at least " if need.stride else ""
            raise FetchError(f"{folder / name}: must have {at_least}{need.sample_bytes} bytes, not {size}")
