"""Window: the geometry of what slides over an image, shared by convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel.graph.types import IntType


@dataclass(frozen=True)
class Window:
    """A ``kernel`` of (height, width) moved by ``stride`` over an image that is padded by ``pads``.

    All in pixels, height before width; ``pads`` are (top, left, bottom, right). Neighbouring elements of the kernel are
    ``dilation`` pixels apart. Output pixel ``(i, j)`` sees input pixels ``(i * stride + k * dilation - pad)``. A
    1-D network has images of height 1.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        for name, size, least in (("kernel", 2, 1), ("stride", 2, 1), ("dilation", 2, 1), ("pads", 4, 0)):
            values = getattr(self, name)
            if len(values) != size or any(v < least for v in values):
                raise ValueError(f"Window {name} must be {size} integers of at least {least}, not {values}")

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of what the kernel covers, holes included."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output image. Raises ValueError when the kernel does not fit even once."""
        top, left, bottom, right = self.pads
        (eh, ew), (sh, sw) = self.extent, self.stride
        rows, columns = (height + top + bottom - eh) // sh + 1, (width + left + right - ew) // sw + 1
        if rows < 1 or columns < 1 or height + top + bottom < eh or width + left + right < ew:
            raise ValueError(
                f"a kernel of {eh} x {ew} does not fit an image of {height} x {width} with pads {self.pads}"
            )
        return rows, columns

    def sees_everywhere(self, height: int, width: int) -> bool:
        """Whether no output pixel sees the padding only."""
        for axis, (size, count) in enumerate(zip((height, width), self.output(height, width), strict=True)):
            first = np.arange(count)[:, None] * self.stride[axis] - self.pads[axis]
            rows = first + np.arange(self.kernel[axis]) * self.dilation[axis]
            if not ((rows >= 0) & (rows < size)).any(axis=1).all():
                return False
        return True

    def patches(self, x: np.ndarray, pad_value: int) -> np.ndarray:
        """What each output pixel sees: shape (batch, rows, columns, kernel height, kernel width, channels).

        ``x`` has shape (batch, height, width, channels). The result may be a view.
        """
        top, left, bottom, right = self.pads
        rows, columns = self.output(*x.shape[1:3])
        (eh, ew), (sh, sw), (dh, dw) = self.extent, self.stride, self.dilation
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad_value)
        views = np.lib.stride_tricks.sliding_window_view(padded, (eh, ew), axis=(1, 2))
        chosen = views[:, : (rows - 1) * sh + 1 : sh, : (columns - 1) * sw + 1 : sw, :, ::dh, ::dw]
        return chosen.transpose(0, 1, 2, 4, 5, 3)


def widened(kind: IntType, value: int) -> IntType:
    """The smallest type that holds ``kind`` and ``value``: what a window reads when its padding is ``value``."""
    if kind.contains(IntType(value, value)):
        return kind
    return IntType(min(kind.lo, value), max(kind.hi, value))
