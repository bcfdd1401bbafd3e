"""Table: any function of one small integer, by lookup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True, eq=False)
class Table:
    """``y[c] = values[c, (x[c] - x.lo) / x.step]``; ``values`` is int64 of shape (1, levels) or (C, levels).

    ``source`` is the type the table was made for; the input tensor must have exactly that type.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    values: np.ndarray
    source: IntType
    out: IntType

    def infer(self, x: Tensor) -> Tensor:
        if x.type != self.source or self.values.shape[1] != self.source.levels:
            raise GraphError(
                f"{self.name}: a table of {self.values.shape[1]} values for {self.source} cannot follow {x.type}"
            )
        if self.values.shape[0] not in (1, x.shape[-1]):
            raise GraphError(f"{self.name}: tables for {self.values.shape[0]} channels cannot follow {x.shape}")
        return Tensor(self.output, x.shape, self.out)

    def run(self, x: np.ndarray) -> np.ndarray:
        index = (x - self.source.lo) // self.source.step
        return self.values[0][index] if len(self.values) == 1 else self.values[np.arange(x.shape[-1]), index]
