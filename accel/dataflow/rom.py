"""Where read-only memories lie: which bits of their words in block RAM, which in LUTs."""

from __future__ import annotations

ROM_SLICE = 72
"""Bits of a RAMB36's widest word. Wider read-only memories are made of slices of it."""
ROM_BITS = 8192
"""A slice of a ROM that may lie where it likes goes to block RAM when it fills more bits than these of each RAMB18."""


def rom_halves(width: int, depth: int) -> int:
    """RAMB18 of a slice of a ROM: Yosys folds deep narrow memories into the 36 bits of their 512 rows."""
    return -(-width * -(-depth // 512) // 36)


def rom_block_bits(width: int, depth: int) -> int:
    """How many bits of a word, the lowest, lie in block RAM where a ROM may lie where it likes."""

    def block(bits: int) -> bool:
        return bits * depth > ROM_BITS * rom_halves(bits, depth)

    full = width // ROM_SLICE * ROM_SLICE if block(ROM_SLICE) else 0
    return width if block(width % ROM_SLICE) else full
