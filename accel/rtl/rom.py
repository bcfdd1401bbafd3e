"""Read-only memories."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value
from amaranth.lib.memory import Memory

SLICE = 72
"""Bits of a RAMB36's widest word: wider memories are made of slices of it, for which Yosys takes much less time."""


def rom(m: Module, name: str, words: list[int], width: int, address: Value, *, style: str | None = None) -> Value:
    """The word at ``address`` of the cycle before.

    ``style`` is "block" or "logic" (Yosys's word for LUTs; "distributed" is LUTRAM to it, which it takes for no ROM);
    without it the synthesizer chooses.
    """
    attrs = {} if style is None else {"rom_style": style, "ram_style": style}
    slices = []
    for start in range(0, max(width, 1), SLICE):
        bits = min(SLICE, width - start)
        init = [word >> start & ((1 << bits) - 1) for word in words]
        memory = Memory(shape=bits, depth=len(words), init=init, attrs=attrs)
        m.submodules[f"{name}_{start // SLICE}" if width > SLICE else name] = memory
        port = memory.read_port()
        m.d.comb += port.addr.eq(address)
        slices.append(port.data)
    return Cat(*slices)
