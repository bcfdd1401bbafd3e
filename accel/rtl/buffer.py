"""The input buffer of an array: a layer's inputs, in banks of memory, while those of the next layer come in."""

from __future__ import annotations

from math import gcd

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.dataflow.timing import in_block_ram


class InputBuffer(wiring.Component):
    """Two sets of elements; element ``e`` lies in bank ``e % banks``, row ``e // banks``.

    ``writers`` are the numbers of elements that each writer brings at once, of which only one writes in any cycle.
    A layer's elements are written in order into one set, from its first element on; ``last`` marks the layer's last
    write, after which the other set is written. Elements can be read in the cycle in which they are written.

    ``x`` are ``simd`` elements of ``read_set``: tile ``row * fold + part`` of the cycle before, ``fold`` being the
    number of tiles that lie side by side because a writer brings more than ``simd`` elements at once. Banks that
    `in_block_ram` wants there lie in block RAM, all others in LUTs.
    """

    def __init__(self, *, width: int, simd: int, writers: tuple[int, ...], elements: int) -> None:
        self.width = width
        self.simd = simd
        self.writers = writers
        self.fold = -(-max(writers) // simd)
        self.banks = simd * self.fold
        # the surplus of a layer's last write may reach into one more row
        rows = -(-(elements + max(writers) - 1) // self.banks)
        self.row_bits = max((rows - 1).bit_length(), 1)
        self.depth = 2 << self.row_bits
        ports: dict[str, wiring.Member] = {
            "read_set": In(1),
            "row": In(self.row_bits),
            "part": In(range(self.fold)),
            "x": Out(data.ArrayLayout(width, simd)),
            "last": In(1),
        }
        for i, lanes in enumerate(writers):
            ports[f"write{i}"] = In(1)
            ports[f"data{i}"] = In(data.ArrayLayout(width, lanes))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        write_set = Signal()
        row, next_row = Signal(self.row_bits), Signal(self.row_bits, init=1)
        advance = Signal()
        enables: list[list[Value]] = [[] for _ in range(self.banks)]
        wraps: list[list[Value]] = [[] for _ in range(self.banks)]
        values: list[list[Value]] = [[] for _ in range(self.banks)]
        for i, lanes in enumerate(self.writers):
            write, source = getattr(self, f"write{i}"), getattr(self, f"data{i}")
            # where the first lane goes: one of a few banks in turn, told by a ring of one bit each
            offsets = [k * lanes % self.banks for k in range(self.banks // gcd(lanes, self.banks))]
            ring = Signal(len(offsets), init=1, name=f"ring{i}")
            with m.If(write):
                m.d.sync += ring.eq(Mux(self.last, 1, Cat(ring[-1], ring[:-1])))
            now = [write & ring[k] for k in range(len(offsets))] if len(offsets) > 1 else [write]
            carries = [now[k] for k, offset in enumerate(offsets) if offset + lanes >= self.banks]
            with m.If(any_of(carries)):
                m.d.comb += advance.eq(1)
            for bank in range(self.banks):
                choices = []
                for k, offset in enumerate(offsets):
                    lane = (bank - offset) % self.banks
                    if lane < lanes:
                        choices.append((now[k], source[lane]))
                        enables[bank].append(now[k])
                        if bank < offset:
                            wraps[bank].append(now[k])
                if len(choices) == 1 and len(self.writers) == 1:
                    values[bank].append(choices[0][1])
                else:
                    values[bank] += [Mux(chosen, value, 0) for chosen, value in choices]
        with m.If(self.last):
            m.d.sync += [row.eq(0), next_row.eq(1), write_set.eq(~write_set)]
        with m.Elif(advance):
            m.d.sync += [row.eq(next_row), next_row.eq(next_row + 1)]

        block = in_block_ram(self.depth, self.width)
        style = "block" if block else "distributed"
        wanted: Value = Cat(self.row, self.read_set)
        part = Signal.like(self.part)
        m.d.sync += part.eq(self.part)
        if not block:  # block RAM has a register of its own for that
            held = Signal(len(wanted), name="read_address")
            m.d.sync += held.eq(wanted)
            wanted = held
        read: list[Value] = []
        for bank in range(self.banks):
            memory = Memory(shape=self.width, depth=self.depth, init=[], attrs={"ram_style": style})
            m.submodules[f"bank{bank}"] = memory
            port = memory.write_port()
            address = Mux(any_of(wraps[bank]), next_row, row) if wraps[bank] else row
            value: Value = Const(0)
            for v in values[bank]:
                value = value | v
            m.d.comb += [port.en.eq(any_of(enables[bank])), port.addr.eq(Cat(address, write_set)), port.data.eq(value)]
            out = memory.read_port(transparent_for=(port,)) if block else memory.read_port(domain="comb")
            m.d.comb += out.addr.eq(wanted)
            read.append(out.data)
        for i in range(self.simd):
            m.d.comb += self.x[i].eq(Array(read[i + f * self.simd] for f in range(self.fold))[part])
        return m


def any_of(bits: list[Value]) -> Value:
    """Whether any of ``bits`` is high."""
    return Cat(*bits).any() if bits else Const(0)
