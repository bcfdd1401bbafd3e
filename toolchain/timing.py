"""What nextpnr found: the frequency that each clock reaches, the paths that decide it, and what the design takes.

Read from its report in JSON. The older nextpnr-xilinx writes none: there the log's last tables are read (its first ones
are from before routing).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Clock:
    """A clock: what it reaches and what it has to, both in Hz."""

    name: str
    achieved_hz: float
    required_hz: float

    @property
    def met(self) -> bool:
        return self.achieved_hz >= self.required_hz


@dataclass(frozen=True)
class Hop:
    """A piece of a path: ``kind`` is clk-to-q, logic, routing, setup, …; ``name`` the net or cell."""

    kind: str
    delay_ns: float
    name: str


@dataclass(frozen=True)
class CriticalPath:
    """The slowest path from clock ``start`` to clock ``end``; ``through``: the design's own names on it, in order."""

    start: str
    end: str
    hops: tuple[Hop, ...]
    through: tuple[str, ...]

    @classmethod
    def of(cls, start: str, end: str, hops: Iterable[Hop]) -> CriticalPath:
        """The path over ``hops``, each name once that they belong to."""
        hops = tuple(hops)
        through: list[str] = []
        for hop in hops:
            name = owner(hop.name)
            if name and (not through or through[-1] != name):
                through.append(name)
        return cls(start, end, hops, tuple(through))

    @property
    def delay_ns(self) -> float:
        return math.fsum(hop.delay_ns for hop in self.hops)

    @property
    def routing_ns(self) -> float:
        return math.fsum(hop.delay_ns for hop in self.hops if hop.kind == "routing")

    def __str__(self) -> str:
        names = " → ".join(self.through) or "names that Yosys made up"
        return f"{self.delay_ns:.1f} ns ({self.routing_ns:.1f} ns of it routing): {names}"


@dataclass(frozen=True)
class Use:
    """How much of one kind of resource is used, of how much."""

    used: float
    available: float


@dataclass(frozen=True)
class Routed:
    """A placed and routed design: clocks, worst first; critical paths inside one clock, worst first; resources."""

    clocks: tuple[Clock, ...]
    paths: tuple[CriticalPath, ...]
    utilization: dict[str, Use]

    @property
    def margin(self) -> float:
        """What the worst clock reaches over what it has to; 1 and more is met. Infinite where nothing is clocked."""
        return min((clock.achieved_hz / clock.required_hz for clock in self.clocks), default=math.inf)


# Where a synthesized name stops being the design's own: Yosys' autoname and `rename -wire` append types of cells.
_CELL_TYPE = (
    r"TRELLIS_|LUT\d|PFUMX|L6MUX21|CCU2C|DP16KD|MULT18X18D|DI_|DO[AB]\d"
    r"|FD[RSCP]E|CARRY4|MUXF\d|RAMB\d|DSP48E1|SRL|RAM\d|INV|BUFG"
)
# How the two families call the same thing in nextpnr: (what is counted, times).
_RESOURCES = {
    "lut": {"TRELLIS_COMB": 1.0, "SLICE_LUTX": 1.0},
    "ff": {"TRELLIS_FF": 1.0, "SLICE_FFX": 1.0},
    "bram36": {  # the second names are nextpnr-xilinx's
        "DP16KD": 0.5,
        "RAMB18E1_RAMB18E1": 0.5,
        "RAMB36E1_RAMB36E1": 1.0,
        "RAMB18E1": 0.5,
        "RAMB36E1": 1.0,
    },
    "dsp": {"MULT18X18D": 1.0, "DSP48E1_DSP48E1": 1.0, "DSP48E1": 1.0},
}


def owner(name: str) -> str | None:
    """The name in the design that a net or cell of the netlist belongs to, without bit numbers; None where made up.

    ``core.array0.sum[3]`` and ``core.array0.sum_LUT4_Z_2`` belong to ``core.array0.sum``,
    ``$flatten\\core.\\array0.$auto$alumacc.cc:485$7`` belongs to ``core.array0``.
    """
    name = re.sub(r"^\$(glbnet\$|techmap\d*\\|abc\$\d+\\)", "", name)
    if name.startswith("$flatten"):
        return ".".join(re.findall(r"\\([^.\\$]+)", name)) or None
    name = re.split(rf"[\\$]|_(?:{_CELL_TYPE})", name)[0].rstrip(".")
    name = re.sub(r"(\[\d+\])+$", "", name)
    return re.sub(r"(\.\d+){2}$", "", name) or None  # a memory's block: its row and column


def _clock_name(edge: str) -> str:
    return re.sub(r"^(posedge|negedge) ", "", edge)


