"""Images: how operators that know pixels see a file's tensors, whatever the order of these, and where their zero is."""

from __future__ import annotations

import math

import numpy as np

from accel.frontends.builder import WIDEST, Builder
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import Node
from accel.frontends.values import Stream
from accel.graph import IntType, Tensor, Window
from accel.graph.window import widened


def pixels(builder: Builder, x: Stream, *, widest: int = WIDEST) -> tuple[Stream, Tensor]:
    """``Builder.integers`` of an image: the tensor has shape (H, W, C), and the stream means it, pixel by pixel.

    The file's tensor has shape (1, C, H, W) or, in a 1-D network, (1, C, W): H is 1 then. The network's input becomes
    an image by this. Raises RefusalError for vectors and for images whose pixels were moved.
    """
    return builder.integers(as_image(builder, x), widest)


def as_image(builder: Builder, x: Stream) -> Stream:
    """The stream with an image as its source, still with its pending steps."""
    order = channels_last(x.index)
    x = x.closed()
    if x.source is None:
        return x  # not quantized: ``Builder.integers`` tells so
    if x.source.name in ("", builder.input_name) and len(x.source.shape) == 1:
        builder.see(order)
        return builder.on_wire(x)
    if x.source.shape != order.shape or (order.ravel() != np.arange(order.size)).any():
        raise RefusalError(
            f"reads an image, but the elements of its input of shape {x.shape} were moved since an operator made them",
            "remove the Reshape or Transpose before it",
        )
    return x


def channels_last(index: np.ndarray) -> np.ndarray:
    """The index of a tensor of shape (1, C, H, W) or (1, C, W), with shape (H, W, C)."""
    if index.ndim not in (3, 4) or index.shape[0] != 1:
        raise RefusalError(
            f"reads an image, but its input has shape {index.shape}",
            "the shape must be (1, channels, height, width) or (1, channels, width)",
        )
    return np.moveaxis(index.reshape(index.shape[1], *((1, -1) if index.ndim == 3 else index.shape[2:])), 0, -1)


def channels_first(image: Tensor, rank: int) -> np.ndarray:
    """The index of a file's tensor of shape (1, C, H, W) or, for rank 3, (1, C, W) that means the image."""
    index = np.moveaxis(np.arange(image.size).reshape(image.shape), -1, 0)[None]
    return index[:, :, 0] if rank == 3 else index


def zero_level(x: Stream, levels: IntType, number: int = 0) -> int:
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


def window(node: Node, kernel: tuple[int, ...], size: tuple[int, int]) -> Window:
    """The geometry of a convolution or a pool on an image of ``size``; ``kernel`` has one or two dimensions."""
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
    if node.integer("ceil_mode", 0):
        pads = _rounded_up(size, stride, extent, pads)
    return Window(full, stride, dilation, pads)  # type: ignore[arg-type]


def _rounded_up(
    size: tuple[int, int], stride: tuple[int, int], extent: list[int], pads: tuple[int, ...]
) -> tuple[int, ...]:
    """Pads with which a last window that does not fit takes place, unless it begins behind the image."""
    ends = []
    for n, s, e, begin, end in zip(size, stride, extent, pads[:2], pads[2:], strict=True):
        last = -(-(n + begin + end - e) // s) * s
        last = last - s if last >= n + begin else last
        ends.append(max(end, last + e - n - begin))
    return (*pads[:2], *ends)
