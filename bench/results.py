"""results.json: what was measured, and what other steps found out before.

Schema 1 of `docs/benchmark.md`. A file is replaced in one step, so a reader (or a crash) sees the old results or the
new ones, never half of them; results of another mode stay when they belong to the same model on the same board.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accel.manifest import Manifest
from bench.errors import BenchError

SCHEMA = 1
RESULTS = "results.json"
RUN = "run.json"
STEPS = "steps"
STAGES = ("estimate", "synthesis", "routing")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside it first, on the disk, then in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises `BenchError` where it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot be read ({error}); delete it to start anew") from error
    if not isinstance(data, dict):
        raise BenchError(f"{path}: not a JSON object; delete it to start anew")
    return data


@dataclass(frozen=True)
class Latency:
    """Microseconds an inference, by the device's own clock: of each window, and their median.

    ``inferences`` were timed together in each window. ``note`` says where the time comes from.
    """

    median: float
    windows: list[float]
    inferences: list[int]
    note: str


@dataclass(frozen=True)
class Cycles:
    """Of one inference. ``accelerator``: first input beat to last output beat of the core, both included.

    ``face``: start to done, DMA included. ``inference``: start to known end as the CPU counts. ``streams``: starved and
    blocked cycles of each stream.
    """

    accelerator: int
    face: int
    inference: int
    streams: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class BitExact:
    """How many samples were compared with the exact reference, and how many differed in any integer."""

    samples: int = 0
    mismatches: int = 0


@dataclass(frozen=True)
class Results:
    """results.json, field by field.

    ``accuracy`` is the fraction of right answers (Top-1), ``auc`` lies within 0..1. ``golden``: as ``bit_exact``,
    of what was printed and the outputs that came with the samples, where there are some.
    """

    model: str
    board: str
    engine: str
    mode: str
    samples: int
    accuracy: float | None = None
    auc: float | None = None
    latency_us: Latency | None = None
    throughput_inf_per_s: float | None = None
    cycles: Cycles | None = None
    clock_hz: int = 0
    resources: dict[str, Any] | None = None
    fmax_hz: int | None = None
    energy_uj: float | None = None
    bit_exact: BitExact = BitExact()
    golden: BitExact | None = None
    tools: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    schema: int = SCHEMA

    def save(self, out_dir: Path) -> Path:
        """Write results.json, whole or not at all."""
        write_json(out_dir / RESULTS, {"schema": self.schema} | asdict(self))
        return out_dir / RESULTS

    @classmethod
    def load(cls, out_dir: Path) -> Results:
        """Read results.json. Raises `BenchError` where it is missing or of another schema."""
        path = out_dir / RESULTS
        data = read_json(path)
        if data.get("schema") != SCHEMA:
            raise BenchError(
                f"{path}: schema must be {SCHEMA}, not {data.get('schema')!r}; move it away and bench again"
            )
        parts = {"latency_us": Latency, "cycles": Cycles, "bit_exact": BitExact, "golden": BitExact}
        try:
            for name, kind in parts.items():
                if data.get(name) is not None:
                    data[name] = kind(**data[name])
            return cls(**data)
        except TypeError as error:
            raise BenchError(f"{path}: {error}; move it away and bench again") from None

    def merged(self, older: Results) -> Results:
        """These results, completed by those of an older run of the same model on the same board in another mode."""
        kept = ("accuracy", "auc", "latency_us", "throughput_inf_per_s", "cycles", "energy_uj")
        changes = {name: getattr(older, name) for name in kept if getattr(self, name) is None}
        if self.mode != "accuracy":
            changes["golden"] = older.golden
        if older.mode != self.mode:
            # A mismatch must not vanish behind a run that saw none; else the larger number of samples says more.
            both = (self.bit_exact, older.bit_exact)
            changes["bit_exact"] = max(both, key=lambda found: (found.mismatches > 0, found.samples))
        return replace(self, **changes)


@dataclass(frozen=True)
class Run:
    """run.json: what the results and samples in a folder belong to.

    Anything else there is set aside, never mixed in.
    """

    model: str
    hash: str
    board: str
    engine: str
    simulated: bool
    clock_hz: int

    def claim(self, out_dir: Path) -> None:
        """Make ``out_dir`` the folder of this run: what belongs to another one is renamed."""
        path = out_dir / RUN
        names = {f.name for f in fields(self)}
        if path.exists():
            old = {name: value for name, value in read_json(path).items() if name in names}
            if old == asdict(self):
                return
            for file in (RESULTS, "samples.csv", "samples.json"):
                set_aside(out_dir / file, str(old.get("hash", "old")))
        write_json(path, asdict(self))


def set_aside(path: Path, mark: str) -> Path | None:
    """Rename a file so that a new one can take its place; returns its new path."""
    if not path.exists():
        return None
    number = 1
    while (new := path.with_name(f"{path.stem}-{mark}-{number}{path.suffix}")).exists():
        number += 1
    path.rename(new)
    return new


def record_step(
    out_dir: Path,
    step: str,
    *,
    tools: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
    resources: Mapping[str, Any] | None = None,
    fmax_hz: int | None = None,
) -> Path:
    """Write ``steps/<step>.json``: what a step that is not a benchmark did, for results.json.

    ``tools``: name to version; ``seconds``: what took how long; ``resources``: device, lut, ff, bram36, dsp and stage
    (estimate, synthesis or routing).
    """
    if resources is not None and resources.get("stage") not in STAGES:
        raise ValueError(
            f"step {step}: stage of resources must be one of {', '.join(STAGES)}, not {resources.get('stage')!r}"
        )
    path = out_dir / STEPS / f"{step}.json"
    content = {"tools": dict(tools or {}), "seconds": dict(seconds or {}), "resources": resources, "fmax_hz": fmax_hz}
    write_json(path, content)
    return path


def step_facts(manifest: Manifest, out_dir: Path) -> dict[str, Any]:
    """What other steps found: the fields resources, tools, seconds and fmax_hz of `Results`.

    From the manifest and every ``steps/*.json``; of the resources, those of the latest stage. Raises `BenchError`.
    """
    estimate = manifest.estimate
    resources: dict[str, Any] = {
        "device": manifest.budget.board,
        "lut": estimate.lut,
        "ff": estimate.ff,
        "bram36": estimate.bram36,
        "dsp": estimate.dsp,
        "stage": "estimate",
    }
    tools = dict(manifest.versions)
    seconds = dict(manifest.seconds)
    fmax_hz = None
    for path in sorted((out_dir / STEPS).glob("*.json")):
        step = read_json(path)
        tools |= step.get("tools") or {}
        seconds |= step.get("seconds") or {}
        fmax_hz = step.get("fmax_hz") or fmax_hz
        if not (found := step.get("resources")):
            continue
        if found.get("stage") not in STAGES:
            raise BenchError(f"{path}: stage of resources must be one of {', '.join(STAGES)}; build again")
        if STAGES.index(found["stage"]) >= STAGES.index(resources["stage"]):
            resources = dict(found)
    tools |= {"headrace": version("headrace"), "pyserial": version("pyserial"), "python": platform.python_version()}
    return {"resources": resources, "tools": tools, "seconds": seconds, "fmax_hz": fmax_hz}
