"""Read-only memories."""

from __future__ import annotations

from amaranth.hdl import Module, Value
from amaranth.lib.memory import Memory


def rom(m: Module, name: str, words: list[int], width: int, address: Value, *, style: str | None = None) -> Value:
    """The word at ``address`` of the cycle before.

    ``style`` is "block" or "distributed"; without it the synthesizer chooses.
    """
    attrs = {} if style is None else {"rom_style": style, "ram_style": style}
    memory = Memory(
        shape=width,
        depth=len(words),
        init=words,
        attrs=attrs,
    )
    m.submodules[name] = memory
    port = memory.read_port()
    m.d.comb += port.addr.eq(address)
    return port.data
