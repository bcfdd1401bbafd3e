"""The small engine behind `build` and `bench`: steps that are done once, and again when what they depend on changed.

A step owns one folder of the build and is known by a key: a hash of its settings, of the bytes of its input files, of
Headrace's own code and of the tools' versions. The key is written, to ``steps/<name>.key``, when the step has ended.
So a step that was interrupted or that failed has none, and the next call empties its folder and does it again; a step
whose key is still right is passed over. What a tool prints goes to ``logs/<name>.log``; how long it took, to
``steps/<name>.json`` for results.json.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import bench

ROOT = Path(__file__).resolve().parent.parent


class StepError(RuntimeError):
    """A step failed; the message ends with the log's path."""


@dataclass(frozen=True)
class Step:
    """One step. ``action`` fills ``folder``, which is empty when it is called.

    ``what`` is said before it starts. These decide whether it is done again: ``inputs``, bytes of files or folders;
    ``settings``, values fit for JSON; ``code``, the source of packages of Headrace; ``tools``, name to version.
    ``stale``: records of later steps that this one makes untrue when it is done.
    """

    name: str
    what: str
    folder: Path
    action: Callable[[], Any]
    inputs: Sequence[Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    code: Sequence[str] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    stale: Sequence[str] = ()

    def key(self) -> str:
        """64 hexadecimal digits that change when the step has to be done again."""
        parts = [
            self.name,
            json.dumps(self.settings, sort_keys=True),
            json.dumps(self.tools, sort_keys=True),
            *(source_digest(package) for package in self.code),
            *(digest(path) for path in self.inputs),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Runner:
    """Does steps below ``out_dir`` (`build/<board>-<model>-<engine>`); ``say`` prints a line for the user."""

    out_dir: Path
    say: Callable[[str], None] = print

    def run(self, step: Step) -> bool:
        """Do ``step`` if its key changed; returns whether it was done. Raises `StepError`, and KeyboardInterrupt."""
        stamp = self.out_dir / "steps" / f"{step.name}.key"
        key = step.key()
        if step.folder.is_dir() and stamp.is_file() and stamp.read_text() == key:
            return False
        self.say(f"{step.name}: {step.what}")
        stamp.parent.mkdir(parents=True, exist_ok=True)
        for name in (step.name, *step.stale):
            stamp.with_name(f"{name}.key").unlink(missing_ok=True)
            stamp.with_name(f"{name}.json").unlink(missing_ok=True)
        log = self.out_dir / "logs" / f"{step.name}.log"
        start = time.monotonic()
        try:
            remove(step.folder)
            step.folder.mkdir(parents=True)
            with output_to(log):
                step.action()
        except Exception as error:  # the folder stays for whoever looks for the reason
            where = "" if "log: " in str(error) else f" (log: {log})"
            raise StepError(f"{step.name}: {str(error) or type(error).__name__}{where}") from error
        except BaseException:
            remove(step.folder)
            raise
        seconds = round(time.monotonic() - start, 2)
        bench.record_step(self.out_dir, step.name, tools=step.tools, seconds={step.name: seconds})
        write_whole(stamp, key)
        self.say(f"{step.name}: done in {seconds:.1f} s")
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the build folder: two programs that build in it at a time would destroy each other's work."""
        self.out_dir.mkdir(parents=True, exist_ok=True)
        with (self.out_dir / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StepError(
                    f"{self.out_dir}: another headrace is at work there; wait for it, or choose another folder with -o"
                ) from None
            yield


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or the old one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def remove(path: Path) -> None:
    """Remove a folder; that it is not there is no error."""
    if path.exists():
        shutil.rmtree(path)


def digest(path: Path) -> str:
    """sha256 of a file, or of a folder's files with their names; of a missing one, its name."""
    total = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                total.update(f"{file.relative_to(path)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    elif path.is_file():
        total.update(path.read_bytes())
    else:
        total.update(f"missing: {path.name}".encode())
    return total.hexdigest()


@cache
def source_digest(package: str) -> str:
    """sha256 over the source files of one of Headrace's packages."""
    total = hashlib.sha256()
    for file in sorted((ROOT / package).rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            total.update(f"{file.relative_to(ROOT)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def package_versions(*names: str) -> dict[str, str]:
    """Installed packages and their versions, as `Step.tools` takes them."""
    return {name: importlib.metadata.version(name) for name in names}


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send what Python and its child processes print to ``log`` meanwhile."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    handlers = logging.root.handlers[:]
    try:
        with log.open("w", encoding="utf-8", errors="replace", buffering=1) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            with redirect_stdout(file), redirect_stderr(file):
                try:
                    yield
                except Exception:
                    traceback.print_exc()
                    raise
    finally:
        logging.root.handlers[:] = handlers  # LiteX adds one that would write to this log for ever
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
