"""Add: the weighted sum of two tensors, which is where branches of a residual network meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True)
class Add:
    """``y = multipliers[0] * a + multipliers[1] * b``, element by element; the multipliers stand for the two scales."""

    name: str
    inputs: tuple[str, ...]
    output: str
    multipliers: tuple[int, int] = (1, 1)

    def infer(self, a: Tensor, b: Tensor) -> Tensor:
        if a.shape != b.shape:
            raise GraphError(f"{self.name}: Add needs two tensors of one shape, not {a.shape} and {b.shape}")
        return Tensor(self.output, a.shape, self.bounds(a.type, b.type))

    def bounds(self, a: IntType, b: IntType) -> IntType:
        """The type of the sums."""
        ends = [sorted((m * kind.lo, m * kind.hi)) for m, kind in zip(self.multipliers, (a, b), strict=True)]
        return IntType(sum(lo for lo, _ in ends), sum(hi for _, hi in ends))

    def run(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.multipliers[0] * a + self.multipliers[1] * b
