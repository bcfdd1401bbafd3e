"""Registers behind the multipliers of an ECP5 netlist, moved into them: Yosys maps a MULT18X18D without any.

Without its own register a product is on its way for 3.9 ns (nextpnr's numbers for speed grade 6) before it is routed to
registers and the carry chains that they end; with it, an operand has to be there 3.5 ns before the clock and the
product is there 0.7 ns after. Operands' registers stay outside, where they are closer to what they come from.

A product of wide operands is the sum of several multipliers' products. There the registers move through the adders.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSION = "2"  # raised when the same netlist would come out otherwise

_STAGES = ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")
_OUTPUT = {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0", "GSR": "DISABLED"}
_ADDER = {"INIT0": "1001011010101010", "INIT1": "1001011010101010", "INJECT1_0": "NO", "INJECT1_1": "NO"}
_ADDED = ("A0", "A1", "B0", "B1", "CIN")


def absorb(netlist: Mapping[str, Any], top: str) -> int:
    """Give each MULT18X18D its product's registers, where they take all of it; returns how many registers that saves.

    ``netlist`` is Yosys's of the flattened ``top``, and is changed in place. Registers with an enable, a reset or
    another value than 0 to begin with stay as they are, and so do those of a product that has another use as well.
    """
    module = netlist["modules"][top]
    wires = _Wires(module)
    cells = module["cells"]
    seen: set[str] = set()
    instead: dict[Any, Any] = {}  # the bit that takes the place of a register's output
    for name in [name for name, cell in cells.items() if cell["type"] == "MULT18X18D"]:
        if name in seen:
            continue
        cone = _Cone(wires)
        good = cone.grow(name)
        seen |= cone.multipliers
        if not good or not cone.registers:
            continue
        for each in cone.multipliers:
            cells[each]["parameters"] |= _OUTPUT
            for port, bit in {"CLK0": cone.clock, "CE0": "1", "RST0": "0"}.items():
                cells[each]["connections"][port] = [bit]
                cells[each]["port_directions"][port] = "input"
        for register in cone.registers:
            pins = cells.pop(register)["connections"]
            instead[pins["Q"][0]] = pins["DI"][0]
    named = [*module.get("ports", {}).values(), *module.get("netnames", {}).values()]
    for pins in [cell["connections"] for cell in cells.values()]:
        for port, bits in pins.items():
            pins[port] = [instead.get(bit, bit) for bit in bits]
    for each in named:
        each["bits"] = [instead.get(bit, bit) for bit in each["bits"]]
    return len(instead)


class _Wires:
    """What drives each bit of a module, and what it goes to: cells and their ports; "" is the module itself."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.cells = module["cells"]
        self.source: dict[Any, tuple[str, str]] = {}
        self.sinks: dict[Any, list[tuple[str, str]]] = defaultdict(list)
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if cell["port_directions"][port] == "output":
                        self.source[bit] = name, port
                    else:
                        self.sinks[bit].append((name, port))
        for port in module.get("ports", {}).values():
            for bit in port["bits"]:
                self.sinks[bit].append(("", ""))


@dataclass
class _Cone:
    """Multipliers, the adders that nothing else goes into, and the registers that nothing else comes out to."""

    wires: _Wires
    multipliers: set[str] = field(default_factory=set)
    adders: set[str] = field(default_factory=set)
    registers: set[str] = field(default_factory=set)
    clock: Any = None

    def grow(self, name: str) -> bool:
        """Take in a multiplier and all that belongs to it; whether only such things do."""
        todo = [name]
        while todo:
            name = todo.pop()
            if name in self.multipliers or name in self.adders:
                continue
            cell = self.wires.cells.get(name, {"type": ""})
            if cell["type"] == "MULT18X18D":
                self.multipliers.add(name)
                if any(cell["parameters"].get(f"REG_{stage}_CLK", "NONE") != "NONE" for stage in _STAGES):
                    return False
            elif cell["type"] == "CCU2C" and _is_sum(cell):
                self.adders.add(name)
                added = [cell["connections"][port][0] for port in _ADDED if cell["connections"][port] != ["0"]]
                todo += [self.wires.source.get(bit, ("", ""))[0] for bit in added]
            else:
                return False
            for port, bits in cell["connections"].items():
                for bit in bits if cell["port_directions"][port] == "output" else ():
                    for end, pin in self.wires.sinks.get(bit, ()):
                        kind = self.wires.cells[end]["type"] if end else ""
                        if kind == "TRELLIS_FF" and self.keeps(end, pin):
                            continue
                        if kind != "CCU2C" or pin not in _ADDED:
                            return False
                        todo.append(end)
        return True

    def keeps(self, name: str, port: str) -> bool:
        """Take in a register; whether it is one that can be moved, at the others' clock."""
        cell = self.wires.cells[name]
        clock = cell["connections"]["CLK"][0]
        self.registers.add(name)
        self.clock = self.clock or clock
        return port == "DI" and clock == self.clock and _is_plain(cell)


def _is_sum(cell: Mapping[str, Any]) -> bool:
    """Whether a carry cell adds A and B, so that the sum is 0 where they are."""
    pins, parameters = cell["connections"], cell["parameters"]
    constant = all(pins[port] == [bit] for port, bit in (("C0", "0"), ("C1", "0"), ("D0", "1"), ("D1", "1")))
    return constant and all(parameters.get(key) == value for key, value in _ADDER.items())


def _is_plain(cell: Mapping[str, Any]) -> bool:
    """Whether a register does nothing but take its input at every rising edge, and holds 0 at first."""
    pins = cell["connections"]
    parameters = {key: value.strip() for key, value in cell["parameters"].items()}
    enabled = parameters.get("CEMUX") == "1" or pins.get("CE") == ["1"]
    free = pins.get("LSR", ["0"]) == ["0"] and parameters.get("LSRMUX", "LSR") == "LSR"
    rest = {"CLKMUX": "CLK", "REGSET": "RESET", "GSR": "ENABLED"}
    usual = [parameters.get(key, default) for key, default in rest.items()] == ["CLK", "RESET", "DISABLED"]
    return enabled and free and usual
