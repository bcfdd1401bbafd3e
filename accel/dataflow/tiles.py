"""Tiles: how the weights of a convolution lie in the steps of a node, which its weight memory and its price follow."""

from __future__ import annotations

import numpy as np

from accel.graph import Conv


def weight_tiles(conv: Conv, pe: int, taps: int, lanes: int, *, element: int = 0, neuron: int = 0) -> np.ndarray:
    """The weights of ``pe`` neurons for ``taps`` elements of the kernel and ``lanes`` channels, a step a row.

    Of shape (steps, pe, taps * lanes). A kernel that is no multiple of ``taps`` is filled up with ``element``, neurons
    that are no multiple of ``pe`` with ``neuron``.
    """
    outputs, kh, kw, channels = conv.weights.shape
    parts, tiles = -(-kh * kw // taps), -(-outputs // pe)
    filled = np.full((tiles * pe, parts * taps, channels), element, dtype=np.int64)
    filled[outputs:] = neuron
    filled[:outputs, : kh * kw] = conv.weights.reshape(outputs, kh * kw, channels)
    tiled = filled.reshape(tiles, pe, parts, taps, channels // lanes, lanes)
    return tiled.transpose(0, 2, 4, 1, 3, 5).reshape(-1, pe, taps * lanes)
