"""Places for the block RAMs and DSP48E1 of a 7-series part, chosen before nextpnr places the logic around them.

nextpnr-himbaechel's static placer spreads logic well, but it throws these few hundred large cells at random into their
columns, each the further away the less room is left; on a full device that triples the length of the wires. Here every
net is a spring between its cells. The logic is eliminated from the springs' equations (the Schur complement of their
Laplacian), which leaves a spring between each two of the large cells, and those are placed by simulated annealing for
the shortest total length.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "1"  # of the places that the same netlist gets
MOST_PINS = 200  # a net with more cells than this pulls at nothing in particular
STEPS = 2_000  # of annealing for each large cell
# Columns of the grid are narrower than rows are high: it counts those of wires, too.
X_SCALE = 0.8
# nextpnr cascades DSP48E1 between tiles that are this many rows apart only, so not across a row of clock buffers.
DSP_ROWS = 5

_HALVES = {"DSP48E1": 1, "RAMB18E1": 1, "RAMB36E1": 2}  # of a tile
_CASCADES = (("PCOUT", "PCIN"), ("ACOUT", "ACIN"), ("BCOUT", "BCIN"))

Cells = Mapping[str, Mapping[str, Any]]
Tile = tuple[int, int]
"""Column and row in the grid of Project X-Ray's database, whose rows are counted from the top."""


class NoRoomError(RuntimeError):
    """The large cells do not fit into their columns."""


