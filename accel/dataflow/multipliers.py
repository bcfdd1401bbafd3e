"""The devices' multipliers: what each takes, as Yosys maps products to it, and how weights share one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A multiplier of signed operands of ``wide`` by ``narrow`` bits.

    ``chained``: as many follow each other through adders of their own within a cycle. Of an operand that is too large
    they take ``slice`` bits each. ``least``: bits of the narrowest product that Yosys puts into one.
    """

    wide: int
    narrow: int
    chained: int
    slice: int
    least: int

    def parts(self, one: int, other: int) -> int:
        """How many of them Yosys takes for a product of signed numbers of so many bits."""
        small, large = sorted((one, other))
        if small + large < self.least or small <= 1:
            return 0
        cut = -(-max(large - self.wide, 0) // self.slice)
        return (1 + cut) * max(-(-(small - self.narrow + self.slice) // self.slice), 1)

    def side_by_side(self, bits: int, x: int, *, unsigned: bool) -> tuple[int, int]:
        """How weights of ``bits`` share one's wide operand, for products with ``x`` unsigned bits.

        The first number is of weights that fit, a product's width apart; the second of products that can be added up
        before a field reaches its neighbour, a power of two up to ``chained``. Only the topmost weight may be signed.
        """
        share = max(1, (self.wide - unsigned - bits) // (bits + x) + 1)
        room = (self.wide - unsigned - bits) // (share - 1) - (bits + x) if share > 1 else 0
        return share, min(1 << room, self.chained)


# What is cut off an operand of a DSP48E1 goes through the narrow port of another one, whose adder sums up both.
DSP48E1 = Block(wide=25, narrow=18, chained=4, slice=17, least=9)
MULT18X18D = Block(wide=18, narrow=18, chained=1, slice=18, least=3)
BLOCKS = {"dsp": DSP48E1, "dsp18": MULT18X18D}
"""By the name that a folding has for it."""
