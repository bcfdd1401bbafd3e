"""Dense: the matrix-vector product on integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True, eq=False)
class Dense:
    """``y[m] = sum over k of weights[m, k] * x[k]``; ``weights`` is int64 of shape (M, K), ``weight_type`` holds it.

    An image is read in raster order, channels innermost. There is no bias: offsets of any origin belong to the
    activation that follows, or to the output's affine.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: np.ndarray
    weight_type: IntType

    def infer(self, x: Tensor) -> Tensor:
        m, k = self.weights.shape
        if x.size != k:
            raise GraphError(
                f"{self.name}: Dense weights of shape {(m, k)} need an input of {k} elements, not of shape {x.shape}"
            )
        return Tensor(self.output, (m,), IntType(int(self.minima(x.type).min()), int(self.maxima(x.type).max())))

    def minima(self, x: IntType) -> np.ndarray:
        """The smallest reachable accumulator of each output channel, shape (M,)."""
        return np.minimum(self.weights * x.lo, self.weights * x.hi).sum(axis=1)

    def maxima(self, x: IntType) -> np.ndarray:
        """The largest reachable accumulator of each output channel, shape (M,)."""
        return np.maximum(self.weights * x.lo, self.weights * x.hi).sum(axis=1)

    def run(self, x: np.ndarray) -> np.ndarray:
        return exact_matmul(x.reshape(len(x), self.weights.shape[1]), self.weights.T)


def exact_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """``x @ w`` on integers. Float64 is exact below 2**53 and uses BLAS, which int64 does not."""
    bound = np.abs(x).max(initial=0) * float(np.abs(w).sum(axis=0).max(initial=0))
    if bound < 2**53:
        return np.rint(x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64)
    return x @ w
