"""What a window needs of an image: when its pixels are there, and when they may go.

Pixels are counted in raster order. The schedule of a windowed node (`accel.dataflow.tokens`) and the least capacity of
its line buffer follow from these numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from accel.dataflow.pipeline import Image
from accel.graph import Window

REFILL = 3  # cycles from the end of a window to the first one that can see a beat for which it made room


def seen(window: Window, axis: int, size: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis, the first and the last in-image position that each output sees; where none is, (size, -1)."""
    elements = np.arange(window.kernel[axis]) * window.dilation[axis]
    at = np.arange(outputs)[:, None] * window.stride[axis] + elements - window.pads[axis]
    inside = (at >= 0) & (at < size)
    return np.where(inside, at, size).min(axis=1), np.where(inside, at, -1).max(axis=1)


@lru_cache(maxsize=4096)
def needs(window: Window, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each output pixel in turn: pixels that must have been written before it begins, and that go after it.

    Both ascend. What goes are all pixels before the first one that a later window sees; at the end, the whole image.
    """
    rows, columns = window.output(height, width)
    first_row, last_row = seen(window, 0, height, rows)
    first_column, last_column = seen(window, 1, width, columns)
    nothing = (last_row < 0)[:, None] | (last_column < 0)[None, :]
    last = np.where(nothing, -1, last_row[:, None] * width + last_column[None, :]).ravel()
    pixels = height * width
    first = np.where(nothing, pixels, first_row[:, None] * width + first_column[None, :]).ravel()
    later = np.minimum.accumulate(np.append(first[1:], pixels)[::-1])[::-1]
    return np.maximum.accumulate(last + 1), later


def waits(window: Window, image: Image, capacity: int, words: int) -> np.ndarray:
    """Cycles that each output pixel waits for beats that had no room while the pixel before was computed, about.

    ``words`` beats are a pixel. What a row of windows sees goes only as its last window ends, so that with little
    more than the least capacity the next row has to wait for a whole row of input, or several.
    """
    needed, gone = needs(window, image.height, image.width)
    free = capacity - (needed[:-1] - np.append(0, gone[:-2]))
    missing = np.diff(needed) - np.maximum(free, 0)
    return np.append(0, np.where(missing > 0, missing * words + REFILL, 0))


def row_step(window: Window, image: Image) -> int:
    """The most pixels that an output pixel needs beyond those that the one before needed."""
    needed, _ = needs(window, image.height, image.width)
    return int(np.diff(needed, prepend=0)[1:].max(initial=1))


def least_capacity(window: Window, image: Image) -> int:
    """Pixels that a line buffer holds at least: those from a window's first to its last."""
    height, width = window.extent
    return max(min((height - 1) * image.width + width, image.height * image.width), 1)