def read(report: Path, *, family: str, aliases: Mapping[str, str] | None = None) -> Routed:
    """Read nextpnr's JSON report. ``aliases`` gives clocks the names that a person chose."""
    data = json.loads(report.read_text())
    called = dict(aliases or {})
    clocks = [
        Clock(called.get(name, owner(name) or name), each["achieved"] * 1e6, each["constraint"] * 1e6)
        for name, each in data["fmax"].items()
    ]
    paths = []
    for path in data["critical_paths"]:
        start, end = _clock_name(path["from"]), _clock_name(path["to"])
        if "<async>" in (start, end):
            continue
        hops = tuple(
            Hop(hop["type"], hop["delay"], hop["net"] if hop["type"] == "routing" else hop["from"]["cell"])
            for hop in path["path"]
        )
        paths.append(
            CriticalPath.of(called.get(start, owner(start) or start), called.get(end, owner(end) or end), hops)
        )
    available = {name: Use(each["used"], each["available"]) for name, each in data["utilization"].items()}
    return _routed(clocks, paths, available, family)


def read_log(log: str, *, family: str, aliases: Mapping[str, str] | None = None) -> Routed:
    """Read what a nextpnr without reports logged; the last table of each kind counts."""
    called = dict(aliases or {})
    clocks = {}
    for name, achieved, required in re.findall(
        r"Max frequency for clock\s+'([^']+)': ([\d.]+) MHz \((?:PASS|FAIL) at ([\d.]+) MHz\)", log
    ):
        title = called.get(name, owner(name) or name)
        clocks[title] = Clock(title, float(achieved) * 1e6, float(required) * 1e6)
    paths = {}
    for table in re.split(r"Critical path report for ", log)[1:]:
        title = re.match(r"clock '([^']+)'", table)
        if not title:
            continue
        hops = []
        for delay, kind, name in re.findall(r"^Info:.*?([\d.]+)\s+[\d.]+\s+(Source|Net|Setup) (\S+)", table, re.M):
            cell = name if kind == "Net" else name.rpartition(".")[0]  # a pin of the cell
            hops.append(Hop({"Net": "routing", "Setup": "setup"}.get(kind, "logic"), float(delay), cell))
        clock = called.get(title[1], owner(title[1]) or title[1])
        paths[clock] = CriticalPath.of(clock, clock, hops)
    available = {
        name: Use(float(used), float(of))
        for name, used, of in re.findall(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", log)
    }
    return _routed(list(clocks.values()), list(paths.values()), available, family)


def _routed(clocks: list[Clock], paths: list[CriticalPath], counted: Mapping[str, Use], family: str) -> Routed:
    utilization = {}
    for resource, kinds in _RESOURCES.items():
        uses = [(counted[kind], times) for kind, times in kinds.items() if kind in counted]
        if uses:
            # A RAMB36 site is two RAMB18 sites: they are counted once as available.
            utilization[resource] = Use(
                sum(use.used * times for use, times in uses), max(use.available * times for use, times in uses)
            )
    if family == "xc7" and "lut" in utilization:  # each LUT6 counts as two places for LUT5
        utilization["lut"] = Use(utilization["lut"].used, utilization["lut"].available / 2)
    clocks.sort(key=lambda clock: clock.achieved_hz / clock.required_hz)
    paths.sort(key=lambda path: -path.delay_ns)
    return Routed(tuple(clocks), tuple(paths), utilization)


_BUFFERS = {"IBUF", "BUFG", "BUFGCTRL", "BUFH", "TRELLIS_IO", "DCCA"}


def aliases(netlist: Mapping[str, Any], top: str) -> dict[str, str]:
    """Names of single-bit nets that Yosys made up, to what a person called the net, or the pad or PLL that drives it.

    Of several such names the shortest is taken; clock and pad buffers are looked through.
    """
    module = netlist["modules"][top]
    source = {}
    for cell in module["cells"].values():
        if cell["type"] in _BUFFERS:
            pins = cell["connections"]
            for out in pins.get("O", pins.get("CLKO", [])):
                source[out] = next(iter(pins.get("I") or pins.get("CLKI") or pins.get("B") or [None]))
    chosen: dict[int, str] = {}
    made_up: dict[str, int] = {}
    for name, net in module["netnames"].items():
        if len(net["bits"]) != 1 or not isinstance(bit := net["bits"][0], int):
            continue
        if name.startswith("$"):
            made_up[name] = bit
        elif bit not in chosen or len(name) < len(chosen[bit]):
            chosen[bit] = name
    found = {}
    for name, bit in made_up.items():
        behind: Any = bit
        while behind is not None and behind not in chosen:
            behind = source.get(behind)
        if behind is not None:
            found[name] = chosen[behind]
    return found
