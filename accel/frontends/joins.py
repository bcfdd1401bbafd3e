"""Where branches meet: the sum of two streams, and streams side by side along an axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accel.frontends.builder import Builder
from accel.frontends.errors import RefusalError
from accel.frontends.images import as_image
from accel.frontends.onnx_file import Node
from accel.frontends.values import Stream, broadcast, checked
from accel.graph import Add, Concat

WIDEST_SUM = 48  # bits that a DSP48E1 adds
ORDER = "remove the Reshape or Transpose from one of the branches"


def total(builder: Builder, node: Node, a: Stream, b: Stream, sign: int) -> Stream:
    """``a + sign * b``: integers times two whole numbers, whose ratio is that of the scales."""
    shape = broadcast(a.shape, b.shape)
    if a.index.size != b.index.size or np.prod(shape) != a.index.size:
        raise RefusalError(f"adds tensors of the shapes {a.shape} and {b.shape}", "only equal shapes can be added")
    a, b = (replace(each, index=each.index.reshape(shape)) for each in (a, b))
    (a, first), (b, second) = (builder.terms(each) for each in _alike(builder, a, b))
    if first.shape != second.shape or (a.index != b.index).any():
        raise RefusalError("adds tensors whose elements lie in different orders", ORDER)
    multipliers, scale = _measure(a.scale, b.scale * sign)
    name = builder.unique(node.name)
    operator = Add(name, (first.name, second.name), name, multipliers)
    width = operator.bounds(first.type, second.type).width
    if width > WIDEST_SUM:
        raise RefusalError(
            f"adds {first.type} times {multipliers[0]} to {second.type} times {multipliers[1]}, "
            f"as their scales demand: sums of {width} bits",
            f"quantize both with one scale, or with scales whose sum fits {WIDEST_SUM} bits",
        )
    sums = builder.emit(operator, first, second)
    offset = checked(a.offset + b.offset * sign)
    return Stream(source=sums, index=a.index, levels=sums.type, scale=checked(scale), offset=offset, name=name)


def _alike(builder: Builder, a: Stream, b: Stream) -> tuple[Stream, Stream]:
    """Both streams, the network's input among them laid as the image that it is added to."""
    a, b = (builder.on_wire(each.closed()) for each in (a, b))
    for wire, other in ((a, b), (b, a)):
        if wire.source is None or not builder.is_input(wire.source) or len(wire.source.shape) == 3:
            continue
        if other.source is not None and len(other.source.shape) == 3:
            order = np.empty(wire.index.size, dtype=np.int64)
            order[other.index.ravel()] = wire.index.ravel()
            builder.see(order.reshape(other.source.shape))
        elif len(wire.shape) in (3, 4):
            as_image(builder, wire)
    return builder.on_wire(a), builder.on_wire(b)


def _measure(a: np.ndarray, b: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Whole numbers (p, q) and a scale, such that ``p * scale`` is ``a`` and ``q * scale`` is ``b`` in each channel."""
    if any(s == 0 for s in (*a, *b)):
        raise RefusalError("adds a tensor that was multiplied by zero")
    ratio, *others = {x / y for x, y in zip(*np.broadcast_arrays(a, b), strict=True)}
    if others:
        raise RefusalError(
            f"adds tensors whose scales have another ratio in each channel ({len(others) + 1} of them)",
            "quantize both with one scale",
        )
    sign = 1 if ratio > 0 else -1
    return (sign * ratio.numerator, sign * ratio.denominator), a / (sign * ratio.numerator)


def side_by_side(builder: Builder, node: Node, streams: list[Stream], axis: int) -> Stream:
    """The tensors' channels one after another; scales and offsets go with them."""
    shapes = [each.shape for each in streams]
    rank = len(shapes[0])
    if not -rank <= axis < rank or len({(*s[: axis % rank], *s[axis % rank + 1 :]) for s in shapes}) > 1:
        raise RefusalError(f"cannot join the shapes {', '.join(map(str, shapes))} along axis {axis}")
    axis %= rank
    parts = []
    for each in streams:
        wire = each.source is not None and builder.is_input(each.source)
        parts.append(builder.terms(as_image(builder, each, last=axis > 1) if wire and rank in (3, 4) else each))
    if len({source.shape[:-1] for _, source in parts}) > 1:
        raise RefusalError("joins tensors whose elements lie in different orders", ORDER)
    name = builder.unique(node.name)
    sources = [source for _, source in parts]
    joined = builder.emit(Concat(name, tuple(source.name for source in sources), name), *sources)
    index, begin = [], 0
    for stream, source in parts:
        pixel, channel = np.divmod(stream.index, source.shape[-1])
        index.append(pixel * joined.shape[-1] + begin + channel)
        begin += source.shape[-1]
    return Stream(
        source=joined,
        index=np.concatenate(index, axis=axis),
        levels=joined.type,
        scale=_joined([stream.scale for stream, _ in parts], [source.shape[-1] for source in sources]),
        offset=_joined([stream.offset for stream, _ in parts], [source.shape[-1] for source in sources]),
        name=name,
    )


def _joined(numbers: list[np.ndarray], channels: list[int]) -> np.ndarray:
    if all(v == numbers[0][0] for each in numbers for v in each):
        return numbers[0][:1]
    return np.concatenate([np.broadcast_to(each, n) for each, n in zip(numbers, channels, strict=True)])
