"""Sample sets that are published as single files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models import download
from models.datasets import official

CONNECTIONS = 8


def build(folder: Path, url: str, *, sample_bytes: int, advice: str) -> None:
    """Download every file of the index in ``folder`` that is not there yet in full length."""
    missing = []
    names = [name for name, _ in official.files(folder)]
    for name in names:
        file = folder / name
        if not file.exists() or file.stat().st_size != sample_bytes:
            missing.append(name)

    def bring(name: str) -> None:
        part = folder / f"{name}.part"
        download.download(f"{url}/{name}", part, lambda done, total: None, advice=advice)
        part.replace(folder / name)

    with download.progress(folder.stem, unit="files") as advance, ThreadPoolExecutor(CONNECTIONS) as pool:
        for done, _ in enumerate(pool.map(bring, missing), len(names) - len(missing) + 1):
            advance(done, len(names))
