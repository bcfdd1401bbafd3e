"""The same design through AMD's Vivado, by edalize's own flow for it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from toolchain import programs, timing
from toolchain.device import Device
from toolchain.implementation import ImplementationError, ImplementationReport, SeedResult, check_timing, speeds
from toolchain.process import Processes, ToolError
from toolchain.project import Project, key_of, write_whole

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
    project = Project(
        "vivado",
        top,
        top,
        folder,
        {os.path.relpath(path.resolve(), folder): "systemVerilogSource" for path in verilog} | {f"../{top}.xdc": "xdc"},
        {"part": device.part, "jobs": jobs or os.cpu_count() or 1},
    )
    key = key_of(top, device.part, constraints, tool.version, *(path.read_bytes() for path in verilog))
    key_file = folder / "key"
    if key_file.is_file() and key_file.read_text() == key:
        report = ImplementationReport.load(folder / "report.json")
    else:
        shutil.rmtree(folder, ignore_errors=True)  # Vivado refuses to make a project over an old one's runs
        write_whole(out_dir / f"{top}.xdc", constraints)
        say(f"vivado: {top} for {device.part}")
        report = run(project, device.part, tool.version, log=log, say=say)
        report.save(folder / "report.json")
        write_whole(key_file, key)
    report.save(out_dir / "report.json")
    check_timing(report, log=log, allow_fail=allow_timing_fail)
    report = replace(report, bitstream=str(out_dir / f"{top}.bit"))
    shutil.copyfile(folder / f"{top}.bit", out_dir / f"{top}.bit")
    report.save(out_dir / "report.json")
    say(f"bitstream: {report.bitstream} ({speeds(report.clocks)})")
    return report


def run(project: Project, part: str, version: str, *, log: Path, say: Callable[[str], None]) -> ImplementationReport:
    """Vivado from Verilog to TOP.bit in the project's folder, whatever its clocks. Raises `ImplementationError`."""
    folder, top = project.folder, project.top
    processes = Processes(say)
    start = time.monotonic()
    try:
        project.configure()
        project.make("post_build", step="vivado", log=log, bin_folder=folder.parent / "bin", processes=processes)
        reports = folder / f"{top}.runs" / "impl_1"
        timed = (reports / f"{top}_timing_summary_routed.rpt").read_text()
        utilization = read_utilization((reports / f"{top}_utilization_placed.rpt").read_text())
        if not (folder / f"{top}.bit").is_file():
            raise ImplementationError(f"vivado: {folder / f'{top}.bit'} was not written (log: {log})")
    except ToolError as error:
        raise ImplementationError(str(error)) from error
    except FileNotFoundError as error:
        raise ImplementationError(f"vivado: {error.filename} was not written (log: {log})") from error
    finally:
        processes.kill()
    clocks, seconds = read_timing(timed), round(time.monotonic() - start, 2)
    margin = min((clock.achieved_hz / clock.required_hz for clock in clocks), default=float("inf"))
    return ImplementationReport(
        bitstream=None,
        device=part,
        seed=0,
        clocks=clocks,
        paths=read_paths(timed),
        utilization=utilization,
        synthesis=None,
        seeds=(SeedResult(0, seconds, margin, clocks),),
        seconds={"vivado": seconds},
        tools={"vivado": version},
        logs={"vivado": str(log)},
        patched=False,
    )


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


def read_paths(text: str) -> tuple[timing.CriticalPath, ...]:
    """The slowest setup path of each clock in ``report_timing_summary``, slowest first, by the design's own names."""
    paths: dict[str, timing.CriticalPath] = {}
    for block in re.split(r"^Slack ", text.partition("| Timing Details")[2], flags=re.M)[1:]:
        clock = re.search(r"^ *Path Group: +(\S+)", block, re.M)
        if not clock or clock[1] in paths or not re.search(r"^ *Path Type: +Setup", block, re.M):
            continue
        sections = re.split(r"^ +-{10,}[- ]*$", block, flags=re.M)  # source clock, data, destination clock, slack
        if len(sections) < 3:
            continue
        hops = [_hop(*found) for found in re.findall(_HOP, sections[2], re.M)]
        paths[clock[1]] = timing.CriticalPath.of(clock[1], clock[1], hops)
    return tuple(sorted(paths.values(), key=lambda path: -path.delay_ns))


# what it is, its delay in ns, the path's delay so far, perhaps an edge, what drives it
_HOP = r"^.*?(net|[A-Z]\w*) \((\S+).*?\)\s+(-?\d+\.\d+) +-?\d+\.\d+ +(?:[rf] +)?(\S+)$"


def _hop(cell: str, arc: str, delay: str, name: str) -> timing.Hop:
    kind = "routing" if cell == "net" else "setup" if arc.startswith("Setup") else "logic"
    owner = name if cell == "net" else name.rpartition("/")[0]  # a pin of the cell
    plain = re.sub(r"_reg(?=[\[/]|$)|(_i_\d+|_carry|_n_\d+|__\d+).*$", "", owner)  # what Vivado adds to a name
    return timing.Hop(kind, float(delay), plain.replace("/", "."))


def read_utilization(text: str) -> dict[str, timing.Use]:
    """The rows of ``report_utilization`` that count: used is the first number, available the last but one."""
    found = {}
    for name, row in _RESOURCES.items():
        if match := re.search(rf"^\| {row}\*?\s*\|(.*)\|\s*$", text, re.M):
            cells = [cell.strip() for cell in match[1].split("|")]
            found[name] = timing.Use(float(cells[0]), float(cells[-2]))
    return found
