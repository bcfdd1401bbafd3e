"""Native code: the C++ compiler of this machine, and small libraries compiled once and kept."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

OPTIONS = ("-std=c++17", "-O2", "-shared", "-fPIC")


class CompilerError(RuntimeError):
    """There is no C++ compiler, or it failed; carries what it said."""


def cxx() -> list[str]:
    """The command of a C++ compiler: ``CXX``, g++ or clang++ from PATH, else the one of the wheel `ziglang`."""
    if os.environ.get("CXX"):
        return os.environ["CXX"].split()
    for name in ("g++", "clang++", "c++"):
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "c++"]
    raise CompilerError("no C++ compiler was found: install g++ or pip install ziglang")


def cache_folder() -> Path:
    """Where what can be had again is kept: ``HEADRACE_CACHE``, else the user's cache."""
    if own := os.environ.get("HEADRACE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"


@cache
def library(source: Path) -> ctypes.CDLL:
    """The C++ file ``source`` as a library, compiled when it or the compiler changed. Raises CompilerError."""
    compiler = cxx()
    key = hashlib.sha256("\0".join([*compiler, *OPTIONS, sys.platform]).encode() + source.read_bytes()).hexdigest()
    target = cache_folder() / "native" / f"{source.stem}-{key[:16]}.so"
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # a home that cannot be written to
            target = Path(tempfile.mkdtemp(prefix="headrace-")) / target.name
        fresh = target.with_suffix(f".{os.getpid()}")
        command = [*compiler, *OPTIONS, str(source), "-o", str(fresh)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompilerError(f"{Path(command[0]).name} failed:\n{(done.stderr or done.stdout).strip()}")
        fresh.replace(target)
    return ctypes.CDLL(str(target))
