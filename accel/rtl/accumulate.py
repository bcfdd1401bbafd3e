"""Accumulators, and what goes along with a step on its way to them."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.memory import Memory


@dataclass(frozen=True)
class Step:
    """What goes along with a step: whether it is one, of a layer's first or last input tile, and its neuron tile."""

    valid: Value
    first: Value
    last: Value
    row: Value


def accumulator(m: Module, name: str, total: Value, step: Step, *, drain_row: Value, rows: int) -> Value:
    """One neuron's accumulators, a row for each neuron tile, and its finished sums, of which it returns ``drain_row``.

    A finished sum stands there from the cycle after the last step until the next layer's last tile.
    """
    width = len(total)
    added = Signal(signed(width), name=f"added{name}")
    if rows == 1:
        held, finished = (
            Signal(width, name=f"held{name}", reset_less=True),
            Signal(width, name=f"finished{name}", reset_less=True),
        )
        m.d.comb += added.eq(Mux(step.first, 0, held) + total)
        with m.If(step.valid):
            m.d.sync += held.eq(added)
        with m.If(step.valid & step.last):
            m.d.sync += finished.eq(added)
        return finished

    ports = []
    for kind, enable, address in (("held", step.valid, step.row), ("finished", step.valid & step.last, drain_row)):
        memory = Memory(shape=width, depth=rows, init=[], attrs={"ram_style": "distributed"})
        m.submodules[f"{kind}{name}"] = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [write.en.eq(enable), write.addr.eq(step.row), write.data.eq(added), read.addr.eq(address)]
        ports.append(read)
    held, finished = (port.data for port in ports)
    m.d.comb += added.eq(Mux(step.first, 0, held) + total)
    return finished
