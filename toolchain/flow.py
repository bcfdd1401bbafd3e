"""From Verilog to a bitstream with open tools: synthesis, place and route with many seeds, the best one packed.

What is unchanged is not done again: synthesis depends on the Verilog, a seed's place and route on the netlist but for
what its block memories hold, the constraints and the options. A new firmware in the ROM (or new weights of the same
shape) therefore goes into the routed design of before, within seconds. Each seed keeps its own result, so an
interrupted sweep goes on where it was.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolchain import memories, programs, timing, yosys
from toolchain.device import Device
from toolchain.implementation import ImplementationError, ImplementationReport, SeedResult, check_timing, speeds
from toolchain.process import Processes, ToolError
from toolchain.project import Project

# Above this many LUTs nextpnr-himbaechel's default placer may not find places for carry chains; its static one does.
LARGE_LUT = 8000
HEARTBEAT_SECONDS = 30.0


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
    nextpnr_options: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> ImplementationReport:
    """Build ``top`` for ``device``; ``out_dir`` gets TOP.bit, report.json, logs/ and what later runs reuse.

    ``constraints`` is the text of an XDC (7-series) or LPF (ECP5) file. ``clock_hz`` is required of every clock that
    the constraints say nothing about. ``seeds``: that many from 1, or just these; ``jobs`` of them at a time (default:
    one a core). ``nextpnr_options`` come last. The best seed is kept: of those that meet all clocks, or of all with
    ``allow_timing_fail``. Raises `ImplementationError`, `TimingError`, `programs.MissingError`, `yosys.YosysError`.
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
    build = _Build(top, device, out_dir.resolve(), tools, clock_hz, tuple(nextpnr_options), say, Processes())
    try:
        return build.run([path.resolve() for path in verilog], constraints, numbers, jobs, allow_timing_fail)
    except ToolError as error:
        raise ImplementationError(str(error)) from error
    finally:
        build.processes.kill()


@dataclass(frozen=True)
class _Design:
    """The synthesized design: see `memories.split`; its constraints, number of LUTs, and `timing.aliases`."""

    structure: str
    contents: memories.Contents
    constraints: str
    lut: int
    names: dict[str, str]


