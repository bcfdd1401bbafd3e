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
    as the half is already in it) loses the lowest bit of its quotient, which is rounding half to even.
    ``multiplier`` and ``bias`` are int64 of shape (C,), as are ``turn`` and ``above`` where they are given: from
    ``x[c] = turn[c]`` on, ``above[c]`` is added to the bias. Rounding twice and symmetrically about zero, as TFLite
    does, is not one straight line but two.
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

    def infer(self, x: Tensor) -> Tensor:
        if x.shape[-1] != len(self.multiplier) or self.multiplier.shape != self.bias.shape:
            raise GraphError(f"{self.name}: constants for {len(self.multiplier)} channels cannot follow {x.shape}")
        turns = [each.shape for each in (self.turn, self.above) if each is not None]
        if turns not in ([], [self.bias.shape] * 2):
            raise GraphError(f"{self.name}: turn and above of shapes {turns} do not go with {self.bias.shape}")
        if self.shift < 0 or (self.ties_to_even and self.shift == 0):
            raise GraphError(f"{self.name}: shift must be non-negative (positive with ties to even), not {self.shift}")
        return Tensor(self.output, x.shape, self.out)

    def run(self, x: np.ndarray) -> np.ndarray:
        total = x * self.multiplier + self.bias
        if self.turn is not None and self.above is not None:
            total += np.where(x >= self.turn, self.above, 0)
        quotient = total >> self.shift
        if self.ties_to_even:
            quotient = np.where(total & ((1 << self.shift) - 1) == 0, quotient & ~1, quotient)
        return np.clip(quotient, self.out.lo, self.out.hi)
