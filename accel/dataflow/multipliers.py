"""What a DSP48E1 multiplies and adds, as Yosys maps it: an operand of 25 bits by one of 18, and an adder behind."""

from __future__ import annotations

WIDE, NARROW = 25, 18  # bits of the DSP48E1's signed operands
MOST_CHAINED = 4  # DSP48E1 whose adders follow each other within a cycle
LEAST_PRODUCT = 9  # bits; synth_xilinx leaves narrower products in LUTs


def dsp_parts(one: int, other: int) -> int:
    """DSP48E1 that Yosys takes for a product of signed numbers of so many bits."""
    small, large = sorted((one, other))
    if small + large < LEAST_PRODUCT or small <= 1:
        return 0
    # what is cut off the large operand goes into the narrow port, so that products can be chained
    cut = -(-max(large - WIDE, 0) // (NARROW - 1))
    return (1 + cut) * -(-(small - 1) // (NARROW - 1))


def side_by_side(bits: int, x: int, *, unsigned: bool) -> tuple[int, int]:
    """How weights of ``bits`` share a DSP48E1's wide operand, for products with ``x`` unsigned bits.

    The first number is of weights that fit, a product's width apart; the second of products that can be added up before
    a field reaches its neighbour, a power of two up to `MOST_CHAINED`. Only the topmost weight may be signed.
    """
    share = max(1, (WIDE - unsigned - bits) // (bits + x) + 1)
    room = (WIDE - unsigned - bits) // (share - 1) - (bits + x) if share > 1 else 0
    return share, min(1 << room, MOST_CHAINED)