@dataclass(frozen=True)
class Macro:
    """Cells of one ``kind`` that are placed as one: they fill tiles from the bottom, two halves each."""

    kind: str
    cells: tuple[str, ...]

    @property
    def column(self) -> str:
        """The kind of column it belongs into: DSP or RAM."""
        return self.kind[:3]

    @property
    def halves(self) -> int:
        return len(self.cells) * _HALVES[self.kind]

    @property
    def tiles(self) -> int:
        return -(-self.halves // 2)

    def bels(self, tiles: Sequence[Tile]) -> Iterable[tuple[str, str]]:
        """Each cell with the name of its place in ``tiles``, as nextpnr-himbaechel spells it."""
        for i, cell in enumerate(self.cells):
            tile, half = divmod(i * _HALVES[self.kind], 2)
            x, y = tiles[tile]
            yield cell, f"X{x}Y{y}/{self.kind.removesuffix('E1')}_X0Y{half}.{self.kind}"


def floorplan(netlist: Mapping[str, Any], *, top: str, tilegrid: Path, seed: int = 1) -> dict[str, str]:
    """The place of each block RAM and DSP48E1 of Yosys's ``netlist``: cell → what nextpnr-himbaechel calls a BEL.

    ``tilegrid`` is the part's tilegrid.json of Project X-Ray's database. Raises `NoRoomError`.
    """
    cells = netlist["modules"][top]["cells"]
    macros = chains(cells)
    if not macros:
        return {}
    pulls = Springs.of(cells, macros).between(len(macros))
    macros, pulls = paired(macros, pulls)
    floor = Floor(macros, pulls, columns(json.loads(tilegrid.read_text())))
    floor.anneal(np.random.default_rng(seed), STEPS * len(macros))
    return floor.bels()


def chains(cells: Cells) -> list[Macro]:
    """Each block RAM by itself, and each DSP48E1 with those that cascade from it, the first one lowest."""
    large = {name: cell for name, cell in cells.items() if cell["type"] in _HALVES}
    drivers: dict[int, str] = {}
    for name, cell in large.items():
        drivers |= {bit: name for out, _ in _CASCADES for bit in cell["connections"].get(out, ())}
    after: dict[str, str] = {}
    for name, cell in large.items():
        inputs = (bit for _, into in _CASCADES for bit in cell["connections"].get(into, ()))
        after |= {drivers[bit]: name for bit in inputs if bit in drivers}
    macros = []
    for name in sorted(set(large) - set(after.values())):
        chain = [name]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        macros.append(Macro(cells[name]["type"], tuple(chain)))
    return macros


@dataclass(frozen=True)
class Springs:
    """Nets between ``count`` bodies: one for each macro, then one for each other cell.

    A net pulls each of its bodies, with a force of 1 a unit of length, to the middle of all. A pin joins
    ``nets[i]``, of which there are ``len(sizes)``, in ascending order, to ``bodies[i]``.
    """

    count: int
    nets: np.ndarray
    bodies: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, cells: Cells, macros: Sequence[Macro]) -> Springs:
        """The nets of ``cells``, but for constants, what stays within a body, and nets as large as a clock's."""
        body = {name: i for i, macro in enumerate(macros) for name in macro.cells}
        others = (name for name in cells if name not in body)
        body |= {name: i for i, name in enumerate(others, len(macros))}
        ends: dict[int, set[int]] = defaultdict(set)
        for name, cell in cells.items():
            for bits in cell["connections"].values():
                for bit in bits:
                    if not isinstance(bit, str):
                        ends[bit].add(body[name])
        joined = [sorted(ends[bit]) for bit in sorted(ends) if 2 <= len(ends[bit]) <= MOST_PINS]
        sizes = np.array([len(bodies) for bodies in joined], dtype=np.int64)
        bodies = np.array([i for bodies in joined for i in bodies], dtype=np.int64)
        return cls(max(body.values(), default=-1) + 1, np.repeat(np.arange(len(sizes)), sizes), bodies, sizes)

    def between(self, fixed: int, *, at_once: int = 32, rounds: int = 60, precision: float = 0.03) -> np.ndarray:
        """The springs between the first ``fixed`` bodies once the others hang freely between them, (fixed, fixed).

        Each column is the forces on all fixed bodies when one of them is moved by 1 and the others hang where
        conjugate gradients (preconditioned by each body's number of springs) find them at rest.
        """
        forces = np.zeros((fixed, fixed))
        force = self._force()
        stiffness = np.bincount(self.bodies, 1 - 1 / self.sizes[self.nets], self.count)
        stiffness[stiffness == 0] = 1
        for start in range(0, fixed, at_once):
            moved = np.arange(start, min(start + at_once, fixed))
            x = np.zeros((self.count, len(moved)))
            x[moved, moved - start] = 1
            residual = -force(x)
            residual[:fixed] = 0
            step = residual / stiffness[:, None]
            error = first = (residual * step).sum(axis=0)
            for _ in range(rounds):
                if (error <= precision**2 * first).all():
                    break
                curve = force(step)
                curve[:fixed] = 0
                length = error / np.maximum((step * curve).sum(axis=0), 1e-30)
                x += length * step
                residual -= length * curve
                scaled = residual / stiffness[:, None]
                before, error = error, (residual * scaled).sum(axis=0)
                step = scaled + error / np.maximum(before, 1e-30) * step
            forces[:, moved] = force(x)[:fixed]
        pulls = np.maximum(-(forces + forces.T) / 2, 0)
        np.fill_diagonal(pulls, 0)
        return pulls

    def _force(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function of positions, shape (count, n), that gives the force on each body (the Laplacian times them)."""
        starts = np.cumsum(self.sizes) - self.sizes
        order = np.argsort(self.bodies, kind="stable")
        held, at = np.unique(self.bodies[order], return_index=True)
        pins = np.bincount(self.bodies, minlength=self.count)[:, None]
        from_net = self.nets[order]

        def force(x: np.ndarray) -> np.ndarray:
            result = pins * x
            if len(held):
                middles = np.add.reduceat(x[self.bodies], starts, axis=0) / self.sizes[:, None]
                result[held] -= np.add.reduceat(middles[from_net], at, axis=0)
            return result

        return force


def paired(macros: Sequence[Macro], pulls: np.ndarray) -> tuple[list[Macro], np.ndarray]:
    """Macros of half a tile in pairs of a kind, those first that pull at each other most; and the pulls of all then."""
    groups = [[i] for i, macro in enumerate(macros) if macro.halves != 1]
    for kind in _HALVES:
        left = [i for i, macro in enumerate(macros) if macro.halves == 1 and macro.kind == kind]
        among = pulls[np.ix_(left, left)]
        for flat in np.argsort(-among, axis=None, kind="stable"):
            i, j = (left[k] for k in divmod(int(flat), len(left)))
            if i < j and not any(i in group or j in group for group in groups):
                groups.append([i, j])
        groups += [[i] for i in left if not any(i in group for group in groups)]
    member = np.zeros((len(macros), len(groups)))
    for g, group in enumerate(groups):
        member[group, g] = 1
    total = member.T @ pulls @ member
    np.fill_diagonal(total, 0)
    joined = [Macro(macros[group[0]].kind, sum((macros[i].cells for i in group), ())) for group in groups]
    return joined, total


def columns(tilegrid: Mapping[str, Any]) -> list[tuple[str, list[Tile]]]:
    """The runs of tiles, from the bottom up, that a macro may lie across: DSP and RAM."""
    found: dict[str, set[Tile]] = {"DSP": set(), "RAM": set()}
    for tile in tilegrid.values():
        sites = set(tile["sites"].values())
        kind = "DSP" if "DSP48E1" in sites else "RAM" if sites & {"RAMBFIFO36E1", "RAMB36E1"} else ""
        if kind:
            found[kind].add((tile["grid_x"], tile["grid_y"]))
    runs: list[tuple[str, list[Tile]]] = []
    for kind, tiles in found.items():
        for x, y in sorted(tiles, key=lambda tile: (tile[0], -tile[1])):
            if kind == "DSP" and runs and runs[-1][0] == kind and runs[-1][1][-1] == (x, y + DSP_ROWS):
                runs[-1][1].append((x, y))
            else:
                runs.append((kind, [(x, y)]))
    return runs


class Floor:
    """Where macros are: each over some tiles in a row of a column. Raises `NoRoomError` if they do not fit."""

    def __init__(self, macros: Sequence[Macro], pulls: np.ndarray, runs: Sequence[tuple[str, Sequence[Tile]]]) -> None:
        self.macros, self.pulls, self.runs = macros, pulls, runs
        self.held = [np.full(len(tiles), -1) for _, tiles in runs]  # the macro on each tile
        self.at = [(-1, -1)] * len(macros)  # run and first tile
        self.middle = np.zeros((len(macros), 2))
        # The Fiedler vector puts those side by side that pull at each other.
        laplacian = np.diag(pulls.sum(axis=1)) - pulls
        ranks = np.argsort(np.linalg.eigh(laplacian)[1][:, min(1, len(macros) - 1)])
        for kind in ("DSP", "RAM"):
            upwards = sorted(
                (run for run, (of, _) in enumerate(runs) if of == kind),
                key=lambda run: (np.mean([y for _, y in runs[run][1]]), runs[run][1][0][0]),
            )
            for size in sorted({macro.tiles for macro in macros if macro.column == kind}, reverse=True):
                todo = [int(i) for i in ranks if macros[i].column == kind and macros[i].tiles == size]
                room = [place for run in upwards for place in self.room(run, size)]
                if len(room) < len(todo):
                    what = "DSP48E1" if kind == "DSP" else "block RAMs"
                    raise NoRoomError(f"{len(todo)} groups of {what} {size} tiles high have room for {len(room)}")
                for k, i in enumerate(todo):
                    self.put(i, *room[k * len(room) // len(todo)])

    def room(self, run: int, size: int) -> Iterable[tuple[int, int]]:
        """The places of ``size`` free tiles in a run that do not overlap each other."""
        start = 0
        while start + size <= len(self.held[run]):
            taken = np.flatnonzero(self.held[run][start : start + size] >= 0)
            if len(taken):
                start += int(taken[-1]) + 1
            else:
                yield run, start
                start += size

    def put(self, macro: int, run: int, start: int) -> None:
        size = self.macros[macro].tiles
        self.held[run][start : start + size] = macro
        self.at[macro] = run, start
        x, y = np.mean(self.runs[run][1][start : start + size], axis=0)
        self.middle[macro] = X_SCALE * x, y

    def length(self, moved: Iterable[int]) -> float:
        """The sum of all springs that end at the macros, their strength times their length along the axes."""
        some = list(moved)
        lengths = self.pulls[some] * np.abs(self.middle[some][:, None] - self.middle[None]).sum(axis=2)
        return float(lengths.sum() - lengths[:, some].sum() / 2)

    def window(self, macro: int, run: int, start: int) -> bool:
        """Whether ``macro`` could lie there by exchange: with whole macros, and not with itself."""
        size, (own, first) = self.macros[macro].tiles, self.at[macro]
        held, end = self.held[run], start + size
        if own == run and abs(first - start) < size:
            return False
        cut_below = start > 0 and held[start] >= 0 and held[start - 1] == held[start]
        cut_above = end < len(held) and held[end] >= 0 and held[end - 1] == held[end]
        return not (cut_below or cut_above)

    def exchange(self, macro: int, run: int, start: int) -> None:
        """Let ``macro`` and what lies in a window of its size change places."""
        size, (own, first) = self.macros[macro].tiles, self.at[macro]
        others = {int(i): self.at[i][1] - start for i in self.held[run][start : start + size] if i >= 0}
        self.held[run][start : start + size] = -1
        self.held[own][first : first + size] = -1
        self.put(macro, run, start)
        for other, offset in others.items():
            self.put(other, own, first + offset)

    def anneal(self, random: np.random.Generator, steps: int) -> None:
        """Exchange places at random: the later, the nearer, and the less often where that makes springs longer."""
        near = self.neighbours()
        changes: list[float] = []
        hot = 0.0
        for step in range(steps):
            macro = int(random.integers(len(self.macros)))
            runs = near[self.at[macro][0]]
            run = runs[int(random.random() * max(len(runs) * (1 - step / steps), min(len(runs), 4)))]
            spare = len(self.held[run]) - self.macros[macro].tiles
            start = int(random.integers(spare + 1)) if spare >= 0 else 0
            if spare < 0 or not self.window(macro, run, start):
                continue
            back = self.at[macro]
            moved = {macro, *(int(i) for i in self.held[run][start : start + self.macros[macro].tiles] if i >= 0)}
            before = self.length(moved)
            self.exchange(macro, run, start)
            change = self.length(moved) - before
            if len(changes) < 300:  # the first ones go through, and tell how much a random one changes
                changes.append(abs(change))
                hot = float(np.mean(changes))
            elif change > 0 and random.random() >= math.exp(-change / (hot * (1 - step / steps) ** 3 + 1e-9)):
                self.exchange(macro, *back)

    def neighbours(self) -> list[list[int]]:
        """The runs of a run's kind, for each run, from the nearest on."""
        middles = np.array([np.mean(tiles, axis=0) for _, tiles in self.runs]) * (X_SCALE, 1)
        found = []
        for (kind, _), middle in zip(self.runs, middles, strict=True):
            away = np.abs(middles - middle).sum(axis=1)
            found.append([int(r) for r in np.argsort(away, kind="stable") if self.runs[r][0] == kind])
        return found

    def bels(self) -> dict[str, str]:
        """Where each cell is: its name → that of its place."""
        found: dict[str, str] = {}
        for macro, (run, start) in zip(self.macros, self.at, strict=True):
            found |= macro.bels(self.runs[run][1][start : start + macro.tiles])
        return found
