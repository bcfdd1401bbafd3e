"""From Verilog to a bitstream with open tools: synthesis, place and route with many seeds, the best one packed.

What is unchanged is not done again: synthesis depends on the Verilog, a seed's place and route on the netlist but for
what its block memories hold, the constraints and the options. A new firmware in the ROM (or new weights of the same
shape) therefore goes into the routed design of before, within seconds. Each seed keeps its own result, so an
interrupted sweep goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolchain import cascades, macros, memories, programs, registers, timing, yosys
from toolchain.device import Device
from toolchain.implementation import ImplementationError, ImplementationReport, SeedResult, check_timing, speeds
from toolchain.process import Processes, ToolError
from toolchain.project import Project, key_of, write_whole
from toolchain.seeds import SCRIPT, Design, Seeds

_FLOWS = {"xc7": "openxc7", "ecp5": "openecp5"}


def implement(
    verilog: Sequence[Path],
    *,
    top: str,
    device: Device,
    constraints: str,
    clock_hz: float,
    out_dir: Path,
    seeds: int | Sequence[int] = 8,
    jobs: int | None = None,
    allow_timing_fail: bool = False,
    pack: bool = True,
    nextpnr_options: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> ImplementationReport:
    """Build ``top`` for ``device``; ``out_dir`` gets TOP.bit, report.json, logs/ and what later runs reuse.

    ``constraints`` is the text of an XDC (7-series) or LPF (ECP5) file. ``clock_hz`` is required of every clock that
    the constraints say nothing about. ``seeds``: that many from 1, or just these; ``jobs`` of them at a time (default:
    one a core). ``nextpnr_options`` come last. The best seed is kept: of those that meet all clocks, or of all with
    ``allow_timing_fail``. Without ``pack`` its routed design is the end, and there is no bitstream.

    A clock that is missed raises `TimingError`, and report.json tells of the routed design all the same. Raises
    `ImplementationError`, `programs.MissingError`, `yosys.YosysError` besides.
    """
    numbers = list(range(1, seeds + 1)) if isinstance(seeds, int) else list(seeds)
    if not numbers or min(numbers) < 0:
        raise ValueError(f"seeds must be a positive number or a list of seeds, not {seeds!r}")
    if clock_hz <= 0:
        raise ValueError(f"clock_hz must be positive, not {clock_hz}")
    for path in verilog:
        if not path.is_file():
            raise ImplementationError(f"{path}: no such Verilog file")
    tools = programs.xc7(device) if device.family == "xc7" else programs.ecp5()
    out_dir = out_dir.resolve()
    tools.links(out_dir / "bin")
    processes, synthesis_log = Processes(say), out_dir / "logs" / "synthesis.log"
    try:
        synthesis = synthesize(
            verilog,
            top=top,
            device=device,
            tools=tools,
            folder=out_dir / "synthesis",
            log=synthesis_log,
            say=say,
            processes=processes,
        )
        write_whole(out_dir / f"{top}{device.constraints_suffix}", constraints)
        netlist = json.loads((out_dir / "synthesis" / f"{top}.json").read_text())
        structure, contents = memories.split(netlist)
        names = timing.aliases(netlist, top)
        places = place(netlist, top=top, structure=structure, device=device, tools=tools, out_dir=out_dir, say=say)
        del netlist  # large, and not needed any more
        lut, extra = synthesis.total.lut, tuple(nextpnr_options)
        design = Design(structure, contents, names, lut, constraints, places, clock_hz, extra)
        routes = Seeds(_FLOWS[device.family], top, device, out_dir, tools, design, say, processes)
        results = routes.sweep(numbers, jobs or os.cpu_count() or 1)
        best = _best(results, static_helps=tools.variant == "himbaechel")
        routed = routes.read(best.seed)
        report = ImplementationReport(
            bitstream=None,
            device=device.part,
            seed=best.seed,
            clocks=routed.clocks,
            paths=routed.paths,
            utilization=routed.utilization,
            synthesis=synthesis.total,
            seeds=tuple(results),
            seconds={"synthesis": synthesis.seconds, "place and route": best.seconds},
            tools=tools.versions,
            logs={"synthesis": str(synthesis_log), "place and route": str(routes.log(f"seed-{best.seed}"))},
            patched=False,
        )
        report.save(out_dir / "report.json")
        came_through = sum(not result.error for result in results)
        check_timing(report, log=routes.log(f"seed-{best.seed}"), allow_fail=allow_timing_fail, seeds=came_through)
        if pack:
            patched = routes.fill(best.seed)
            seconds = routes.pack(best.seed)
            bitstream = out_dir / f"{top}.bit"
            shutil.copyfile(routes.seed_folder(best.seed) / f"{top}.bit", bitstream)
            report = replace(
                report,
                bitstream=str(bitstream),
                seconds=report.seconds | {"bitstream": seconds},
                logs=report.logs | {"bitstream": str(routes.log("bitstream"))},
                patched=patched,
            )
            report.save(out_dir / "report.json")
            say(f"bitstream: {bitstream} (seed {best.seed}, {speeds(routed.clocks)})")
    except ToolError as error:
        raise ImplementationError(str(error)) from error
    finally:
        processes.kill()
    return report


def synthesize(
    verilog: Sequence[Path],
    *,
    top: str,
    device: Device,
    tools: programs.Tools,
    folder: Path,
    log: Path,
    say: Callable[[str], None],
    processes: Processes,
) -> yosys.SynthesisReport:
    """Verilog to TOP.json, unless the one that is there is of the same Verilog, script and Yosys."""
    xc7 = device.family == "xc7"
    options = ("-flatten", "-abc9", "-arch", "xc7") if xc7 else ("-noabc9",)
    project = Project(
        _FLOWS[device.family],
        top,
        top,
        folder,
        {os.path.relpath(path, folder): "systemVerilogSource" for path in verilog},
        {
            "pnr": "none",
            "yosys_synth_options": options,
            # With places in source files, the same netlist would look new. Cells get the names of what they drive.
            "yosys_post_synth": (
                # what was a module of its own so far, as memories in LUTs are, is for synthesis only
                "setattr -mod -unset keep_hierarchy",
                "flatten",
                "delete t:$scopeinfo",
                "attrmap -remove src",
                "attrmap -modattr -remove src",
                *(("rename -wire",) if xc7 else ()),
            ),
        },
    )
    stamp = folder / "report.json"
    key_file = folder / "key"
    makefile = project.configure()
    script = (folder / f"{top}.ys").read_text()
    after = registers.VERSION if not xc7 else cascades.VERSION if tools.variant == "xilinx" else ""
    key = key_of(makefile, script, after, tools.versions["yosys"], *(path.read_bytes() for path in verilog))
    if stamp.is_file() and key_file.is_file() and key_file.read_text() == key:
        return yosys.SynthesisReport.load(stamp)
    key_file.unlink(missing_ok=True)
    (folder / f"{top}.json").unlink(missing_ok=True)
    say(f"synthesis: {top} with Yosys {tools.versions['yosys']} for {device.part}")
    start = time.monotonic()
    project.make("synth", step="synthesis", log=log, bin_folder=folder.parent / "bin", processes=processes)
    statistics = json.loads((folder / f"{top}.stat.json").read_text())
    if not xc7:
        netlist = json.loads((folder / f"{top}.json").read_text())
        saved = registers.absorb(netlist, top)
        write_whole(folder / f"{top}.json", json.dumps(netlist))
        if saved:
            statistics["modules"][f"\\{top}"]["num_cells_by_type"]["TRELLIS_FF"] -= saved
    elif tools.variant == "xilinx":
        netlist = json.loads((folder / f"{top}.json").read_text())
        if cascades.pair(netlist, top):
            write_whole(folder / f"{top}.json", json.dumps(netlist))
    report = yosys.read_statistics(
        statistics,
        top=top,
        family=device.family,
        seconds=round(time.monotonic() - start, 2),
        tool=f"yosys {tools.versions['yosys']}",
        folder=folder,
    )
    report.save(stamp)
    write_whole(key_file, key)
    total = report.total
    say(
        f"synthesis: {total.lut:,} LUT, {total.ff:,} FF, {total.bram36:g} BRAM36, {total.dsp} DSP, "
        f"{report.seconds:.0f} s"
    )
    return report


def place(
    netlist: dict[str, Any],
    *,
    top: str,
    structure: str,
    device: Device,
    tools: programs.Tools,
    out_dir: Path,
    say: Callable[[str], None],
) -> str:
    """The script in OUT_DIR/places.py that places block RAMs and DSP48E1 for nextpnr; nothing where it takes none.

    The one that is there is taken if it is of the same ``structure`` (`memories.split`) and part.
    """
    if tools.variant != "himbaechel" or tools.database is None:
        return ""
    if not tools.scripts:
        say("places: this nextpnr was built without Python, so it places block RAMs and DSP48E1 as it likes")
        return ""
    script = out_dir / SCRIPT
    tilegrid = tools.database / programs.fabric(device) / "tilegrid.json"
    if not tilegrid.is_file():
        say(f"places: no {tilegrid}, so nextpnr places block RAMs and DSP48E1 as it likes")
        return ""
    first = f"# {key_of(structure, tilegrid.read_bytes(), macros.VERSION)}\n"
    if script.is_file() and script.read_text().startswith(first):
        return script.read_text()
    say(f"places: block RAMs and DSP48E1 of {top}, before its logic")
    start = time.monotonic()
    try:
        found = macros.floorplan(netlist, top=top, tilegrid=tilegrid)
    except macros.NoRoomError as error:
        say(f"places: {error}; nextpnr places them as it likes")
        return ""
    say(f"places: {len(found)} block RAMs and DSP48E1, {time.monotonic() - start:.0f} s")
    lines = [f"    {json.dumps(cell)}: {json.dumps(bel)}," for cell, bel in sorted(found.items())]
    text = "\n".join([f"{first}PLACES = {{", *lines, "}", _SCRIPT])
    write_whole(script, text)
    return text


_SCRIPT = """\
for cell, bel in PLACES.items():
    ctx.cells[cell].setAttr("BEL", bel)  # ctx is nextpnr's own name for its design
"""


def _best(results: Sequence[SeedResult], *, static_helps: bool) -> SeedResult:
    """The seed whose worst clock has the largest margin. Raises `ImplementationError` where none came through."""
    good = [result for result in results if not result.error]
    if good:
        return max(good, key=lambda result: (result.margin, -result.seed))
    message = f"place and route: none of {len(results)} seeds came through: {results[0].error}"
    if "legal placement" in results[0].error and static_helps:
        message += "; nextpnr's --placer static may find places for the carry chains"
    raise ImplementationError(message)
