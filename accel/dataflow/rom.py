"""Where read-only memories lie: which bits of their words in block RAM, which in LUTs."""

from __future__ import annotations

ROM_SLICE = 72
"""Bits of a RAMB36's widest word. Wider read-only memories are made of slices of it."""
ROM_WORDS = 4096
"""Words beyond which slices are narrower, so that their bits are chosen from few blocks: block RAM gives its words late
in the cycle, on the ECP5 5.6 ns after the clock."""
DEEP_SLICES = ((9, 8192), (4, 16384), (2, 32768))
"""Bits of a slice, and the most words of it: those of four block RAMs of 18 Kbit with so many bits a word."""
ROM_BITS = 8192
"""A slice of a ROM that may lie where it likes goes to block RAM when it fills more bits than these of each RAMB18."""


def rom_slice(depth: int) -> int:
    """Bits of the slices in block RAM of which a ROM of ``depth`` words is made."""
    return ROM_SLICE if depth <= ROM_WORDS else next((bits for bits, words in DEEP_SLICES if depth <= words), 1)


def rom_halves(width: int, depth: int) -> int:
    """RAMB18 of a slice of a ROM: Yosys folds deep narrow memories into the 36 bits of their 512 rows."""
    return -(-width * -(-depth // 512) // 36)


def rom_block_bits(width: int, depth: int) -> int:
    """How many bits of a word, the lowest, lie in block RAM where a ROM may lie where it likes."""

    def block(bits: int) -> bool:
        return bits * depth > ROM_BITS * rom_halves(bits, depth)

    size = rom_slice(depth)
    full = width // size * size if block(size) else 0
    return width if block(width % size) else full
