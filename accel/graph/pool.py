"""MaxPool and SumPool: the largest and the sum of each channel within a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType
from accel.graph.window import Window, widened


def pooled_shape(name: str, window: Window, x: Tensor) -> tuple[int, int, int]:
    """The output's shape. Raises GraphError."""
    if len(x.shape) != 3:
        raise GraphError(f"{name}: pooling needs an image (height, width, channels), not shape {x.shape}")
    try:
        rows, columns = window.output(*x.shape[:2])
    except ValueError as error:
        raise GraphError(f"{name}: {error}") from None
    return rows, columns, x.shape[2]


@dataclass(frozen=True)
class MaxPool:
    """``y[i, j, c] = max over the window of x[.., .., c]``; what lies outside the image does not count."""

    name: str
    inputs: tuple[str, ...]
    output: str
    window: Window

    def infer(self, x: Tensor) -> Tensor:
        shape = pooled_shape(self.name, self.window, x)
        if not self.window.sees_everywhere(*x.shape[:2]):
            (kh, kw), pads = self.window.kernel, self.window.pads
            raise GraphError(f"{self.name}: pads {pads} leave windows of {kh} x {kw} without a pixel")
        return Tensor(self.output, shape, x.type)

    def run(self, x: np.ndarray) -> np.ndarray:
        return self.window.patches(x, np.iinfo(np.int64).min).max(axis=(3, 4))


@dataclass(frozen=True)
class SumPool:
    """``y[i, j, c] = sum over the window of x[.., .., c]``; outside the image ``x`` is ``pad_value``.

    An average pool is this with the division in the activation behind it.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    window: Window
    pad_value: int = 0

    def infer(self, x: Tensor) -> Tensor:
        shape = pooled_shape(self.name, self.window, x)
        return Tensor(self.output, shape, IntType(int(self.minima(x.type)[0]), int(self.maxima(x.type)[0])))

    def reads(self, kind: IntType) -> IntType:
        """The type of what the window shows: the input's, with the padding."""
        return widened(kind, self.pad_value) if any(self.window.pads) else kind

    def minima(self, kind: IntType) -> np.ndarray:
        """A lower bound of the sums, shape (1,)."""
        return np.array([self.reads(kind).lo * self.window.taps])

    def maxima(self, kind: IntType) -> np.ndarray:
        """An upper bound of the sums, shape (1,)."""
        return np.array([self.reads(kind).hi * self.window.taps])

    def run(self, x: np.ndarray) -> np.ndarray:
        return self.window.patches(x, self.pad_value).sum(axis=(3, 4))
