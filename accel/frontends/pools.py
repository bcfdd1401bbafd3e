"""Pooling: the largest and the mean within windows, or over whole axes of the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accel.frontends.builder import Builder, arguments, operand
from accel.frontends.elementwise import Values
from accel.frontends.errors import RefusalError
from accel.frontends.images import pixels, places, unquantized, window, zero_level
from accel.frontends.onnx_file import Node
from accel.frontends.values import ZERO, Constant, Stream, Value, checked
from accel.graph import Activation, IntType, MaxPool, SumPool, Window
from accel.graph.concat import union
from accel.graph.steps import Linear, rationals


def pool(builder: Builder, node: Node, values: Values) -> Value:
    """MaxPool and AveragePool."""
    (x_,) = arguments(values, 1, 1)
    x = operand(x_, Stream, "the input")
    kernel = node.integers("kernel_shape")
    if kernel is None or len(kernel) not in (1, 2) or len(x.shape) != len(kernel) + 2:
        raise RefusalError(f"attribute kernel_shape {kernel} does not fit an input of shape {x.shape}")
    size = _size(x.shape)
    geometry = window(node, kernel, size, rounded_up=bool(node.integer("ceil_mode", 0)))
    if node.operator == "MaxPool":
        return largest(builder, node, x, geometry)
    border = "divides by fewer pixels at the border than inside"
    if geometry != window(node, kernel, size):
        raise RefusalError(f"has the attribute ceil_mode=1 and {border}", "export it with ceil_mode=0")
    if any(geometry.pads) and not node.integer("count_include_pad", 0):
        raise RefusalError(
            f"has the attribute count_include_pad=0 with the pads {list(geometry.pads)} and {border}",
            "average without padding, or with count_include_pad=1",
        )
    return total(builder, node, x, geometry, mean=True)


def global_pool(builder: Builder, node: Node, values: Values) -> Value:
    """GlobalMaxPool and GlobalAveragePool."""
    (x_,) = arguments(values, 1, 1)
    x = operand(x_, Stream, "the input")
    geometry = Window(_size(x.shape))
    if node.operator == "GlobalMaxPool":
        return largest(builder, node, x, geometry)
    return total(builder, node, x, geometry, mean=True)


def reduce(builder: Builder, node: Node, values: Values) -> Value:
    """ReduceMean, ReduceSum and ReduceMax over height, width or both; the axes are an input or an attribute."""
    x_, axes_ = arguments(values, 1, 2)
    x = operand(x_, Stream, "the input")
    rank = len(x.shape)
    given = node.integers("axes") if axes_ is None else operand(axes_, Constant, "the axes").integers("the axes")
    if any(not -rank <= a < rank for a in given or ()):
        raise RefusalError(f"axes {list(given or ())} are none of a tensor of shape {x.shape}")
    axes = {a % rank for a in given or range(rank)}
    if rank not in (3, 4) or 0 in axes or {1, rank - 1} <= axes:
        raise RefusalError(
            f"works along the axes {sorted(axes)} of shape {x.shape}", "only pixels can be pooled, not channels"
        )
    last = 1 in axes  # the file's tensor has its channels last
    image = tuple(range(1, rank - 1) if last else range(2, rank))
    height, width = (1, *(x.shape[a] if a in axes else 1 for a in image))[-2:]
    geometry = Window((height, width))
    if node.operator == "ReduceMax":
        result = largest(builder, node, x, geometry, last=last)
    else:
        result = total(builder, node, x, geometry, mean=node.operator == "ReduceMean", last=last)
    if node.integer("keepdims", 1):
        return result
    return replace(result, index=np.squeeze(result.index, tuple(axes)))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of an image of shape (1, C, H, W) or (1, C, W)."""
    if len(shape) not in (3, 4):
        raise RefusalError(f"pools a tensor of shape {shape}", "only images can be pooled")
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def largest(builder: Builder, node: Node, x: Stream, geometry: Window, *, last: bool = False) -> Stream:
    """MaxPool; where numbers fall as their integers rise, of negated integers."""
    rank = len(x.shape)
    x, source = unquantized(builder, x, last=last)
    falling = np.array([s < 0 for s in x.scale]) ^ Activation("", ("",), "", x.steps, source.type).falling
    if falling.any():
        sign = Linear(rationals(np.where(falling, -1, 1)), ZERO)
        kinds = [IntType(-source.type.hi, -source.type.lo, source.type.step)] + [source.type] * (not falling.all())
        flipped = Stream(source, x.index, (sign,), union(*kinds), name=f"{node.name}_sign")
        _, source = builder.integers(flipped, union(*kinds).width)
        x = replace(x, steps=(sign, *x.steps)) if x.steps else replace(x, scale=x.scale * sign.scale)
    name = builder.unique(node.name)
    pooled = builder.emit(MaxPool(name, (source.name,), name, geometry), source)
    levels = x.levels if x.steps else pooled.type
    return replace(x, source=pooled, index=places(pooled, rank, last=last), levels=levels, name=name)


def total(builder: Builder, node: Node, x: Stream, geometry: Window, *, mean: bool, last: bool = False) -> Stream:
    """The mean (or sum) of each window: a sum of integers, whose scale has the division in it."""
    rank = len(x.shape)
    x, source = pixels(builder, x, last=last)
    pad_value = zero_level(x, source.type) if any(geometry.pads) else 0
    name = builder.unique(node.name)
    sums = builder.emit(SumPool(name, (source.name,), name, geometry, pad_value), source)
    taps = rationals([geometry.taps])
    scale, offset = (x.scale / taps, x.offset) if mean else (x.scale, x.offset * taps)
    return Stream(
        source=sums,
        index=places(sums, rank, last=last),
        levels=sums.type,
        scale=checked(scale),
        offset=checked(offset),
        name=name,
    )


HANDLERS = {
    **dict.fromkeys(("MaxPool", "AveragePool"), pool),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool"), global_pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), reduce),
}
