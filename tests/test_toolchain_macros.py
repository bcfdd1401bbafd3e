"""Places for block RAMs and DSP48E1: the springs against dense algebra, what is legal, and how short the wires get."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain import macros

# Two columns of DSP48E1 in runs of five tiles, as the rows of clock buffers part them, and two of block RAM.
ROWS = (5, 10, 15, 20, 25, 31, 36, 41, 46, 51)


def tilegrid(rows: tuple[int, ...] = ROWS) -> dict[str, Any]:
    tiles: dict[str, Any] = {"INT_L_X0Y0": {"grid_x": 0, "grid_y": 0, "sites": {}}}
    for x in (28, 88):
        for y in rows:
            tiles[f"DSP_X{x}Y{y}"] = {
                "grid_x": x,
                "grid_y": y,
                "sites": {"a": "DSP48E1", "b": "DSP48E1", "c": "TIEOFF"},
            }
    for x in (19, 94):
        for y in rows:
            sites = {"a": "RAMBFIFO36E1", "b": "FIFO18E1", "c": "RAMB18E1"}
            tiles[f"BRAM_X{x}Y{y}"] = {"grid_x": x, "grid_y": y, "sites": sites}
    return tiles


def pipeline(chains: list[int], ram36: int, ram18: int) -> dict[str, Any]:
    """A netlist in which each large cell feeds the next one through two flip-flops, in an order that names hide."""
    cells: dict[str, Any] = {}
    large: list[tuple[str, str]] = []
    for i, length in enumerate(chains):
        for k in range(length):
            cell = {"type": "DSP48E1", "connections": {"PCOUT": [f"x{i}"], "PCIN": ["0"], "A": [], "P": []}}
            cells[f"dsp{i * 37 % 101}_{k}"] = cell
            cell["connections"]["PCOUT"] = [100_000 + 100 * i + k]
            if k:
                cell["connections"]["PCIN"] = [100_000 + 100 * i + k - 1]
        large.append((f"dsp{i * 37 % 101}_0", f"dsp{i * 37 % 101}_{length - 1}"))
    for kind, count in (("RAMB36E1", ram36), ("RAMB18E1", ram18)):
        for i in range(count):
            name = f"{kind}_{i * 37 % 101}"
            cells[name] = {"type": kind, "connections": {"A": [], "P": []}}
            large.insert(i * len(large) // max(count, 1), (name, name))
    clock = 2
    for i, ((_, source), (sink, _)) in enumerate(zip(large, large[1:] + large[:1], strict=True)):
        for bit in range(8):
            wires = [10 + 40 * i + 3 * bit + k for k in range(3)]
            cells[source]["connections"]["P"].append(wires[0])
            cells[sink]["connections"]["A"].append(wires[2])
            for k in range(2):
                connections = {"D": [wires[k]], "Q": [wires[k + 1]], "C": [clock], "R": ["0"]}
                cells[f"ff{i}_{bit}_{k}"] = {"type": "FDRE", "connections": connections}
    return {"modules": {"top": {"cells": cells}}}


def springs_of(places: dict[str, str], netlist: dict[str, Any]) -> float:
    """The length of the pipeline: of the way from each large cell to the next one."""
    spot = {name: tuple(map(int, re.findall(r"\d+", bel)[:2])) for name, bel in places.items()}
    ends: dict[int, list[str]] = {}
    for name in spot:
        connections = netlist["modules"]["top"]["cells"][name]["connections"]
        for wire in (*connections["A"][:1], *connections["P"][:1]):
            ends.setdefault(wire - (wire - 10) % 40, []).append(name)
    pairs = [pair for pair in ends.values() if len(pair) == 2]
    return sum(abs(spot[a][0] - spot[b][0]) + abs(spot[a][1] - spot[b][1]) for a, b in pairs)


def test_places_are_legal_and_near(tmp_path: Path) -> None:
    (tmp_path / "tilegrid.json").write_text(json.dumps(tilegrid()))
    lengths = [4] * 8 + [1] * 4 + [2] * 2  # which fills all 20 tiles but two halves: 4 x 2, twice in each run of five
    netlist = pipeline(lengths, ram36=13, ram18=13)
    places = macros.floorplan(netlist, top="top", tilegrid=tmp_path / "tilegrid.json")
    cells = netlist["modules"]["top"]["cells"]
    assert set(places) == {name for name, cell in cells.items() if not name.startswith("ff")}
    at = {name: re.fullmatch(r"X(\d+)Y(\d+)/(\w+)_X0Y([01])\.(\w+)", bel) for name, bel in places.items()}
    taken: Counter[tuple[str, str, int]] = Counter()
    for name, place in at.items():
        assert place is not None
        x, y, site, half, kind = place.groups()
        assert kind == cells[name]["type"] and site == kind.removesuffix("E1")
        assert int(x) in ((28, 88) if kind == "DSP48E1" else (19, 94)) and int(y) in ROWS
        taken.update((x, y, h) for h in ((0, 1) if kind == "RAMB36E1" else (int(half),)))
    assert set(taken.values()) == {1}
    for name, place in at.items():
        follower = at.get(re.sub(r"_(\d+)$", lambda match: f"_{int(match[1]) + 1}", name))
        if name.startswith("dsp") and follower and place:  # the next half, across tiles that are neighbours
            (x, y, _, half, _), (x2, y2, _, half2, _) = place.groups(), follower.groups()
            assert x == x2 and (int(half), int(half2), int(y) - int(y2)) in ((0, 1, 0), (1, 0, macros.DSP_ROWS))
    for first in (name for name in places if name.startswith("dsp") and name.endswith("_0")):
        if first.replace("_0", "_1") in places:  # nextpnr starts a chain in the lower half of a tile
            assert places[first].endswith("Y0.DSP48E1")

    assert macros.floorplan(netlist, top="top", tilegrid=tmp_path / "tilegrid.json") == places
    others = [macros.Floor(*arranged(netlist), macros.columns(tilegrid())).bels() for _ in range(5)]
    assert springs_of(places, netlist) < 0.5 * np.mean([springs_of(other, netlist) for other in others])


def arranged(netlist: dict[str, Any]) -> tuple[list[macros.Macro], np.ndarray]:
    """Macros and springs at random, so that where they are to start with is random, too."""
    cells = netlist["modules"]["top"]["cells"]
    random = np.random.default_rng(0)
    found = macros.chains(cells)
    pulls = np.triu(random.random((len(found), len(found))), 1)
    return macros.paired(found, pulls + pulls.T)


def test_what_has_no_room_is_said(tmp_path: Path) -> None:
    (tmp_path / "tilegrid.json").write_text(json.dumps(tilegrid()))
    for lengths, said in (([4] * 9, "9 groups of DSP48E1 2 tiles high have room for 8"), ([11], "1 groups .* 6 tiles")):
        with pytest.raises(macros.NoRoomError, match=said):
            macros.floorplan(pipeline(lengths, 1, 1), top="top", tilegrid=tmp_path / "tilegrid.json")
    with pytest.raises(macros.NoRoomError, match="21 groups of block RAMs 1 tiles high have room for 20"):
        macros.floorplan(pipeline([1], 20, 2), top="top", tilegrid=tmp_path / "tilegrid.json")
    none: dict[str, Any] = {"modules": {"top": {"cells": {"a": {"type": "LUT2", "connections": {"O": [3]}}}}}}
    assert macros.floorplan(none, top="top", tilegrid=tmp_path / "tilegrid.json") == {}


@given(st.lists(st.lists(st.integers(0, 11), min_size=2, max_size=5, unique=True), min_size=1, max_size=20))
def test_springs_between_large_cells_are_the_schur_complement(nets: list[list[int]]) -> None:
    """Against dense algebra: the Laplacian with all bodies but the first four eliminated."""
    laplacian = np.zeros((12, 12))
    for net in nets:
        laplacian[np.ix_(net, net)] += np.eye(len(net)) - 1 / len(net)
    kept, rest = np.arange(4), np.arange(4, 12)
    across = laplacian[np.ix_(kept, rest)]
    schur = laplacian[np.ix_(kept, kept)] - across @ np.linalg.pinv(laplacian[np.ix_(rest, rest)]) @ across.T
    cells = {
        f"c{i:02}": {"type": "FDRE", "connections": {"Q": [j for j, net in enumerate(nets) if i in net] or ["x"]}}
        for i in range(12)
    }
    large = [macros.Macro("RAMB36E1", (f"c{i:02}",)) for i in range(4)]
    springs = macros.Springs.of(cells, large)
    assert springs.count == 12
    pulls = springs.between(4, at_once=3, precision=1e-9)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(pulls[off], -schur[off], atol=1e-6)
    assert (pulls >= 0).all() and not pulls.diagonal().any()
    for (low, _), (high, _) in pairwise(zip(springs.nets, springs.bodies, strict=True)):
        assert low <= high
