"""Concat: tensors side by side along their channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.graph import GraphError, Tensor
from accel.graph.types import IntType


@dataclass(frozen=True)
class Concat:
    """The inputs' channels one after another; their images have one size. The type holds all of theirs."""

    name: str
    inputs: tuple[str, ...]
    output: str

    def infer(self, *xs: Tensor) -> Tensor:
        if len({x.shape[:-1] for x in xs}) != 1:
            raise GraphError(f"{self.name}: Concat needs images of one size, not {', '.join(str(x.shape) for x in xs)}")
        shape = (*xs[0].shape[:-1], sum(x.shape[-1] for x in xs))
        return Tensor(self.output, shape, union(*(x.type for x in xs)))

    def run(self, *xs: np.ndarray) -> np.ndarray:
        return np.concatenate(xs, axis=-1)


def union(*kinds: IntType) -> IntType:
    """The smallest type that holds all of them; bipolar only of bipolar ones."""
    if all(kind.is_bipolar for kind in kinds):
        return IntType(min(k.lo for k in kinds), max(k.hi for k in kinds), 2)
    return IntType(min(k.lo for k in kinds), max(k.hi for k in kinds))
