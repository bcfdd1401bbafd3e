"""Conv with constant weights, in one or two dimensions, grouped and depthwise too."""

from __future__ import annotations

import numpy as np

from accel.frontends.builder import Builder, arguments, operand
from accel.frontends.dense import contribution, integer_weights, weight_type
from accel.frontends.elementwise import Values
from accel.frontends.errors import RefusalError
from accel.frontends.images import as_image, places, window, zero_level
from accel.frontends.onnx_file import Node
from accel.frontends.values import Constant, Stream, Value, checked
from accel.graph import Conv


def conv(builder: Builder, node: Node, values: Values) -> Value:
    """``y[m] = bias[m] + sum of x * weights[m]`` over each window; weights of shape (M, C / groups, ...)."""
    x_, weights_, bias = arguments(values, 2, 3)
    x, weights = operand(x_, Stream, "the input"), operand(weights_, Constant, "the weights")
    shape, groups = weights.shape, node.integer("group", 1)
    if len(shape) not in (3, 4) or 0 in shape or len(x.shape) != len(shape):
        raise RefusalError(
            f"convolves a tensor of shape {x.shape} with weights of shape {shape}",
            "only images (1, channels, height, width) or rows (1, channels, width) can be convolved",
        )
    outputs, each, *kernel = shape
    if groups < 1 or outputs % groups or x.shape[1] != each * groups:
        raise RefusalError(f"weights of shape {shape} in {groups} groups do not fit an input of shape {x.shape}")
    if (node.integers("kernel_shape") or tuple(kernel)) != tuple(kernel):
        raise RefusalError(f"attribute kernel_shape does not fit weights of shape {shape}")
    x, source = builder.integers(as_image(builder, x))
    if any(s == 0 for s in x.scale):
        raise RefusalError("reads a tensor that was multiplied by zero")
    geometry = window(node, tuple(kernel), source.shape[:2])  # type: ignore[arg-type]

    def seen(numbers: np.ndarray) -> np.ndarray:
        """A constant of each input channel as what each weight of the matrix meets: shape (1 or K, 1 or M)."""
        if numbers.size == 1:
            return numbers.reshape(1, 1)
        channels = numbers.reshape(groups, each)
        taps = int(np.prod(kernel))
        if groups == 1:
            return channels.repeat(taps, axis=1).T
        if each == 1:
            return channels.repeat(outputs // groups, axis=0).T
        return channels.repeat(outputs // groups, axis=0).repeat(taps, axis=1).T

    by_output = weights.scale.size == 1 or weights.scale.shape[0] == weights.scale.size
    matrix = weights.arranged(lambda a: a.reshape(a.shape[0], -1).T, whole_axes=by_output)
    integers, scale = integer_weights(builder, matrix, seen(x.scale))
    kernels = np.moveaxis(integers.reshape(outputs, each, *((1, -1) if len(kernel) == 1 else kernel)), 1, -1)
    pad_value = zero_level(x, source.type) if any(geometry.pads) else 0
    name = builder.unique(node.name)
    operator = Conv(
        name, (source.name,), name, np.ascontiguousarray(kernels), weight_type(kernels), geometry, groups, pad_value
    )
    accumulators = builder.emit(operator, source)
    result = Stream(
        source=accumulators,
        index=places(accumulators, len(shape)),
        levels=accumulators.type,
        scale=checked(scale),
        offset=checked(contribution(integers, scale, seen(x.offset / x.scale))),
        name=name,
    )
    if bias is None:
        return result
    numbers = operand(bias, Constant, "the bias").exact()
    if numbers.size not in (1, outputs):
        raise RefusalError(f"a bias of shape {numbers.shape} does not fit {outputs} outputs")
    return result.linear(offset=numbers.reshape(-1, *(1,) * len(kernel)))


HANDLERS = {"Conv": conv}
