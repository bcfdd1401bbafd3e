"""Single DSP48E1 in pairs: who is joined with whom, and that nothing else of the netlist changes."""

from __future__ import annotations

import copy
from typing import Any

from toolchain import cascades


def dsp(a: int, p: int, **more: list[int]) -> dict[str, Any]:
    """A DSP48E1 between two nets of one bit."""
    connections: dict[str, list[int | str]] = {"A": [a], "P": [p], "BCIN": ["0"] * 18, **more}
    directions = {"A": "input", "P": "output", "BCIN": "input"}
    return {"type": "DSP48E1", "parameters": {"B_INPUT": "DIRECT"}, "port_directions": directions} | {
        "connections": connections
    }


def test_single_ones_are_joined_with_what_is_near() -> None:
    # a to d in a row by registers, two of them beside each other; a chain of two; one whose B comes over the cascade
    cells = {
        "a": dsp(10, 11),
        "c": dsp(21, 22),
        "b": dsp(11, 12),
        "d": dsp(22, 23),
        "far": {"type": "FDRE", "connections": {"D": [12], "Q": [20]}},
        "farther": {"type": "FDRE", "connections": {"D": [20], "Q": [21]}},
        "first": dsp(30, 31, PCOUT=[40]),
        "second": dsp(32, 33, PCIN=[40]),
        "odd": dsp(34, 35),
    }
    cells["odd"]["parameters"]["B_INPUT"] = "CASCADE"
    module = {"cells": cells, "netnames": {"clk": {"bits": [99]}, "gnd": {"bits": ["0"]}}}
    netlist = {"modules": {"top": module}}
    before = copy.deepcopy(netlist)
    assert cascades.pair(netlist, "top") == 2
    joined = set()
    for lower in cells:
        for upper in cells:
            wires = cells[lower]["connections"].get("BCOUT")
            if wires and cells[upper]["connections"].get("BCIN") == wires:
                joined.add((lower, upper))
                assert len(set(wires)) == 18 and min(wires) > 99
                assert cells[lower]["port_directions"]["BCOUT"] == "output"
                assert cells[upper]["parameters"]["B_INPUT"] == "DIRECT"  # what comes over the cascade is not taken
    assert {frozenset(pair) for pair in joined} == {frozenset("ab"), frozenset("cd")}
    for lower, upper in joined:
        del cells[lower]["connections"]["BCOUT"], cells[lower]["port_directions"]["BCOUT"]
        cells[upper]["connections"]["BCIN"] = ["0"] * 18
    assert netlist == before
    assert cascades.pair(netlist, "top") == 2  # and again


def test_fewer_than_two_stay_alone() -> None:
    module = {"cells": {"a": dsp(10, 11)}, "netnames": {}}
    netlist = {"modules": {"top": module}}
    before = copy.deepcopy(netlist)
    assert cascades.pair(netlist, "top") == 0 and netlist == before
