"""Place and route of one design with many seeds, each kept as it ends; the best one filled with contents and packed."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolchain import memories, programs, timing
from toolchain.device import Device
from toolchain.implementation import SeedResult, speeds
from toolchain.process import Processes, ToolError
from toolchain.project import Project, key_of, write_whole

# Above this many LUTs nextpnr-himbaechel's default placer may not find places for carry chains; its static one does.
LARGE_LUT = 8000
SCRIPT = "places.py"


@dataclass(frozen=True)
class Design:
    """A synthesized design: ``structure`` and ``contents`` as of `memories.split`, ``names`` as of `timing.aliases`.

    ``constraints`` is their text, ``places`` that of the Python script in `SCRIPT` which places the large cells, or
    nothing, ``lut`` the number of LUTs, ``clock_hz`` what unconstrained clocks have to reach.
    """

    structure: str
    contents: memories.Contents
    names: dict[str, str]
    lut: int
    constraints: str
    places: str
    clock_hz: float
    nextpnr_options: tuple[str, ...]


@dataclass(frozen=True)
class Seeds:
    """The routed forms of one design, below ``folder``, which has the netlist in synthesis/ and the constraints."""

    flow: str
    top: str
    device: Device
    folder: Path
    tools: programs.Tools
    design: Design
    say: Callable[[str], None]
    processes: Processes

    @property
    def routed_name(self) -> str:
        return f"{self.top}.{'fasm' if self.device.family == 'xc7' else 'config'}"

    def log(self, step: str) -> Path:
        return self.folder / "logs" / f"{step}.log"

    def seed_folder(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def project(self, seed: int) -> Project:
        """Place and route with ``seed`` and all that follows."""
        options = ["--seed", str(seed), "--freq", f"{self.design.clock_hz / 1e6:.6g}", "--timing-allow-fail"]
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
            if self.tools.variant == "himbaechel" and self.design.lut > LARGE_LUT:
                options += ["--placer", "static"]
            if self.design.places:
                options += ["--pre-place", f"../{SCRIPT}"]
            part = self.device.part
            flow_options |= {"variant": self.tools.variant, "device": part, "part": part}
            flow_options |= {
                "db_root": str(self.tools.database),
                "part_file": str(self.tools.database / part / "part.yaml"),
            }
        flow_options["nextpnr_options"] = [*options, *self.design.nextpnr_options]
        return Project(self.flow, self.top, self.top, self.seed_folder(seed), files, flow_options)

    def sweep(self, seeds: Sequence[int], jobs: int) -> list[SeedResult]:
        """Every seed, ``jobs`` at a time; those whose result is there are taken from it."""
        results: dict[int, SeedResult] = {}
        todo: list[tuple[int, str, Project]] = []
        nextpnr = next(f"{p.name} {p.version}" for p in self.tools.programs.values() if p.name.startswith("nextpnr"))
        for seed in seeds:
            project = self.project(seed)
            makefile = project.configure()
            key = key_of(self.design.structure, self.design.constraints, self.design.places, makefile, nextpnr)
            done = self.seed_folder(seed) / "result.json"
            stored = json.loads(done.read_text()) if done.is_file() else {}
            if stored.get("key") == key and (stored["result"]["error"] or self.is_whole(seed)):
                results[seed] = SeedResult.of(stored["result"])
            else:
                done.unlink(missing_ok=True)
                todo.append((seed, key, project))
        if not todo:
            return [results[seed] for seed in seeds]
        kept = f", {len(results)} are there already" if results else ""
        self.say(f"place and route: {nextpnr}, {len(todo)} seeds, {min(jobs, len(todo))} at a time{kept}")
        with ThreadPoolExecutor(jobs) as pool:
            running: dict[Future[SeedResult], int] = {
                pool.submit(self.route, seed, key, project): seed for seed, key, project in todo
            }
            try:
                while running:
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        seed = running.pop(future)
                        results[seed] = result = future.result()
                        what = result.error or speeds(result.clocks)
                        self.say(
                            f"place and route: seed {seed}: {what}, {result.seconds:.0f} s "
                            f"({len(results)} of {len(seeds)})"
                        )
            except BaseException:
                self.processes.kill()
                pool.shutdown(cancel_futures=True)
                raise
        return [results[seed] for seed in seeds]

    def route(self, seed: int, key: str, project: Project) -> SeedResult:
        """Place and route one seed and keep what came of it; that it does not fit is a result, too."""
        folder = self.seed_folder(seed)
        (folder / self.routed_name).unlink(missing_ok=True)
        start = time.monotonic()
        try:
            self.place_and_route(seed, project)
        except ToolError as error:
            result = SeedResult(seed, round(time.monotonic() - start, 2), error=str(error))
            if "ERROR" not in str(error):  # killed, out of memory, …: worth another try next time
                return result
        else:
            routed = self.read(seed)
            result = SeedResult(seed, round(time.monotonic() - start, 2), routed.margin, routed.clocks)
            with gzip.open(folder / "contents.json.gz", "wt", compresslevel=3) as file:
                json.dump(self.design.contents, file)
        write_whole(folder / "result.json", json.dumps({"key": key, "result": asdict(result)}))
        return result

    def place_and_route(self, seed: int, project: Project) -> None:
        """Run nextpnr. Raises `ToolError`."""
        project.make(
            "pnr",
            step=f"place and route: seed {seed}",
            log=self.log(f"seed-{seed}"),
            bin_folder=self.folder / "bin",
            processes=self.processes,
        )

    def is_whole(self, seed: int) -> bool:
        """Whether the routed design of ``seed`` is there, and what its memories hold is known."""
        return all((self.seed_folder(seed) / name).is_file() for name in (self.routed_name, "contents.json.gz"))

    def read(self, seed: int) -> timing.Routed:
        """What nextpnr found with ``seed``."""
        family, folder = self.device.family, self.seed_folder(seed)
        if self.tools.reports:
            routed = timing.read(folder / "report.json", family=family, aliases=self.design.names)
        else:
            log = self.log(f"seed-{seed}").read_text(errors="replace")
            routed = timing.read_log(log, family=family, aliases=self.design.names)
        if family == "xc7":  # nextpnr counts the two halves of a LUT one by one; what is written is whole LUTs
            whole = set(re.findall(r"^(\S+\.[A-D]LUT)\.INIT", (folder / self.routed_name).read_text(), re.M))
            lut = timing.Use(len(whole), routed.utilization["lut"].available)
            routed = replace(routed, utilization=routed.utilization | {"lut": lut})
        return routed

    def fill(self, seed: int) -> bool:
        """Make the routed design hold the ``contents`` of the design; returns whether it held others."""
        folder = self.seed_folder(seed)
        kept = folder / "contents.json.gz"
        with gzip.open(kept, "rt") as file:
            held = json.load(file)
        if held == self.design.contents:
            return False
        routed = folder / self.routed_name
        new = memories.exchange(routed.read_text(), held, self.design.contents)
        kept.unlink()
        if new is None:  # the same seed again gives the same places
            self.say(f"place and route: seed {seed} again, as two block memories that held the same now differ")
            routed.unlink()
            self.place_and_route(seed, self.project(seed))
        else:
            self.say(f"place and route: only block memories changed; seed {seed}'s routing is kept")
            write_whole(routed, new)
        with gzip.open(kept, "wt", compresslevel=3) as file:
            json.dump(self.design.contents, file)
        return True

    def pack(self, seed: int) -> float:
        """The routed design of ``seed`` to TOP.bit beside it, unless that is there; returns the seconds that took."""
        folder = self.seed_folder(seed)
        record = folder / "packed.json"
        key = key_of(
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
            step=f"bitstream: seed {seed}",
            log=self.log("bitstream"),
            bin_folder=self.folder / "bin",
            processes=self.processes,
            done=[self.routed_name],
        )
        if not (folder / f"{self.top}.bit").is_file():
            raise ToolError(f"{self.top}.bit was not written (log: {self.log('bitstream')})")
        seconds = round(time.monotonic() - start, 2)
        write_whole(record, json.dumps({"key": key, "seconds": seconds}))
        return seconds
