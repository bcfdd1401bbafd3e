"""Threshold: a monotone step function of the accumulator, per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True, eq=False)
class Threshold:
    """``y[c] = out.lo + out.step * (number of thresholds[c, :] that are <= x[c])``.

    ``thresholds`` is int64 of shape (C, out.levels - 1), each row ascending; equal neighbours skip a level, and a
    threshold above every reachable input is a level that is never taken. A falling function has ``falling[c]`` set:
    there ``y[c] = out.hi - out.step * (number of thresholds[c, :] <= x[c])``.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    thresholds: np.ndarray
    falling: np.ndarray
    out: IntType

    def infer(self, x: Tensor) -> Tensor:
        channels, steps = self.thresholds.shape
        if x.shape[-1] != channels:
            raise GraphError(
                f"{self.name}: thresholds for {channels} channels cannot follow a tensor of shape {x.shape}"
            )
        if steps != self.out.levels - 1:
            raise GraphError(f"{self.name}: {self.out} needs {self.out.levels - 1} thresholds a channel, not {steps}")
        if (np.diff(self.thresholds, axis=1) < 0).any():
            raise GraphError(f"{self.name}: thresholds must ascend within each channel")
        return Tensor(self.output, x.shape, self.out)

    def run(self, x: np.ndarray) -> np.ndarray:
        count = np.empty_like(x)
        for c, row in enumerate(self.thresholds):
            count[..., c] = np.searchsorted(row, x[..., c], side="right")
        return np.where(self.falling, self.out.hi - self.out.step * count, self.out.lo + self.out.step * count)
