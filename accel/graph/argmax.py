"""ArgMax: the index of the largest channel, the first of equals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True)
class ArgMax:
    """``y = min{c : x[c] = max x}``, a tensor of shape (1,). ``x`` is a vector or an image of one pixel."""

    name: str
    inputs: tuple[str, ...]
    output: str

    def infer(self, x: Tensor) -> Tensor:
        if x.size != x.shape[-1]:
            raise GraphError(f"{self.name}: ArgMax needs a vector or an image of one pixel, not shape {x.shape}")
        return Tensor(self.output, (1,), IntType(0, x.size - 1))

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.argmax(x.reshape(len(x), -1), axis=-1)[:, None].astype(np.int64)
