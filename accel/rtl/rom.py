"""Read-only memories."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.dataflow.rom import ROM_SLICE, rom_block_bits, rom_slice


def rom(m: Module, name: str, words: list[int], width: int, address: Value, *, style: str | None = None) -> Value:
    """The word at ``address`` of the cycle before.

    ``style`` is "block" or "logic"; without it `accel.dataflow.rom.rom_block_bits` says which bits lie where. Bits
    that are equal in all words are not stored, and in logic none is stored twice.
    """
    block = rom_block_bits(width, len(words)) if style is None else width if style == "block" else 0
    value: list[Value] = []
    for start, end, kind in ((0, block, "block"), (block, width, "logic")):
        if start == end:
            continue
        columns, places = changing(words, start, end, once=kind == "logic")
        bits: list[Value] = [Const(0, 1), Const(1, 1)]
        if len(columns):
            init = packed(columns)
            if kind == "logic":
                m.submodules[f"{name}_logic"] = logic = LogicRom(init, len(columns))
                m.d.comb += logic.address.eq(address)
                bits += list(logic.word)
            else:
                bits += [bit for each in slices(m, name, init, len(columns), address, style=kind) for bit in each]
        value += [bits[place] for place in places]
    # Amaranth's simulator makes of each part an expression within the next one, and Python nests no thousands of them
    return Cat(*(Cat(*value[start : start + ROM_SLICE]) for start in range(0, width, ROM_SLICE)))


class LogicRom(wiring.Component):
    """A read-only memory in LUTs: its ``word`` is that at the ``address`` of the cycle before.

    It stays a module when `accel.rtl.verilog` and Yosys flatten all others. Alone, its LUTs are on the longest path and
    abc9 makes one of each 64 words of a bit. Among others it reckons a LUT6 nearly twice as dear as smaller ones and
    shares parts of the decoder between bits: of 128 words of 64 bits it made 666 LUTs, where 128 do.
    """

    def __init__(self, words: list[int], width: int) -> None:
        self.words, self.width = words, width
        super().__init__({"address": In(range(len(words))), "word": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.word.eq(Cat(*slices(m, "words", self.words, self.width, self.address, style="logic")))
        return m


def slices(m: Module, name: str, words: list[int], width: int, address: Value, *, style: str) -> list[Value]:
    """The word of a memory in one style: slices side by side, for which Yosys takes much less time.

    "logic" is Yosys's word for LUTs; "distributed" is LUTRAM to it, which it takes for no ROM.
    """
    found: list[Value] = []
    size = rom_slice(len(words)) if style == "block" else ROM_SLICE
    for start in range(0, width, size):
        bits = min(size, width - start)
        init = [word >> start & ((1 << bits) - 1) for word in words]
        memory = Memory(shape=bits, depth=len(words), init=init, attrs={"rom_style": style, "ram_style": style})
        m.submodules[f"{name}_{start // size}" if width > size else name] = memory
        port = memory.read_port()
        m.d.comb += port.addr.eq(address)
        found.append(port.data)
    return found


def changing(words: list[int], start: int, end: int, *, once: bool) -> tuple[np.ndarray, list[int]]:
    """The columns of bits ``start..end`` that change, shape (columns, words), and the place of each bit among them.

    Places 0 and 1 are for bits that are always so, the first column has place 2. With ``once`` equal ones share it.
    """
    size = -(-end // 8)
    raw = np.frombuffer(b"".join((word & ((1 << end) - 1)).to_bytes(size, "little") for word in words), dtype=np.uint8)
    bits = np.unpackbits(raw.reshape(len(words), size), axis=1, bitorder="little")[:, start:end]
    kept, places = np.unique(bits, axis=1, return_inverse=True) if once else (bits, np.arange(end - start))
    changes = kept.any(axis=0) & ~kept.all(axis=0)
    place = np.where(changes, 1 + np.cumsum(changes), kept[0])
    return kept[:, changes].T, [int(place[i]) for i in places.ravel()]


def packed(columns: np.ndarray) -> list[int]:
    """The words of columns of bits, the first one lowest."""
    rows = np.packbits(columns.T, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]
