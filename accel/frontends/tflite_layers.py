"""Layers with weights: CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.

The products are of the file's own integers. What the zero points and the bias add is a constant of each channel, since
the image is padded with its zero point: it goes into the activation behind.
"""

from __future__ import annotations

import numpy as np

from accel.frontends.errors import RefusalError
from accel.frontends.tflite_arithmetic import (
    clipping,
    convolution,
    fits,
    requantized,
)
from accel.frontends.tflite_arithmetic import (
    fully_connected as scaled,
)
from accel.frontends.tflite_file import EXPORT, FileOperator, FileTensor
from accel.frontends.tflite_network import Network, Value, constant, without_batch
from accel.graph import Conv, Dense, IntType, Window
from accel.graph.steps import Step

SAME, VALID = 0, 1  # Padding


def conv_2d(network: Network, op: FileOperator, name: str) -> Value:
    x, weights = network.read(op), constant(op, 1, "the filter")
    if x.tensor.shape == x.shape[2:] and weights.shape[1:] == x.shape == (1, 1, x.tensor.size):
        return pixel(network, op, name, numbers(weights)[:, 0, 0])
    x = network.image(op)
    if len(weights.shape) != 4 or not weights.shape[3] or x.shape[2] % weights.shape[3]:
        raise RefusalError(f"filter of shape {list(weights.shape)} cannot follow an image of shape {x.shape}", EXPORT)
    return convolved(network, op, name, numbers(weights), x.shape[2] // weights.shape[3])


def depthwise_conv_2d(network: Network, op: FileOperator, name: str) -> Value:
    """A group for each input channel; the filter is (1, height, width, input channels * multiplier)."""
    x, weights = network.image(op), constant(op, 1, "the filter")
    if len(weights.shape) != 4 or weights.shape[0] != 1 or weights.shape[3] % x.shape[2]:
        raise RefusalError(f"filter of shape {list(weights.shape)} cannot follow an image of shape {x.shape}", EXPORT)
    return convolved(network, op, name, numbers(weights).transpose(3, 1, 2, 0), x.shape[2])


def fully_connected(network: Network, op: FileOperator, name: str) -> Value:
    """Of a vector, or of an image made flat; of each pixel where the layer is only as wide as the channels."""
    x, weights = network.read(op), constant(op, 1, "the filter")
    if op.option("WeightsFormat"):
        raise RefusalError("has its weights shuffled", EXPORT)
    if len(weights.shape) != 2:
        raise RefusalError(f"weights of shape {list(weights.shape)} are no matrix", EXPORT)
    filters = numbers(weights)
    products = network.unique(f"{name}_products")
    layer: Conv | Dense
    if x.tensor.size == weights.shape[1]:
        layer = Dense(products, (x.tensor.name,), products, filters, weight_type(filters))
    else:
        if len(x.tensor.shape) != 3 or not x.tensor.shape[2] == x.shape[-1] == weights.shape[1]:
            raise RefusalError(
                f"weights of shape {list(weights.shape)} cannot follow shape {x.shape}, computed as {x.tensor.shape}",
                "they must be as wide as the tensor or as its channels",
            )
        filters = filters[:, None, None, :]
        layer = Conv(products, (x.tensor.name,), products, filters, weight_type(filters), Window((1, 1)))
    scale = scaled(x.like, weights, op.outputs[0], len(filters))
    return finished(network, op, name, layer, scale)


def pixel(network: Network, op: FileOperator, name: str, filters: np.ndarray) -> Value:
    """A convolution of 1 x 1 over the one pixel that a vector was made; ``filters`` are (outputs, inputs)."""
    x, products = network.read(op), network.unique(f"{name}_products")
    layer = Dense(products, (x.tensor.name,), products, filters, weight_type(filters))
    return finished(network, op, name, layer, convolution(x.like, constant(op, 1, ""), op.outputs[0], len(filters)))


def convolved(network: Network, op: FileOperator, name: str, filters: np.ndarray, groups: int) -> Value:
    """``filters`` are (outputs, height, width, input channels of a group)."""
    x = network.image(op)
    dilation = (op.option("DilationHFactor"), op.option("DilationWFactor"))
    window = window_of(op, filters.shape[1:3], x.shape, dilation)
    products = network.unique(f"{name}_products")
    kind, source = weight_type(filters), (x.tensor.name,)
    layer = Conv(products, source, products, filters, kind, window, groups, x.zero_point)
    return finished(network, op, name, layer, convolution(x.like, constant(op, 1, ""), op.outputs[0], len(filters)))


def finished(network: Network, op: FileOperator, name: str, layer: Conv | Dense, scale: tuple[Step, ...]) -> Value:
    """Bias, zero points, scale and fused activation function behind the sums of products."""
    x, y = network.read(op), op.outputs[0]
    sums = network.emit(layer, x.tensor)
    channels = len(layer.weights)
    offset = bias(op, channels) - x.zero_point * layer.weights.reshape(channels, -1).sum(axis=1)
    kind = clipping(y, op.option("FusedActivationFunction"))
    steps = requantized(offset, scale, y.meaning[1], kind)
    fits(steps, layer.minima(x.tensor.type), layer.maxima(x.tensor.type))
    return Value(network.activate(sums, steps, kind, name), y, without_batch(y))


def numbers(weights: FileTensor) -> np.ndarray:
    """The weights less their zero point, int64."""
    assert weights.data is not None
    kind = weights.integers
    if weights.type != "uint8" and weights.zero_point.any():
        raise RefusalError(f"weights {weights.name!r} of type int8 have zero points that are not 0", EXPORT)
    if weights.zero_point.size != 1 and weights.type == "uint8":
        raise RefusalError(f"weights {weights.name!r} of type uint8 have {weights.zero_point.size} scales", EXPORT)
    if (
        not weights.scale.size
        or not weights.size
        or not kind.contains(IntType(int(weights.zero_point.min()), int(weights.zero_point.max())))
    ):
        raise RefusalError(f"weights {weights.name!r} have no scale, no element, or a wrong zero point", EXPORT)
    return weights.data.astype(np.int64) - int(weights.zero_point[0])


def weight_type(filters: np.ndarray) -> IntType:
    """The interval of the weights, at least -1..1."""
    return IntType(min(int(filters.min()), -1), max(int(filters.max()), 1))


def bias(op: FileOperator, channels: int) -> np.ndarray:
    """The layer's bias, int64 of shape (channels,); zeros where it has none."""
    if len(op.inputs) < 3 or op.inputs[2] is None:
        return np.zeros(channels, dtype=np.int64)
    found = constant(op, 2, "the bias")
    assert found.data is not None
    if found.type != "int32" or found.size != channels:
        raise RefusalError(f"bias {found.name!r} is {found.type}{list(found.shape)}, not int32 of {channels}", EXPORT)
    return found.data.reshape(-1).astype(np.int64)


def window_of(
    op: FileOperator, kernel: tuple[int, ...], shape: tuple[int, ...], dilation: tuple[int, int] = (1, 1)
) -> Window:
    """The operator's window over an image of ``shape``; SAME pads so that strides divide the image, more behind."""
    kh, kw = kernel
    strides = (op.option("StrideH"), op.option("StrideW"))
    if op.option("Padding") not in (SAME, VALID):
        raise RefusalError(f"has padding {op.option('Padding')}", "SAME and VALID can be read")
    if op.option("Padding") == VALID:
        return Window((kh, kw), strides, dilation)
    before, behind = [], []
    for size, taps, stride, holes in zip(shape[:2], (kh, kw), strides, dilation, strict=True):
        missing = max(0, (-(-size // stride) - 1) * stride + (taps - 1) * holes + 1 - size)
        before.append(missing // 2)
        behind.append(missing - missing // 2)
    return Window((kh, kw), strides, dilation, (*before, *behind))  # type: ignore[arg-type]
