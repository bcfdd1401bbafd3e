"""Activation: any chain of exact elementwise steps that ends in an integer, as the model file states it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.steps import Clip, FixedPoint, Linear, Round, Step, evaluate, rationals
from accel.graph.types import IntType

BLOCK = 2**15  # elements evaluated at once: what the CPU's cache holds of a dozen float64 arrays


@dataclass(frozen=True, eq=False)
class Activation:
    """``y[c] = steps(x[c])`` in exact arithmetic: batch norm, bias, ReLU, quantizer and so on.

    The arrays of the steps have shape (1,) or (C,). Every step is monotone, hence so is the whole, in each channel.
    No hardware does this; ``accel.passes.lower`` replaces it by Threshold, Requantize or Table, which equal it.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    steps: tuple[Step, ...]
    out: IntType

    def infer(self, x: Tensor) -> Tensor:
        if self.channels not in (1, x.shape[-1]):
            raise GraphError(
                f"{self.name}: steps for {self.channels} channels cannot follow a tensor of shape {x.shape}"
            )
        return Tensor(self.output, x.shape, self.out)

    def run(self, x: np.ndarray) -> np.ndarray:
        rows = x.reshape(-1, x.shape[-1])
        at_once = max(1, BLOCK // max(1, x.shape[-1]))
        blocks = [evaluate(self.steps, rows[first : first + at_once]) for first in range(0, len(rows), at_once)]
        y = np.concatenate(blocks).reshape(*x.shape[:-1], -1) if blocks else x
        if y.size and (y.min() < self.out.lo or y.max() > self.out.hi):
            raise GraphError(f"{self.name}: gives {y.min()}..{y.max()}, outside its type {self.out}")
        return y

    @property
    def channels(self) -> int:
        """How many different functions there are: 1, or one for each channel."""
        sizes = {1}
        for step in self.steps:
            if isinstance(step, Linear):
                sizes |= {step.scale.size, step.offset.size}
            elif isinstance(step, FixedPoint):
                sizes |= {step.multiplier.size, step.shift.size}
            elif isinstance(step, Clip):
                sizes |= {bound.size for bound in (step.lo, step.hi) if bound is not None}
        return max(sizes)

    @property
    def turn(self) -> np.ndarray | None:
        """The first input of each channel whose value is not negative where it is first rounded, int64 of (channels,).

        Rounding away from zero differs on its two sides. None where the function falls or is clipped before.
        """
        scale, offset = rationals([1]), rationals([0])
        for step in self.steps:
            if isinstance(step, Linear):
                scale, offset = scale * step.scale, offset * step.scale + step.offset
            elif isinstance(step, (FixedPoint, Round)) and all(s > 0 for s in scale):
                return np.array([math.ceil(zero) for zero in np.broadcast_to(-offset / scale, self.channels)])
            else:
                return None
        return None

    @property
    def falling(self) -> np.ndarray:
        """Whether the function never rises, for each of ``channels``; otherwise it never falls."""
        falling = np.zeros(self.channels, dtype=bool)
        for step in self.steps:
            if isinstance(step, Linear):
                falling ^= np.array([s < Fraction(0) for s in step.scale], dtype=bool)
        return falling
