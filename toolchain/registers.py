"""Registers behind the multipliers of an ECP5 netlist, moved into them: Yosys maps a MULT18X18D without any.

Without its own register a product is on its way for 3.9 ns (nextpnr's numbers for speed grade 6) before it is routed to
registers and the carry chains that they end; with it, an operand has to be there 3.5 ns before the clock and the
product is there 0.7 ns after. Operands' registers stay outside, where they are closer to what they come from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "1"  # raised when the same netlist would come out otherwise

_STAGES = ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")
_OUTPUT = {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0", "GSR": "DISABLED"}


def absorb(netlist: Mapping[str, Any], top: str) -> int:
    """Give each MULT18X18D its product's registers, where they take all of it; returns how many registers that saves.

    ``netlist`` is Yosys's of the flattened ``top``, and is changed in place. Registers with an enable, a reset or
    another value than 0 to begin with stay as they are, and so do those of a product that has another use as well.
    """
    module = netlist["modules"][top]
    cells = module["cells"]
    sinks: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for bit in bits:
                    sinks[bit].append((name, port))
    for name, port in module.get("ports", {}).items():
        for bit in port["bits"]:
            sinks[bit].append(("", name))
    saved = 0
    for cell in [cell for cell in cells.values() if cell["type"] == "MULT18X18D"]:
        pins, parameters = cell["connections"], cell["parameters"]
        used = {port: sinks[bits[0]] for port, bits in pins.items() if port[0] == "P" and sinks.get(bits[0])}
        registers = {port: _register(cells, ends) for port, ends in used.items()}
        clocks = {cells[name]["connections"]["CLK"][0] for name in registers.values() if name}
        own = [stage for stage in _STAGES if parameters.get(f"REG_{stage}_CLK", "NONE") != "NONE"]
        if own or not all(registers.values()) or len(clocks) != 1:
            continue
        for port, name in registers.items():
            pins[port] = cells.pop(name)["connections"]["Q"]
        parameters |= _OUTPUT
        for port, bit in {"CLK0": clocks.pop(), "CE0": "1", "RST0": "0"}.items():
            pins[port], cell["port_directions"][port] = [bit], "input"
        saved += len(registers)
    return saved


def _register(cells: Mapping[str, Any], ends: Sequence[tuple[str, str]]) -> str:
    """The name of the register that is all a bit goes to, if it does nothing but take it at every clock; else ""."""
    name, port = ends[0]
    if len(ends) > 1 or port != "DI" or cells[name]["type"] != "TRELLIS_FF":
        return ""
    pins = cells[name]["connections"]
    parameters = {key: value.strip() for key, value in cells[name]["parameters"].items()}
    enabled = parameters.get("CEMUX") == "1" or pins.get("CE") == ["1"]
    free = pins.get("LSR", ["0"]) == ["0"] and parameters.get("LSRMUX", "LSR") == "LSR"
    rest = {"CLKMUX": "CLK", "REGSET": "RESET", "GSR": "ENABLED"}
    usual = [parameters.get(key, default) for key, default in rest.items()] == ["CLK", "RESET", "DISABLED"]
    return name if enabled and free and usual else ""
