"""Read-only memories."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Module, Value
from amaranth.lib.memory import Memory

SLICE = 72
"""Bits of a RAMB36's widest word: wider memories are made of slices of it, for which Yosys takes much less time."""


def rom(m: Module, name: str, words: list[int], width: int, address: Value, *, style: str | None = None) -> Value:
    """The word at ``address`` of the cycle before.

    ``style`` is "block" or "logic" (Yosys's word for LUTs; "distributed" is LUTRAM to it, which it takes for no ROM);
    without it the synthesizer chooses. Of bits that are equal in all words, as many of a wide memory of few words are,
    logic has only one.
    """
    attrs = {} if style is None else {"rom_style": style, "ram_style": style}
    places = None
    if style == "logic":
        words, places = distinct(words, width)
        width = max(places) + 1
    slices = []
    for start in range(0, max(width, 1), SLICE):
        bits = min(SLICE, width - start)
        init = [word >> start & ((1 << bits) - 1) for word in words]
        memory = Memory(shape=bits, depth=len(words), init=init, attrs=attrs)
        m.submodules[f"{name}_{start // SLICE}" if width > SLICE else name] = memory
        port = memory.read_port()
        m.d.comb += port.addr.eq(address)
        slices.append(port.data)
    word = Cat(*slices)
    return word if places is None else Cat(word[place] for place in places)


def distinct(words: list[int], width: int) -> tuple[list[int], list[int]]:
    """Words without the bits that another bit equals in all of them; which of the remaining ones each bit is."""
    size = -(-width // 8)
    raw = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), dtype=np.uint8)
    bits = np.unpackbits(raw.reshape(len(words), size), axis=1, bitorder="little")[:, :width]
    kept, places = np.unique(bits, axis=1, return_inverse=True)
    packed = np.packbits(kept, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed], [int(place) for place in places.ravel()]
