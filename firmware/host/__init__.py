"""The device in a process: the firmware's protocol, input conversion and heads, compiled for this machine.

    device = host.build(manifest=manifest, out_dir=folder)
    answers = host.write_answers(folder / "answers.bin", manifest, inputs, outputs)
    subprocess.Popen([device, "--answers", answers])                  # speaks on stdin and stdout
    subprocess.Popen([device, "--answers", answers, "--port", "0"])   # prints "uart: tcp 127.0.0.1:PORT" first
    subprocess.Popen([device, "--answers", answers, "--pty"])         # prints "uart: pty /dev/pts/N" first

An inference looks its input up among the answers and copies the output. It takes ``--cycles N`` (1000) of a clock of
``--clock HZ`` (100,000,000) that nothing else advances, so long windows are over at once. ``--hash X`` claims
another model, ``--fail N`` lets the N-th inference fail, ``--pins`` writes the error LED and the timestamp pin to
stderr. Where the compiler has them, address and undefined-behaviour sanitizers watch.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from accel.manifest import Manifest, input_bytes, output_bytes
from firmware.build import LANGUAGE, SOURCES, FirmwareError, digest
from firmware.header import header

HOST = Path(__file__).parent
SHARED = ("protocol.c", "settings.c", "input.c", "head.c", "print.c")
SANITIZERS = (("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), ("-fsanitize=undefined",), ())


def build(*, manifest: Manifest, out_dir: Path, board: str | None = None) -> Path:
    """Compile ``out_dir / "device"`` unless it is up to date, and return its path. Raises FirmwareError."""
    out_dir = out_dir.resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    device, key_file, model = out_dir / "device", out_dir / "device.key", out_dir / "model.h"
    model.write_text(header(manifest, board=board))
    sources = [*(SOURCES / name for name in SHARED), *sorted(HOST.glob("*.c"))]
    cc, sanitizers = host_compiler()
    language = [flag for flag in LANGUAGE if flag not in ("-ffreestanding", "-fno-builtin")]
    command = [*cc, "-O1", "-g", *sanitizers, *language, f"-I{SOURCES}", f"-I{out_dir}", *map(str, sources)]
    command += ["-o", str(device)]
    key = digest(command, [*sources, *sorted(SOURCES.glob("*.h")), *sorted(HOST.glob("*.h")), model])
    if not (device.exists() and key_file.exists() and key_file.read_text() == key):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FirmwareError(f"{cc[0]} failed:\n{(done.stdout + done.stderr).strip()}")
        key_file.write_text(key)
    return device


def write_answers(path: Path, manifest: Manifest, inputs: np.ndarray, outputs: np.ndarray) -> Path:
    """Write the file for ``--answers``: integers of shape (samples, …) as the accelerator's memory holds them."""
    samples = len(inputs)
    width = np.dtype("<i2" if input_bytes(manifest.input.type) == 2 else np.int8)
    x = np.asarray(inputs).reshape(samples, manifest.input.elements).astype(width).view(np.uint8)
    y = np.asarray(outputs).reshape(samples, manifest.output.elements)
    y = y.astype("<i4" if output_bytes(manifest.output.type) == 4 else np.int8).view(np.uint8)
    path.write_bytes(np.hstack([x, y]).tobytes())
    return path


@functools.cache
def host_compiler() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """This machine's C compiler (``CC``, gcc, clang, cc, else ziglang's) and the sanitizers that work with it."""
    found = next((path for name in ("gcc", "clang", "cc") if (path := shutil.which(name))), None)
    if os.environ.get("CC"):
        cc: tuple[str, ...] = tuple(os.environ["CC"].split())
    elif found:
        cc = (found,)
    elif importlib.util.find_spec("ziglang") is not None:
        cc = (sys.executable, "-m", "ziglang", "cc")
    else:
        raise FirmwareError("no C compiler was found: install gcc or pip install ziglang")
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "empty.c", Path(folder) / "empty"
        source.write_text("int main(void) { return 0; }\n")
        for flags in SANITIZERS:
            built = subprocess.run([*cc, *flags, str(source), "-o", str(program)], capture_output=True, check=False)
            if built.returncode == 0 and subprocess.run([program], capture_output=True, check=False).returncode == 0:
                return cc, flags
    raise FirmwareError(f"{' '.join(cc)} cannot compile an empty program: install gcc or pip install ziglang")
