"""Sample sets that are published as single files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from models import download
from models.datasets import official

CONNECTIONS = 8


def build(folder: Path, url: str, *, sample_bytes: int, advice: str) -> None:
    """Download every file of the index in ``folder`` that is not there yet in full length."""
    names = [name for name, _ in official.files(folder)]
    missing = [n for n in names if not (folder / n).exists() or (folder / n).stat().st_size != sample_bytes]

    def bring(name: str) -> None:
        part = folder / f"{name}.part"
        download.download(f"{url}/{name}", part, lambda done, total: None, advice=advice)
        part.replace(folder / name)

    with download.progress(folder.stem, unit="files") as advance, ThreadPoolExecutor(CONNECTIONS) as pool:
        jobs = [pool.submit(bring, name) for name in missing]
        try:
            for done, job in enumerate(as_completed(jobs), len(names) - len(missing) + 1):
                job.result()
                advance(done, len(names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
