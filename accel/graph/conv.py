"""Conv: convolution of an image on integers; grouped and depthwise ones too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.dense import exact_matmul
from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType
from accel.graph.window import Window, widened


@dataclass(frozen=True, eq=False)
class Conv:
    """``y[i, j, m] = sum over k, l, c of weights[m, k, l, c] * x[row, column, g * n + c]``.

    There ``row = i * stride + k * dilation - top``, and ``column`` likewise. ``weights`` is int64 of shape (M, kernel
    height, kernel width, n), n input channels a group; ``weight_type`` holds them. Output channel ``m`` belongs to
    group ``g = m // (M / groups)``. Outside the image ``x`` is ``pad_value``: the zero point. There is no bias, as in
    Dense.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: np.ndarray
    weight_type: IntType
    window: Window
    groups: int = 1
    pad_value: int = 0

    def infer(self, x: Tensor) -> Tensor:
        shape = self.weights.shape
        if len(x.shape) != 3:
            raise GraphError(f"{self.name}: Conv needs an image (height, width, channels), not shape {x.shape}")
        if len(shape) != 4 or shape[1:3] != self.window.kernel:
            raise GraphError(f"{self.name}: weights of shape {shape} are none of a kernel {self.window.kernel}")
        if self.groups < 1 or shape[0] % self.groups or x.shape[2] != shape[3] * self.groups:
            raise GraphError(
                f"{self.name}: Conv weights of shape {shape} in {self.groups} groups cannot follow shape {x.shape}"
            )
        try:
            rows, columns = self.window.output(*x.shape[:2])
        except ValueError as error:
            raise GraphError(f"{self.name}: {error}") from None
        bounds = IntType(int(self.minima(x.type).min()), int(self.maxima(x.type).max()))
        return Tensor(self.output, (rows, columns, shape[0]), bounds)

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel sees one input channel and each input channel has one output channel."""
        return self.groups > 1 and self.weights.shape[0] == self.groups and self.weights.shape[3] == 1

    def reads(self, kind: IntType) -> IntType:
        """The type of what the window shows: the input's, with the padding."""
        return widened(kind, self.pad_value) if any(self.window.pads) else kind

    def minima(self, kind: IntType) -> np.ndarray:
        """A lower bound of each output channel's accumulators, shape (M,); it is reached where nothing is padded."""
        x = self.reads(kind)
        return np.minimum(self.weights * x.lo, self.weights * x.hi).sum(axis=(1, 2, 3))

    def maxima(self, kind: IntType) -> np.ndarray:
        """An upper bound of each output channel's accumulators, shape (M,)."""
        x = self.reads(kind)
        return np.maximum(self.weights * x.lo, self.weights * x.hi).sum(axis=(1, 2, 3))

    def run(self, x: np.ndarray) -> np.ndarray:
        patches = self.window.patches(x, self.pad_value)
        outputs, kh, kw, n = self.weights.shape
        batch, rows, columns = patches.shape[:3]
        if self.is_depthwise:
            y = np.zeros((batch, rows, columns, outputs), dtype=np.int64)
            for row, column in np.ndindex(kh, kw):
                y += patches[:, :, :, row, column, :] * self.weights[:, row, column, 0]
            return y
        each = outputs // self.groups
        parts = []
        for g in range(self.groups):
            seen = patches[..., g * n : (g + 1) * n].reshape(-1, kh * kw * n)
            parts.append(exact_matmul(seen, self.weights[g * each : (g + 1) * each].reshape(each, -1).T))
        return np.concatenate(parts, axis=1).reshape(batch, rows, columns, outputs)
