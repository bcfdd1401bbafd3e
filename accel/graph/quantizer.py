"""Quantizer: float32 numbers become integers, as TFLite's reference QUANTIZE makes them.

The firmware computes the same in C (`firmware/src/input.c`): the division is float32's own, correctly rounded, and all
that follows is done on integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from accel.graph.graph import Affine, GraphError
from accel.graph.types import IntType

WIDEST = 16  # bits of an integer; twice the largest still differs from infinity by far


@dataclass(frozen=True)
class Quantizer:
    """``q = clip(round(real / scale) + zero_point, type)``, halves away from zero.

    ``scale`` is a float32, positive; ``zero_point`` lies within ``type``, which has at most 16 bits. Raises GraphError.
    """

    scale: float
    zero_point: int
    type: IntType

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            exact = float(np.float32(self.scale)) == self.scale
        if not exact or not 0 < self.scale < np.inf:
            raise GraphError(f"a quantizer of float32 numbers needs a positive float32 as scale, not {self.scale!r}")
        if self.type.step != 1 or self.type.width > WIDEST or not self.type.lo <= self.zero_point <= self.type.hi:
            raise GraphError(
                f"a quantizer of float32 numbers needs a type of at most {WIDEST} bits that holds its zero point, not "
                f"{self.type} and {self.zero_point}"
            )

    @classmethod
    def of(cls, affine: Affine | None, kind: IntType) -> Quantizer:
        """The one that makes integers with this meaning. Raises GraphError where there is none."""
        affine = affine or Affine()
        if len(affine.scale) > 1 or len(affine.offset) > 1:
            raise GraphError("a quantizer of float32 numbers needs one scale and one zero point for all channels")
        zero_point = Fraction(-affine.offset[0]) / Fraction(affine.scale[0])
        if zero_point.denominator != 1:
            raise GraphError(
                f"a quantizer of float32 numbers needs an integer as zero point, not {float(zero_point):.6g}"
            )
        return cls(float(affine.scale[0]), int(zero_point), kind)

    def __call__(self, reals: np.ndarray) -> np.ndarray:
        """The integers, int64, of float32 numbers of any shape. Infinities saturate; raises GraphError for NaN."""
        reals = np.asarray(reals, dtype=np.float32)
        if np.isnan(reals).any():
            place = int(np.isnan(reals).ravel().argmax())
            raise GraphError(f"element {place} is not a number")
        with np.errstate(over="ignore", under="ignore"):
            quotients = (reals / np.float32(self.scale)).astype(np.float64)  # in which adding a half is exact
        quotients = np.clip(quotients, -(2.0**30), 2.0**30)
        whole = np.trunc(quotients + np.copysign(0.5, quotients)).astype(np.int64)
        return np.clip(whole + self.zero_point, self.type.lo, self.type.hi)
