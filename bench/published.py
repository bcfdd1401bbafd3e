"""Published results to stand beside ours, from the data file published.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """One published measurement. ``model`` is a registry name, or None where it holds for every model of ``task``.

    ``latency_us`` in microseconds, ``energy_uj`` in microjoule an inference, resources as the source counts them.
    """

    task: str
    what: str
    where: str
    source: str
    model: str | None = None
    latency_us: float | None = None
    quality: str | None = None
    energy_uj: float | None = None
    lut: int | None = None
    ff: int | None = None
    bram36: float | None = None
    dsp: int | None = None


@cache
def published() -> tuple[Published, ...]:
    """All of them."""
    data = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return tuple(Published(**entry) for entry in data)


def published_for(model: str, task: str) -> list[Published]:
    """Those of the model, then those of its task; of neither where both are unknown."""
    same = [entry for entry in published() if entry.model == model]
    return same + [entry for entry in published() if entry.model is None and entry.task == task]
