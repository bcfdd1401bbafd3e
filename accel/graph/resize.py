"""Pad and Upsample: images made larger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.window import widened


@dataclass(frozen=True)
class Pad:
    """A border of ``value`` around the image; ``pads`` are (top, left, bottom, right) in pixels."""

    name: str
    inputs: tuple[str, ...]
    output: str
    pads: tuple[int, int, int, int]
    value: int = 0

    def infer(self, x: Tensor) -> Tensor:
        if len(x.shape) != 3 or any(p < 0 for p in self.pads):
            raise GraphError(f"{self.name}: cannot pad a tensor of shape {x.shape} by {self.pads}")
        top, left, bottom, right = self.pads
        height, width, channels = x.shape
        return Tensor(self.output, (height + top + bottom, width + left + right, channels), widened(x.type, self.value))

    def run(self, x: np.ndarray) -> np.ndarray:
        top, left, bottom, right = self.pads
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=self.value)


@dataclass(frozen=True)
class Upsample:
    """Each pixel repeated ``factors`` (rows, columns) times: nearest-neighbour interpolation by whole factors."""

    name: str
    inputs: tuple[str, ...]
    output: str
    factors: tuple[int, int]

    def infer(self, x: Tensor) -> Tensor:
        if len(x.shape) != 3 or any(f < 1 for f in self.factors):
            raise GraphError(f"{self.name}: the pixels of shape {x.shape} cannot be repeated {self.factors} times")
        height, width, channels = x.shape
        return Tensor(self.output, (height * self.factors[0], width * self.factors[1], channels), x.type)

    def run(self, x: np.ndarray) -> np.ndarray:
        return x.repeat(self.factors[0], axis=1).repeat(self.factors[1], axis=2)
