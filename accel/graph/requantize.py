"""Requantize: multiply, add, shift and saturate, per channel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True, eq=False)
class Requantize:
    """``y[c] = clip(floor((x[c] * multiplier[c] + bias[c]) / 2**shift), out.lo, out.hi)``.

    ``bias`` includes the rounding half. With ``ties_to_even`` a sum that is an exact multiple of ``2**shift`` (a tie,
    as the half is already in it) loses the lowest bit of its quotient, which is rounding half to even. The lowest
    ``near`` bits of the sum do not count for that: where the multiplier is only nearly a ratio, ties lie near above.
    ``multiplier`` and ``bias`` are integers of shape (C,), as are ``turn`` and ``above`` where they are given: from
    ``x[c] = turn[c]`` on, ``above[c]`` is added to the bias. Rounding twice and symmetrically about zero, as TFLite
    does, is not one straight line but two. All are int64 or, where sums do not fit that, Python's (dtype object).
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    multiplier: np.ndarray
    bias: np.ndarray
    shift: int
    out: IntType
    ties_to_even: bool = False
    turn: np.ndarray | None = field(default=None, metadata={"later": True})
    above: np.ndarray | None = field(default=None, metadata={"later": True})
    near: int | None = field(default=None, metadata={"later": True})

    def infer(self, x: Tensor) -> Tensor:
        if x.shape[-1] != len(self.multiplier) or self.multiplier.shape != self.bias.shape:
            raise GraphError(f"{self.name}: constants for {len(self.multiplier)} channels cannot follow {x.shape}")
        turns = [each.shape for each in (self.turn, self.above) if each is not None]
        if turns not in ([], [self.bias.shape] * 2):
            raise GraphError(f"{self.name}: turn and above of shapes {turns} do not go with {self.bias.shape}")
        if self.shift < 0 or (self.ties_to_even and self.shift == 0):
            raise GraphError(f"{self.name}: shift must be non-negative (positive with ties to even), not {self.shift}")
        if self.near is not None and not (self.ties_to_even and 0 <= self.near < self.shift):
            raise GraphError(
                f"{self.name}: near must be a number of bits below shift, with ties to even, not {self.near}"
            )
        return Tensor(self.output, x.shape, self.out)

    def run(self, x: np.ndarray) -> np.ndarray:
        total = x * self.multiplier + self.bias
        if self.turn is not None and self.above is not None:
            total = total + np.where(x >= self.turn, self.above, 0)
        quotient = total >> self.shift
        if self.ties_to_even:
            fraction = (1 << self.shift) - (1 << (self.near or 0))
            quotient = np.where(total & fraction == 0, quotient & ~1, quotient)
        return np.clip(quotient, self.out.lo, self.out.hi).astype(np.int64)
