"""Images: how operators that know pixels see a file's tensors, whatever the order of these, and where their zero is."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from accel.frontends.builder import WIDEST, Builder
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import Node
from accel.frontends.values import Stream
from accel.graph import IntType, Tensor, Window
from accel.graph.steps import Clip
from accel.graph.window import widened


def pixels(builder: Builder, x: Stream, *, last: bool = False) -> tuple[Stream, Tensor]:
    """``Builder.terms`` of an image: the tensor has shape (H, W, C), and the stream means it, pixel by pixel.

    The file's tensor has shape (1, C, H, W) or, in a 1-D network, (1, C, W): H is 1 then; with ``last`` its channels
    come last. The network's input becomes an image by this. Raises RefusalError for vectors and for images whose pixels
    were moved.
    """
    return builder.terms(as_image(builder, x, last=last))


def unquantized(builder: Builder, x: Stream, *, last: bool = False) -> tuple[Stream, Tensor]:
    """``pixels``, but accumulators whose quantizer comes later stay what they are, and the stream keeps their steps.

    It is for operators that may as well come before those steps as behind them. A ReLU alone is no quantizer.
    """
    x = as_image(builder, x, last=last)
    clipped = bool(x.steps) and all(isinstance(step, Clip) for step in x.steps)
    if x.source is None or (x.levels is not None and x.levels.width <= WIDEST and not clipped):
        return builder.integers(x)
    return x, builder.source(x)


def as_image(builder: Builder, x: Stream, *, last: bool = False) -> Stream:
    """The stream with an image as its source, still with its pending steps."""
    order = raster(x.index, last=last)
    x = builder.on_wire(x.closed())
    if x.source is None:
        return x  # not quantized: ``Builder.integers`` tells so
    if builder.is_input(x.source) and len(x.source.shape) == 1:
        builder.see(order)
        return builder.on_wire(x)
    if x.source.shape != order.shape or (raster(x.index, last=last).ravel() != np.arange(order.size)).any():
        raise RefusalError(
            f"reads an image, but the elements of its input of shape {x.shape} were moved since an operator made them",
            "remove the Reshape or Transpose before it",
        )
    return x


def raster(index: np.ndarray, *, last: bool = False) -> np.ndarray:
    """The index of a tensor of shape (1, C, H, W) or (1, C, W), with shape (H, W, C); channels are ``last`` in some."""
    if index.ndim not in (3, 4) or index.shape[0] != 1:
        raise RefusalError(
            f"reads an image, but its input has shape {index.shape}",
            "the shape must be (1, channels, height, width) or (1, channels, width)",
        )
    image = index[0] if last else np.moveaxis(index[0], 0, -1)
    return image[None] if index.ndim == 3 else image


def places(image: Tensor, rank: int, *, last: bool = False) -> np.ndarray:
    """The index of a file's tensor of that rank which means the image: what ``raster`` undoes."""
    index = np.arange(image.size).reshape(image.shape)
    index = index[0] if rank == 3 else index
    return (index if last else np.moveaxis(index, -1, 0))[None]


def zero_level(x: Stream, levels: IntType, number: Fraction = Fraction(0)) -> int:
    """The integer that means the real number 0 (or another) in every channel: what a border of an image is made of."""
    if any(s == 0 for s in x.scale):
        raise RefusalError("pads a tensor that was multiplied by zero")
    found = {(number - o) / s for s, o in zip(*np.broadcast_arrays(x.scale, x.offset), strict=True)}
    level = found.pop()
    if found or level.denominator != 1 or widened(levels, int(level)).width > WIDEST:
        raise RefusalError(
            f"pads with {number}, which is no level of its input ({levels})",
            f"quantize the input so that {number} is one of its levels, the same in each channel",
        )
    return int(level)


def spatial(node: Node, name: str, default: int, dims: int) -> tuple[int, int]:
    """An attribute with a number for height and width (or, in a 1-D network, for width)."""
    given = node.integers(name) or (default,) * dims
    if len(given) != dims:
        raise RefusalError(f"attribute {name} must have {dims} numbers, not {list(given)}")
    return (default, given[0]) if dims == 1 else (given[0], given[1])


def window(node: Node, kernel: tuple[int, ...], size: tuple[int, int], *, rounded_up: bool = False) -> Window:
    """The geometry of a convolution or a pool on an image of ``size``; ``kernel`` has one or two dimensions.

    ``rounded_up`` is the ceil_mode of pools: a last window that does not fit takes place, unless it begins behind the
    image.
    """
    dims = len(kernel)
    stride, dilation = (spatial(node, name, 1, dims) for name in ("strides", "dilations"))
    given = node.integers("pads") or (0,) * 2 * dims
    if len(given) != 2 * dims or min(given) < 0:
        raise RefusalError(f"has the pads {list(given)}", f"pads must be {2 * dims} numbers of at least 0")
    full = (1, *kernel) if dims == 1 else kernel
    pads = (0, given[0], 0, given[1]) if dims == 1 else given
    extent = [(k - 1) * d + 1 for k, d in zip(full, dilation, strict=True)]
    automatic = node.text("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max((math.ceil(n / s) - 1) * s + e - n, 0) for n, s, e in zip(size, stride, extent, strict=True)]
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        pads = (*small, *large) if automatic == "SAME_UPPER" else (*large, *small)
    elif automatic not in ("NOTSET", "VALID"):
        raise RefusalError(f"has the auto_pad {automatic!r}", "use NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    elif automatic == "VALID":
        pads = (0, 0, 0, 0)
    if rounded_up:
        pads = (*pads[:2], *map(_end, size, stride, extent, pads[:2], pads[2:]))
    return Window(full, stride, dilation, pads)  # type: ignore[arg-type]


def _end(size: int, stride: int, extent: int, begin: int, end: int) -> int:
    """The padding at the end with which a last window that does not fit takes place."""
    last = -(-(size + begin + end - extent) // stride) * stride
    last = last - stride if last >= size + begin else last
    return max(end, last + extent - size - begin)
