"""Wishbone B4 as Amaranth interfaces: classic cycles, and registered-feedback bursts."""

from __future__ import annotations

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out


class CycleType(enum.IntEnum):
    """The cycle type identifier ``cti`` (Wishbone B4, table 4-2): whether this word is followed by the next address."""

    CLASSIC = 0
    INCREMENTING = 2
    END = 7


class Signature(wiring.Signature):
    """A Wishbone bus of ``data_width`` bits, addressed in words of that width, as its master sees it.

    ``cyc`` and ``stb`` with address and data stand until ``ack`` or ``err``. With ``burst`` there are ``cti`` and
    ``bte`` (0: linear).
    """

    def __init__(self, *, addr_width: int, data_width: int = 32, burst: bool = False) -> None:
        if addr_width < 1:
            raise ValueError(f"Wishbone address width must be a positive integer, not {addr_width}")
        if data_width not in (8, 16, 32, 64):
            raise ValueError(f"Wishbone data width must be 8, 16, 32 or 64, not {data_width}")
        self.addr_width, self.data_width, self.burst = addr_width, data_width, burst
        members = {
            "adr": Out(addr_width),
            "dat_w": Out(data_width),
            "dat_r": In(data_width),
            "sel": Out(data_width // 8),
            "cyc": Out(1),
            "stb": Out(1),
            "we": Out(1),
            "ack": In(1),
            "err": In(1),
        }
        if burst:
            members |= {"cti": Out(CycleType), "bte": Out(2)}
        super().__init__(members)
