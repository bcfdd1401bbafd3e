"""Registers that many neurons listen to, once for each few of them, so that none is far from all that it drives."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

LISTENERS = 8  # of one register


def spread(m: Module, name: str, value: Value, listeners: int, *, each: int = LISTENERS) -> list[Value]:
    """``value`` of the cycle before, for ``listeners`` side by side, of which ``each`` share a register."""
    if listeners <= each:
        held = Signal(len(value), name=name)
        m.d.sync += held.eq(value)
        return [held] * listeners
    registers: list[Value] = []
    for first in range(0, listeners, each):
        register = Register(name, len(value))
        m.submodules[f"{name}_from{first}"] = register
        m.d.comb += register.input.eq(value)
        registers.append(register.output)
    return [registers[i // each] for i in range(listeners)]


class Register(wiring.Component):
    """A register of ``width`` bits that stays a module in `accel.rtl.verilog`, as synthesis makes one of equal ones."""

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        super().__init__({"input": In(width), "output": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(len(self.input), name=self.name, attrs={"keep": "true"})
        m.d.sync += held.eq(self.input)
        m.d.comb += self.output.eq(held)
        return m
