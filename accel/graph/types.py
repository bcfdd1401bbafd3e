"""Integer types: what values a tensor may hold, and how many wires they need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IntType:
    """The integers ``lo, lo + step, …, hi``.

    ``step`` is 1, or 2 for the bipolar type {-1, +1}. Width and sign follow from the bounds, so a type is never wider
    than what it holds: ``IntType(-127, 127)`` is a narrow 8-bit type, ``IntType(0, 7)`` has 3 bits.
    """

    lo: int
    hi: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.lo > self.hi:
            raise ValueError(f"IntType bounds must be ordered, not {self.lo} > {self.hi}")
        if self.step not in (1, 2) or (self.hi - self.lo) % self.step:
            raise ValueError(f"IntType step must be 1 or 2 and divide the range {self.lo}..{self.hi}, not {self.step}")

    @classmethod
    def of(cls, *, width: int, signed: bool, narrow: bool = False) -> IntType:
        """All integers of ``width`` bits; ``narrow`` leaves out the most negative (signed) or the largest one."""
        if width < 1:
            raise ValueError(f"IntType width must be a positive integer, not {width}")
        if signed:
            return cls(-(1 << (width - 1)) + narrow, (1 << (width - 1)) - 1)
        return cls(0, (1 << width) - 1 - narrow)

    @classmethod
    def bipolar(cls) -> IntType:
        """The type {-1, +1}, one wire wide."""
        return cls(-1, 1, 2)

    @property
    def signed(self) -> bool:
        return self.lo < 0

    @property
    def is_bipolar(self) -> bool:
        return self.step == 2

    @property
    def levels(self) -> int:
        """How many values there are."""
        return (self.hi - self.lo) // self.step + 1

    @property
    def width(self) -> int:
        """Bits of the two's complement (or unsigned) form; 1 for bipolar."""
        if self.is_bipolar:
            return 1
        if self.signed:
            return max((-self.lo - 1).bit_length(), max(self.hi, 0).bit_length()) + 1
        return max(self.hi.bit_length(), 1)

    def contains(self, other: IntType) -> bool:
        """Whether every value of ``other`` is a value of this type."""
        if other.lo < self.lo or other.hi > self.hi:
            return False
        return self.step == 1 or ((other.lo - self.lo) % 2 == 0 and (other.step == 2 or other.levels == 1))

    def __str__(self) -> str:
        if self.is_bipolar:
            return "bipolar"
        full = IntType.of(width=self.width, signed=self.signed)
        bounds = "" if (self.lo, self.hi) == (full.lo, full.hi) else f"[{self.lo}..{self.hi}]"
        return f"{'i' if self.signed else 'u'}{self.width}{bounds}"
