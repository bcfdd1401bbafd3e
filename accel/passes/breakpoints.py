"""Breakpoints: where a monotone activation steps from one level to the next, found by evaluating it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph import Activation, IntType

BLOCK = 2**20  # evaluations at once


@dataclass(frozen=True)
class Breakpoints:
    """The steps of C monotone functions on the integers ``lo[c]..hi[c]``.

    ``points``, int64 of shape (C, out.levels - 1): the smallest input at which the output has taken the first, second,
    … step away from the level at its left end: ``out.lo`` upwards, or ``out.hi`` downwards where ``falling[c]``. It is
    ``lo[c]`` where the output starts beyond that step, ``hi[c] + 1`` where it never gets there. ``before``, of the same
    shape, holds the largest reachable input at which the step has not been taken; left out, it is ``points - 1``.
    """

    points: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    falling: np.ndarray
    out: IntType
    before: np.ndarray | None = None


def breakpoints(activation: Activation, lo: np.ndarray, hi: np.ndarray) -> Breakpoints:
    """The breakpoints of each channel, exactly. ``lo`` and ``hi``, of shape (C,), are the reachable inputs."""
    if activation.channels == 1 and len(lo) > 1:  # one function, of which each channel reaches a part
        whole = breakpoints(activation, lo.min(keepdims=True), hi.max(keepdims=True))
        points = np.clip(whole.points, lo[:, None], hi[:, None] + 1)
        return Breakpoints(points, lo, hi, np.broadcast_to(whole.falling, lo.shape), activation.out)
    steps = activation.out.levels - 1
    falling = np.broadcast_to(activation.falling, lo.shape)
    points = np.empty((len(lo), steps), dtype=np.int64)
    for first in range(0, steps, max(1, BLOCK // len(lo))):
        block = slice(first, min(steps, first + max(1, BLOCK // len(lo))))
        points[:, block] = _bisect(activation, lo, hi, falling, np.arange(block.start, block.stop) + 1).T
    return Breakpoints(points, lo, hi, falling, activation.out)


def _bisect(
    activation: Activation, lo: np.ndarray, hi: np.ndarray, falling: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Bisection of all channels and steps at once, shape (steps, C): the step is taken within ``left..right``."""
    out, count = activation.out, counts[:, None]
    left = np.broadcast_to(lo, (len(counts), len(lo))).copy()
    right = np.broadcast_to(hi + 1, left.shape).copy()
    while (left < right).any():
        middle = left + (right - left) // 2  # at most hi while left < right
        y = activation.run(np.minimum(middle, hi))
        taken = np.where(falling, y <= out.hi - out.step * count, y >= out.lo + out.step * count) | (middle > hi)
        left, right = np.where(taken, left, middle + 1), np.where(taken, middle, right)
    return left
