"""The firmware image: C sources, a model's constants and the SoC's headers in; ``firmware.elf`` and ``.bin`` out."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel.manifest import Manifest
from firmware.header import header

SOURCES = Path(__file__).parent / "src"
COMMON = (
    *("crt0.S", "main.c", "protocol.c", "settings.c", "input.c", "head.c", "print.c"),
    *("uart.c", "pins.c", "timer.c", "memory.c"),
)
WARNINGS = (
    *("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wundef", "-Wconversion", "-Wstrict-prototypes"),
    *("-Wmissing-prototypes", "-Wimplicit-fallthrough", "-Wvla"),
)
# Overflow wraps: model.h rules it out for outputs of the model's type, and other outputs may do no worse than be wrong.
LANGUAGE = ("-std=gnu11", "-ffreestanding", "-fno-builtin", "-fwrapv", "-fno-common", "-fomit-frame-pointer", *WARNINGS)
SECTIONS = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")


class FirmwareError(RuntimeError):
    """No compiler, no such engine, or the compiler failed; then the message carries what it said."""


@dataclass(frozen=True)
class Compiler:
    """The commands for rv32im without an operating system, and the flags and libraries that only they need."""

    cc: tuple[str, ...]
    objcopy: tuple[str, ...]
    flags: tuple[str, ...]
    libraries: tuple[str, ...]

    @property
    def version(self) -> str:
        return subprocess.run([*self.cc, "--version"], capture_output=True, text=True, check=False).stdout


def compiler() -> Compiler:
    """riscv64-unknown-elf-gcc from PATH, else clang of the wheel `ziglang`. Raises FirmwareError without either."""
    prefix = "riscv64-unknown-elf-"
    gcc, objcopy = shutil.which(f"{prefix}gcc"), shutil.which(f"{prefix}objcopy")
    if gcc and objcopy:
        # rv32im of specification 2.2 includes the CSR instructions, and picks the 32-bit libgcc.
        return Compiler(
            (gcc,), (objcopy,), ("-march=rv32im", "-misa-spec=2.2", "-mabi=ilp32", "-nostartfiles"), ("-lgcc",)
        )
    if importlib.util.find_spec("ziglang") is not None:
        zig = (sys.executable, "-m", "ziglang")
        return Compiler(
            (*zig, "cc"),
            (*zig, "objcopy"),
            ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m", "-fno-pic", "-fno-sanitize=undefined"),
            ("-lcompiler_rt",),
        )
    raise FirmwareError("no RISC-V compiler was found: pip install ziglang, or install riscv64-unknown-elf-gcc")


@dataclass(frozen=True)
class Sizes:
    """Bytes of an image: ``rom`` holds code, constants and initial values, ``ram`` data and the smallest stack."""

    rom: int
    ram: int


def build(
    *,
    manifest: Manifest,
    generated_dir: Path,
    out_dir: Path,
    engine: str = "stream",
    board: str | None = None,
    tool: Compiler | None = None,
) -> Path:
    """Compile and link; returns ``out_dir / "firmware.bin"``, beside which lie ``firmware.elf`` and ``firmware.log``.

    ``generated_dir`` is LiteX's folder ``generated`` (csr.h, mem.h, soc.h, and regions.ld there or one level up).
    ``board`` is the name that `profile%` tells (the manifest's otherwise), ``tool`` the compiler (that of `compiler()`
    otherwise). Nothing is done when the same was built there before. Raises FirmwareError and HeaderError.
    """
    tool = tool or compiler()
    engines = sorted(path.stem.removeprefix("engine_") for path in SOURCES.glob("engine_*.c"))
    if engine not in engines:
        raise FirmwareError(f"engine must be one of {', '.join(engines)}, not {engine!r}")
    generated_dir = generated_dir.resolve()
    regions = next((p for p in (generated_dir / "regions.ld", generated_dir.parent / "regions.ld") if p.exists()), None)
    missing = [name for name in ("csr.h", "mem.h", "soc.h") if not (generated_dir / name).exists()]
    if regions is None or missing or generated_dir.name != "generated":
        what = ", ".join([*missing, *(["regions.ld"] if regions is None else [])]) or "a folder named generated"
        raise FirmwareError(f"{generated_dir}: {what} is missing; write the SoC first")

    out_dir = out_dir.resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    elf, image, log, key_file = (out_dir / f"firmware.{end}" for end in ("elf", "bin", "log", "key"))
    script, model = out_dir / "firmware.ld", out_dir / "model.h"
    # One script: lld finds no INCLUDE along -L.
    script.write_text(f"{regions.read_text()}\n{(SOURCES / 'firmware.ld').read_text()}")
    model.write_text(header(manifest, board=board))

    sources = [SOURCES / name for name in (*COMMON, f"engine_{engine}.c")]
    litex = _litex()
    command = [
        *tool.cc,
        *tool.flags,
        "-O2",
        *LANGUAGE,
        *SECTIONS,
        "-nostdlib",
        "-static",
        f"-I{SOURCES}",
        f"-I{out_dir}",
        *(word for d in (generated_dir.parent, *litex) for word in ("-isystem", str(d))),
        "-T",
        str(script),
        *map(str, sources),
        *tool.libraries,
        "-o",
        str(elf),
    ]
    inputs = [*sources, *SOURCES.glob("*.h"), *generated_dir.glob("*.h"), script, model]
    key = digest([tool.version, *command], sorted(inputs))
    if image.exists() and elf.exists() and key_file.exists() and key_file.read_text() == key:
        return image
    key_file.unlink(missing_ok=True)
    log.write_text("")
    _run(command, log, out_dir)
    _run([*tool.objcopy, "-O", "binary", str(elf), str(image)], log, out_dir)
    found = sizes(elf)
    with log.open("a") as file:
        file.write(f"rom {found.rom} bytes, ram {found.ram} bytes\n")
    key_file.write_text(key)
    return image


def sizes(elf: Path) -> Sizes:
    """What an image takes, from the program headers of its ELF file (32 bits, little-endian)."""
    data = elf.read_bytes()
    offset, size, count = struct.unpack_from("<I", data, 28)[0], *struct.unpack_from("<HH", data, 42)
    segments = [struct.unpack_from("<8I", data, offset + i * size) for i in range(count)]
    loaded = [s for s in segments if s[0] == 1]  # PT_LOAD: type, offset, vaddr, paddr, filesz, memsz, flags, align
    return Sizes(
        rom=max((s[3] + s[4] for s in loaded if s[4]), default=0) - min((s[3] for s in loaded if s[4]), default=0),
        ram=sum(s[5] for s in loaded if s[6] & 2),
    )


def digest(words: Iterable[str], files: Iterable[Path]) -> str:
    """One hash over words and the contents of files."""
    total = hashlib.sha256("\0".join(words).encode())
    for path in files:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _litex() -> tuple[Path, Path]:
    """The C headers of LiteX and of its VexRiscv, which the generated csr.h includes."""
    spec = importlib.util.find_spec("litex")
    if spec is None or not spec.submodule_search_locations:
        raise FirmwareError("LiteX was not found: pip install litex")
    root = Path(spec.submodule_search_locations[0]) / "soc"
    return root / "software" / "include", root / "cores" / "cpu" / "vexriscv"


def _run(command: Sequence[str], log: Path, folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    said = (done.stdout + done.stderr).strip()
    with log.open("a") as file:
        file.write(f"{shlex.join(command)}\n{said}\n" if said else f"{shlex.join(command)}\n")
    if done.returncode:
        raise FirmwareError(f"{Path(command[0]).name} failed (all of it in {log}):\n{said}")
