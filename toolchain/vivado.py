"""The same design through AMD's Vivado, by edalize's own flow for it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from toolchain import programs, timing
from toolchain.device import Device
from toolchain.implementation import ImplementationError, ImplementationReport, SeedResult, check_timing, speeds
from toolchain.process import Processes, ToolError
from toolchain.project import Project

_RESOURCES = {"lut": "Slice LUTs", "ff": "Slice Registers", "bram36": "Block RAM Tile", "dsp": "DSPs"}


def implement(
    verilog: Sequence[Path],
    *,
    top: str,
    device: Device,
    constraints: str,
    out_dir: Path,
    jobs: int | None = None,
    allow_timing_fail: bool = False,
    say: Callable[[str], None] = print,
) -> ImplementationReport:
    """Build ``top`` with Vivado; arguments, result and errors as of `toolchain.flow.implement`, without seeds."""
    if device.family != "xc7":
        raise ImplementationError(f"{device.part}: Vivado builds for AMD's parts")
    tool = programs.vivado()
    out_dir = out_dir.resolve()
    programs.Tools({"vivado": tool}).links(out_dir / "bin")
    folder, log = out_dir / "vivado", out_dir / "logs" / "vivado.log"
    shutil.rmtree(folder, ignore_errors=True)  # Vivado refuses to make a project over an old one's runs
    project = Project(
        "vivado",
        top,
        top,
        folder,
        {os.path.relpath(path.resolve(), folder): "systemVerilogSource" for path in verilog} | {f"../{top}.xdc": "xdc"},
        {"part": device.part, "jobs": jobs or os.cpu_count() or 1},
    )
    processes = Processes()
    start = time.monotonic()
    try:
        project.configure()
        (out_dir / f"{top}.xdc").write_text(constraints)
        say(f"vivado: {top} for {device.part}")
        project.make("post_build", log=log, bin_folder=out_dir / "bin", processes=processes)
        reports = folder / f"{top}.runs" / "impl_1"
        clocks = read_timing((reports / f"{top}_timing_summary_routed.rpt").read_text())
        utilization = read_utilization((reports / f"{top}_utilization_placed.rpt").read_text())
        shutil.copyfile(folder / f"{top}.bit", out_dir / f"{top}.bit")
    except ToolError as error:
        raise ImplementationError(str(error)) from error
    except FileNotFoundError as error:
        raise ImplementationError(f"vivado: {error.filename} was not written (log: {log})") from error
    finally:
        processes.kill()
    check_timing(clocks, (), log=log, allow_fail=allow_timing_fail)
    seconds = round(time.monotonic() - start, 2)
    margin = min((clock.achieved_hz / clock.required_hz for clock in clocks), default=float("inf"))
    report = ImplementationReport(
        bitstream=str(out_dir / f"{top}.bit"),
        device=device.part,
        seed=0,
        clocks=clocks,
        paths=(),
        utilization=utilization,
        synthesis=None,
        seeds=(SeedResult(0, seconds, margin, clocks),),
        seconds={"vivado": seconds},
        tools={"vivado": tool.version},
        logs={"vivado": str(log)},
        patched=False,
    )
    report.save(out_dir / "report.json")
    say(f"bitstream: {report.bitstream} ({speeds(clocks)})")
    return report


def read_timing(text: str) -> tuple[timing.Clock, ...]:
    """Each clock of ``report_timing_summary`` that has paths of its own, worst first: period and worst slack, in ns."""
    periods = dict(re.findall(r"^ *(\S+) +\{[\d. ]+\} +([\d.]+) +[\d.]+ *$", text, re.M))
    table = text.partition("| Intra Clock Table")[2].partition("| Inter Clock Table")[0]
    clocks = [
        timing.Clock(name, 1e9 / (float(periods[name]) - float(slack)), 1e9 / float(periods[name]))
        for name, slack in re.findall(r"^ *(\S+) +(-?\d+\.\d+)\s", table, re.M)
        if name in periods
    ]
    return tuple(sorted(clocks, key=lambda clock: clock.achieved_hz / clock.required_hz))


def read_utilization(text: str) -> dict[str, timing.Use]:
    """The rows of ``report_utilization`` that count: used is the first number, available the last but one."""
    found = {}
    for name, row in _RESOURCES.items():
        if match := re.search(rf"^\| {row}\*?\s*\|(.*)\|\s*$", text, re.M):
            cells = [cell.strip() for cell in match[1].split("|")]
            found[name] = timing.Use(float(cells[0]), float(cells[-2]))
    return found