@dataclass(frozen=True)
class _Build:
    """What stays the same during one `implement`."""

    top: str
    device: Device
    folder: Path
    tools: programs.Tools
    clock_hz: float
    nextpnr_options: tuple[str, ...]
    say: Callable[[str], None]
    processes: Processes

    @property
    def flow(self) -> str:
        return "openxc7" if self.device.family == "xc7" else "openecp5"

    @property
    def routed_name(self) -> str:
        return f"{self.top}.{'fasm' if self.device.family == 'xc7' else 'config'}"

    def log(self, step: str) -> Path:
        return self.folder / "logs" / f"{step}.log"

    def run(
        self, verilog: list[Path], constraints: str, seeds: list[int], jobs: int | None, allow_timing_fail: bool
    ) -> ImplementationReport:
        self.tools.links(self.folder / "bin")
        synthesis = self.synthesize(verilog)
        netlist = json.loads((self.folder / "synthesis" / f"{self.top}.json").read_text())
        structure, contents = memories.split(netlist)
        design = _Design(structure, contents, constraints, synthesis.total.lut, timing.aliases(netlist, self.top))
        del netlist
        constraint_file = self.folder / f"{self.top}.{'xdc' if self.device.family == 'xc7' else 'lpf'}"
        _write(constraint_file, constraints)
        results = self.sweep(design, seeds, jobs or len(os.sched_getaffinity(0)))
        good = [result for result in results if not result.error]
        if not good:
            raise ImplementationError(_all_failed(results, self))
        best = max(good, key=lambda result: (result.margin, -result.seed))
        routed = self.read(best.seed, design.names)
        swept = f" with seed {best.seed}, the best of {len(good)}"
        log = self.log(f"seed-{best.seed}")
        check_timing(routed.clocks, routed.paths, log=log, allow_fail=allow_timing_fail, seeds=swept)
        patched = self.fill(best.seed, design)
        seconds = {"synthesis": synthesis.seconds, "place and route": best.seconds}
        seconds["bitstream"] = self.pack(best.seed)
        bitstream = self.folder / f"{self.top}.bit"
        shutil.copyfile(self.seed_folder(best.seed) / f"{self.top}.bit", bitstream)
        report = ImplementationReport(
            bitstream=str(bitstream),
            device=self.device.part,
            seed=best.seed,
            clocks=routed.clocks,
            paths=routed.paths,
            utilization=routed.utilization,
            synthesis=synthesis.total,
            seeds=tuple(results),
            seconds=seconds,
            tools=self.tools.versions,
            logs={
                step: str(self.log(log))
                for step, log in (
                    ("synthesis", "synthesis"),
                    ("place and route", f"seed-{best.seed}"),
                    ("bitstream", "bitstream"),
                )
            },
            patched=patched,
        )
        report.save(self.folder / "report.json")
        self.say(f"bitstream: {bitstream} (seed {best.seed}, {speeds(routed.clocks)})")
        return report

    def synthesize(self, verilog: list[Path]) -> yosys.SynthesisReport:
        """Verilog to TOP.json, unless the one that is there is of the same Verilog, script and Yosys."""
        folder = self.folder / "synthesis"
        xc7 = self.device.family == "xc7"
        options = ("-flatten", "-abc9", "-arch", "xc7") if xc7 else ("-abc9",)
        project = Project(
            self.flow,
            self.top,
            self.top,
            folder,
            {os.path.relpath(path, folder): "systemVerilogSource" for path in verilog},
            {
                "pnr": "none",
                "yosys_synth_options": options,
                # With places in source files, the same netlist would look new. Cells get the names of what they drive.
                "yosys_post_synth": (
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
        script = (folder / f"{self.top}.ys").read_text()
        key = _key(makefile, script, self.tools.versions["yosys"], *(path.read_bytes() for path in verilog))
        if stamp.is_file() and key_file.is_file() and key_file.read_text() == key:
            return yosys.SynthesisReport.load(stamp)
        key_file.unlink(missing_ok=True)
        (folder / f"{self.top}.json").unlink(missing_ok=True)
        self.say(f"synthesis: {self.top} with Yosys {self.tools.versions['yosys']} for {self.device.part}")
        start = time.monotonic()
        log = self.log("synthesis")
        project.make("synth", log=log, bin_folder=self.folder / "bin", processes=self.processes)
        report = yosys.read_statistics(
            json.loads((folder / f"{self.top}.stat.json").read_text()),
            top=self.top,
            family=self.device.family,
            seconds=round(time.monotonic() - start, 2),
            tool=f"yosys {self.tools.versions['yosys']}",
            folder=folder,
        )
        report.save(stamp)
        _write(key_file, key)
        total = report.total
        self.say(
            f"synthesis: {total.lut:,} LUT, {total.ff:,} FF, {total.bram36:g} BRAM36, {total.dsp} DSP, "
            f"{report.seconds:.0f} s"
        )
        return report

    def seed_folder(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def project(self, seed: int, size: int) -> Project:
        """Place and route with ``seed`` and all that follows; ``size`` is the number of LUTs."""
        mega = self.clock_hz / 1e6
        options = ["--seed", str(seed), "--freq", f"{mega:.6g}", "--timing-allow-fail"]
        if self.tools.reports:
            options += ["--report", "report.json"]
        files = {f"../synthesis/{self.top}.json": "jsonNetlist"}
        flow_options: dict[str, Any] = {"synth": "none"}
        if self.device.family == "ecp5":
            files[f"../{self.top}.lpf"] = "LPF"
            options = [*self.device.ecp5_options, *options]
            flow_options["ecppack_options"] = ["--compress"]
        else:
            assert self.tools.chipdb and self.tools.database
            files |= {f"../{self.top}.xdc": "xdc", str(self.tools.chipdb): "chipdb"}
            options += ["--router", "router2"]
            if self.tools.variant == "himbaechel" and size > LARGE_LUT:
                options += ["--placer", "static"]
            part = self.device.part
            flow_options |= {"variant": self.tools.variant, "device": part, "part": part}
            flow_options |= {
                "db_root": str(self.tools.database),
                "part_file": str(self.tools.database / part / "part.yaml"),
            }
        flow_options["nextpnr_options"] = [*options, *self.nextpnr_options]
        return Project(self.flow, self.top, self.top, self.seed_folder(seed), files, flow_options)

    def sweep(self, design: _Design, seeds: list[int], jobs: int) -> list[SeedResult]:
        """Every seed, ``jobs`` at a time; those whose result is there are taken from it."""
        results: dict[int, SeedResult] = {}
        todo: list[tuple[int, str, Project]] = []
        nextpnr = next(f"{p.name} {p.version}" for p in self.tools.programs.values() if p.name.startswith("nextpnr"))
        for seed in seeds:
            project = self.project(seed, design.lut)
            makefile = project.configure()
            key = _key(design.structure, design.constraints, makefile, nextpnr)
            done = self.seed_folder(seed) / "result.json"
            stored = json.loads(done.read_text()) if done.is_file() else {}
            if stored.get("key") == key:
                results[seed] = SeedResult.of(stored["result"])
            else:
                done.unlink(missing_ok=True)
                todo.append((seed, key, project))
        if not todo:
            return [results[seed] for seed in seeds]
        kept = f", {len(results)} are there already" if results else ""
        self.say(f"place and route: {nextpnr}, {len(todo)} seeds, {min(jobs, len(todo))} at a time{kept}")
        start = time.monotonic()
        with ThreadPoolExecutor(jobs) as pool:
            running: dict[Future[SeedResult], int] = {
                pool.submit(self.route, seed, key, project, design): seed for seed, key, project in todo
            }
            try:
                while running:
                    ended, _ = wait(running, HEARTBEAT_SECONDS, FIRST_COMPLETED)
                    for future in ended:
                        seed = running.pop(future)
                        results[seed] = result = future.result()
                        what = result.error or speeds(result.clocks)
                        self.say(
                            f"place and route: seed {seed}: {what}, {result.seconds:.0f} s "
                            f"({len(results)} of {len(seeds)})"
                        )
                    if not ended:
                        at_work = self.activity(list(running.values()))
                        self.say(f"place and route: {time.monotonic() - start:.0f} s; {at_work}")
            except BaseException:
                self.processes.kill()
                pool.shutdown(cancel_futures=True)
                raise
        return [results[seed] for seed in seeds]

    def route(self, seed: int, key: str, project: Project, design: _Design) -> SeedResult:
        """Place and route one seed and keep what came of it; that it does not fit is a result, too."""
        folder, log = self.seed_folder(seed), self.log(f"seed-{seed}")
        (folder / self.routed_name).unlink(missing_ok=True)
        start = time.monotonic()
        try:
            project.make("pnr", log=log, bin_folder=self.folder / "bin", processes=self.processes)
        except ToolError as error:
            if "ERROR" not in str(error):  # killed, out of memory, …: worth another try next time
                raise
            result = SeedResult(seed, round(time.monotonic() - start, 2), error=str(error))
        else:
            routed = self.read(seed, design.names)
            result = SeedResult(seed, round(time.monotonic() - start, 2), routed.margin, routed.clocks)
            with gzip.open(folder / "contents.json.gz", "wt", compresslevel=3) as file:
                json.dump(design.contents, file)
        _write(folder / "result.json", json.dumps({"key": key, "result": asdict(result)}))
        return result

    def activity(self, seeds: list[int]) -> str:
        """What the running seeds say last."""
        said = []
        for seed in seeds:
            log = self.log(f"seed-{seed}")
            lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
            steps = [line.removeprefix("Info: ").strip() for line in lines if line.startswith("Info: ")]
            if steps:
                said.append(f"seed {seed}: {steps[-1][:60]}")
        return "; ".join(said)

    def read(self, seed: int, names: dict[str, str]) -> timing.Routed:
        """What nextpnr found with ``seed``."""
        family, folder = self.device.family, self.seed_folder(seed)
        if self.tools.reports:
            routed = timing.read(folder / "report.json", family=family, aliases=names)
        else:
            log = self.log(f"seed-{seed}").read_text(errors="replace")
            routed = timing.read_log(log, family=family, aliases=names)
        if family == "xc7":  # nextpnr counts the two halves of a LUT one by one; what is written is whole LUTs
            whole = set(re.findall(r"^(\S+\.[A-D]LUT)\.INIT", (folder / self.routed_name).read_text(), re.M))
            lut = timing.Use(len(whole), routed.utilization["lut"].available)
            routed = replace(routed, utilization=routed.utilization | {"lut": lut})
        return routed

    def fill(self, seed: int, design: _Design) -> bool:
        """Make the routed design hold ``design.contents`` in its block memories; returns whether it held others."""
        folder = self.seed_folder(seed)
        kept = folder / "contents.json.gz"
        with gzip.open(kept, "rt") as file:
            held = json.load(file)
        if held == design.contents:
            return False
        routed = folder / self.routed_name
        new = memories.exchange(routed.read_text(), held, design.contents)
        kept.unlink()
        if new is None:  # the same seed again gives the same places
            self.say(f"place and route: seed {seed} again, as two block memories that held the same now differ")
            project = self.project(seed, design.lut)
            routed.unlink()
            log = self.log(f"seed-{seed}")
            project.make("pnr", log=log, bin_folder=self.folder / "bin", processes=self.processes)
        else:
            self.say(f"place and route: only block memories changed; seed {seed}'s routing is kept")
            _write(routed, new)
        with gzip.open(kept, "wt", compresslevel=3) as file:
            json.dump(design.contents, file)
        return True

    def pack(self, seed: int) -> float:
        """The routed design of ``seed`` to TOP.bit beside it, unless that is there; returns the seconds that took."""
        folder = self.seed_folder(seed)
        record = folder / "packed.json"
        key = _key(
            (folder / self.routed_name).read_bytes(), (folder / "Makefile").read_text(), str(self.tools.versions)
        )
        stored = json.loads(record.read_text()) if record.is_file() else {}
        if stored.get("key") == key and (folder / f"{self.top}.bit").is_file():
            return float(stored["seconds"])
        for suffix in ("frames", "bit"):
            (folder / f"{self.top}.{suffix}").unlink(missing_ok=True)
        self.say(f"bitstream: seed {seed}")
        start = time.monotonic()
        project = Project(self.flow, self.top, self.top, folder, {})
        project.make(
            "bitstream",
            log=self.log("bitstream"),
            bin_folder=self.folder / "bin",
            processes=self.processes,
            done=[self.routed_name],
        )
        if not (folder / f"{self.top}.bit").is_file():
            raise ToolError(f"{self.top}.bit was not written (log: {self.log('bitstream')})")
        seconds = round(time.monotonic() - start, 2)
        _write(record, json.dumps({"key": key, "seconds": seconds}))
        return seconds


def _key(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}\0".encode() + data)
    return total.hexdigest()


def _write(path: Path, text: str) -> None:
    """Write a file so that a reader, or the next run after an interruption, sees all of it or the old one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def _all_failed(results: Sequence[SeedResult], build: _Build) -> str:
    message = f"place and route: none of {len(results)} seeds came through: {results[0].error}"
    if "legal placement" in results[0].error and build.tools.variant == "himbaechel":
        message += "; nextpnr's --placer static may find places for the carry chains"
    return message
