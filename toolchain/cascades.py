"""DSP48E1 in pairs, for nextpnr-xilinx.

It puts a DSP48E1 into the upper half of a tile only where another one, in the lower half, cascades into it; a design
with more single ones than its device has tiles it tries to place for ever. So two of them that nothing cascades into
or out of are joined by the cascade of their operands B. The upper one still takes its B directly: what comes over the
cascade means nothing, and its wires are the tile's own.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from toolchain import macros

VERSION = "1"  # of the pairs that the same netlist gets
_WIDTH = 18


def pair(netlist: MutableMapping[str, Any], top: str) -> int:
    """Join single DSP48E1 of Yosys's ``netlist``, those that are near each other first; returns how many pairs."""
    module = netlist["modules"][top]
    cells = module["cells"]
    single = [macro for macro in macros.chains(cells) if macro.kind == "DSP48E1" and macro.halves == 1]
    free = [macro for macro in single if _takes_b(cells[macro.cells[0]])]
    if len(free) < 2:
        return 0
    groups, _ = macros.paired(free, macros.Springs.of(cells, free).between(len(free)))
    joined = [group.cells for group in groups if len(group.cells) == 2]
    nets = (net["bits"] for net in module["netnames"].values())
    ends = (bits for cell in cells.values() for bits in cell["connections"].values())
    last = max((bit for bits in (*nets, *ends) for bit in bits if isinstance(bit, int)), default=1)
    for i, (lower, upper) in enumerate(joined):
        wires = [last + 1 + i * _WIDTH + bit for bit in range(_WIDTH)]
        for cell, port, direction in ((lower, "BCOUT", "output"), (upper, "BCIN", "input")):
            cells[cell]["connections"][port] = wires
            cells[cell]["port_directions"][port] = direction
    return len(joined)


def _takes_b(cell: dict[str, Any]) -> bool:
    """Whether operand B comes from the fabric, so that the cascade into it is free."""
    return bool(cell["parameters"].get("B_INPUT", "DIRECT") == "DIRECT")
