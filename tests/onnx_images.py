"""ONNX networks of images for tests: a generator for hypothesis. `onnx_networks` evaluates them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx_networks import NUMBERS, Network, function, quantizer, vector, weights, windows

#: What a drawn network may ask for that no integer graph can do.
REFUSALS = re.compile(
    r"is no level of its input|not integers any more with those|have another ratio in each channel|sums of \d+ bits|"
    r"at most 1024 of at most 16 bits can be moved|ranks (channels whose scales|scores that were multiplied by zero)"
)


@dataclass
class _Image:
    """An image of the file while a network is drawn: its name and its shape without the batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def sides(self) -> int:
        return len(self.shape) - 1


def _windowed(draw: st.DrawFn, image: _Image, *, most: int, padded: bool) -> tuple[list[int], dict[str, Any]]:
    """A kernel that fits the image at least once, and the attributes of what slides it."""
    kernel, strides, dilations, begins, ends = [], [], [], [], []
    for n in image.shape[1:]:
        k, d = draw(st.integers(1, most)), draw(st.sampled_from([1, 1, 1, 2]))
        begin, end = (draw(st.integers(0, k - 1)) if padded else 0 for _ in range(2))
        if (k - 1) * d + 1 > n + begin + end:
            k, d, begin, end = 1, 1, 0, 0
        values = (k, draw(st.sampled_from([1, 1, 2, 3])), d, begin, end)
        for each, value in zip((kernel, strides, dilations, begins, ends), values, strict=True):
            each.append(value)
    return kernel, {"strides": strides, "dilations": dilations, "pads": [*begins, *ends]}


def _size(net: Network, image: _Image, kernel: list[int], attributes: dict[str, Any]) -> tuple[int, ...]:
    encoded = {k: v.encode() if isinstance(v, str) else v for k, v in attributes.items()}
    return tuple(map(len, windows(image.shape[1:], tuple(kernel), encoded)))


def convolved(draw: st.DrawFn, net: Network, x: _Image, *, same: bool = False) -> _Image:
    """Appends a Conv, grouped or not; ``same`` keeps the shape."""
    groups = draw(st.sampled_from([1, x.channels])) if x.channels > 1 else 1
    outputs = x.channels if same else groups * draw(st.integers(1, 4 if groups == 1 else 2))
    kernel, attributes = _windowed(draw, x, most=3, padded=True)
    if same:
        kernel = [min(k, n) for k, n in zip(kernel, x.shape[1:], strict=True)]
        attributes = {"auto_pad": draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))}
    each = x.channels // groups
    w = weights(draw, net, math.prod(kernel) * each, outputs)
    w = net.add("Transpose", w, perm=[1, 0])
    w = net.add("Reshape", w, np.array([outputs, each, *kernel]))
    inputs = [x.name, w]
    if draw(st.booleans()):
        inputs.append(net.constant(vector(draw, NUMBERS, outputs, True)))
    y = net.add("Conv", *inputs, group=groups, **attributes)
    return _Image(y, (outputs, *_size(net, x, kernel, attributes)))


def activated(draw: st.DrawFn, net: Network, x: _Image) -> _Image:
    name = function(draw, net, x.name, x.channels, x.sides)
    return _Image(quantizer(draw, net, name, channels=x.channels, sides=x.sides), x.shape)


def pooled(draw: st.DrawFn, net: Network, x: _Image) -> _Image:
    """Appends a MaxPool or an AveragePool, the latter with its quantizer."""
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel, attributes = _windowed(draw, x, most=3, padded=True)
    attributes["ceil_mode"] = draw(st.integers(0, 1)) if kind == "MaxPool" or not any(attributes["pads"]) else 0
    if kind == "AveragePool":
        attributes["count_include_pad"] = 1
        attributes.pop("dilations")
        if any(k > n for k, n in zip(kernel, x.shape[1:], strict=True)):
            kernel, attributes["pads"] = [1] * len(kernel), [0] * 2 * len(kernel)
        floor = _size(net, x, kernel, attributes | {"ceil_mode": 0})
        if floor != _size(net, x, kernel, attributes):
            attributes["ceil_mode"] = 0
    y = net.add(kind, x.name, kernel_shape=kernel, **attributes)
    y = _Image(y, (x.channels, *_size(net, x, kernel, attributes)))
    return activated(draw, net, y) if kind == "AveragePool" else y


@st.composite
def image_networks(draw: st.DrawFn) -> tuple[Network, str]:
    """Small networks on images: branches, strides, odd sizes, single channels and pixels; and their output."""
    sides = draw(st.sampled_from([2, 2, 2, 1]))
    shape = (draw(st.integers(1, 3)), *(draw(st.integers(1, 6)) for _ in range(sides)))
    net = Network((1, *shape))
    x = _Image("x", shape)
    if draw(st.sampled_from([False, False, True])):
        net.channels_last, net.shape = True, (1, *shape[1:], shape[0])
        x = _Image(net.add("Transpose", quantizer(draw, net, "x"), perm=[0, sides + 1, *range(1, sides + 1)]), shape)
    else:
        x = _Image(quantizer(draw, net, "x"), shape)
    for _ in range(draw(st.integers(1, 4))):
        match draw(st.sampled_from(["conv", "conv", "conv pool", "pool", "residual", "concat", "upsample", "pad"])):
            case "conv":
                x = activated(draw, net, convolved(draw, net, x))
            case "conv pool":  # the pool before the quantizer
                y = convolved(draw, net, x)
                y = _Image(function(draw, net, y.name, y.channels, y.sides), y.shape)
                y = _Image(net.add("GlobalMaxPool", y.name), (y.channels, *(1,) * sides))
                x = activated(draw, net, y)
            case "pool":
                x = pooled(draw, net, x)
            case "residual":
                y = convolved(draw, net, x, same=True)
                y = activated(draw, net, y) if draw(st.booleans()) else y
                names = (x.name, y.name) if draw(st.booleans()) else (y.name, x.name)
                x = activated(draw, net, _Image(net.add(draw(st.sampled_from(["Add", "Sub"])), *names), x.shape))
            case "concat":
                y = activated(draw, net, convolved(draw, net, x, same=True))
                y = _Image(net.add("Concat", x.name, y.name, axis=1), (2 * x.channels, *x.shape[1:]))
                x = activated(draw, net, y)
            case "upsample" if max(x.shape[1:]) < 5:
                factors = [draw(st.integers(1, 2)) for _ in range(sides)]
                name = net.add(
                    "Resize",
                    x.name,
                    "",
                    np.array([1, 1, *factors], dtype=np.float32),
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                )
                x = _Image(name, (x.channels, *(n * f for n, f in zip(x.shape[1:], factors, strict=True))))
            case "pad":
                pads = [0, 0, *(draw(st.integers(0, 1)) for _ in range(sides))] * 2
                name = net.add("Pad", x.name, np.array(pads), np.float32(0))
                x = _Image(name, (x.channels, *(n + 2 * p for n, p in zip(x.shape[1:], pads[2:], strict=False))))
    match draw(st.sampled_from(["image", "flat image", "flat", "mean"])):
        case "image":
            return net, x.name
        case "flat image":
            return net, net.add("Flatten", x.name, axis=1)
        case "mean":
            x = _Image(net.add("GlobalAveragePool", x.name), (x.channels, *(1,) * sides))
            if draw(st.booleans()):
                return net, net.add("Flatten", x.name, axis=1)
            x = activated(draw, net, x)
    flat = net.add("Flatten", x.name, axis=1)
    return net, net.add("MatMul", flat, weights(draw, net, math.prod(x.shape), draw(st.integers(1, 3))))
