"""TopK: the indices of the largest channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True)
class TopK:
    """The indices of the ``k`` largest channels, largest first, the lower index first among equals; shape (k,).

    ``x`` is a vector or an image of one pixel.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    k: int

    def infer(self, x: Tensor) -> Tensor:
        if x.size != x.shape[-1] or not 1 <= self.k <= x.size:
            raise GraphError(f"{self.name}: the {self.k} largest cannot be taken of a tensor of shape {x.shape}")
        return Tensor(self.output, (self.k,), IntType(0, x.size - 1))

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.argsort(-x.reshape(len(x), -1), axis=-1, kind="stable")[:, : self.k].astype(np.int64)
