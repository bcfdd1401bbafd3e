"""One run of an edalize flow: its folder configured, then a goal of its makefile made, with our tools and a log."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from toolchain.process import Processes, ToolError

PLUGINS = Path(__file__).resolve().parent / "plugins"


def load_plugins() -> None:
    """Let edalize find the tools and flows of ``plugins``, as if they were its own: it is a namespace package."""
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))


@dataclass(frozen=True)
class Project:
    """Files and options for one of edalize's flows, to be built in ``folder``.

    ``files`` maps a file's path, as seen from ``folder``, to edalize's type of it. ``options`` are those of the flow
    and its tools.
    """

    flow: str
    name: str
    top: str
    folder: Path
    files: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

    def configure(self) -> str:
        """Write the makefile and the tools' files; returns the makefile."""
        load_plugins()
        for path in self.files:
            if found := [character for character in " #$%\n" if character in path]:
                raise ToolError(f"{path!r}: make cannot handle {found[0]!r} in a path; choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        edam = {
            "name": self.name,
            "toplevel": self.top,
            "files": [{"name": name, "file_type": kind} for name, kind in self.files.items()],
            "flow_options": {key: list(v) if isinstance(v, tuple) else v for key, v in self.options.items()},
        }
        flow = getattr(import_module(f"edalize.flows.{self.flow}"), self.flow.capitalize())(edam, str(self.folder))
        flow.configure()
        return (self.folder / "Makefile").read_text()

    def make(
        self, goal: str, *, step: str, log: Path, bin_folder: Path, processes: Processes, done: Sequence[str] = ()
    ) -> None:
        """Make ``goal``, with the programs in ``bin_folder`` before all others. Raises `ToolError`.

        ``step`` is what it is called while it runs. ``done`` are files that are taken as they are, whatever they
        depend on.
        """
        make = shutil.which("make")
        if make is None:
            raise ToolError("make is not on PATH; on Debian and Ubuntu: sudo apt install make")
        kept = [f"--old-file={name}" for name in done]
        path = f"{bin_folder.resolve()}{os.pathsep}{os.environ.get('PATH', '')}"
        outer = {
            "MAKEFLAGS",
            "MAKELEVEL",
            "MFLAGS",
            "MAKEOVERRIDES",
        }  # of the make that started us: none of its business
        env = {key: value for key, value in os.environ.items() if key not in outer} | {"PATH": path}
        processes.run([make, *kept, goal], step=step, cwd=self.folder, log=log, env=env)


def key_of(*parts: str | bytes) -> str:
    """A sha256 that changes with any of ``parts``."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}\0".encode() + data)
    return total.hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or the next run after an interruption, sees all of it or the old one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)
