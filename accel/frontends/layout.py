"""Layout: operators that move elements without changing them, and the constant subgraphs that compute shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from accel.frontends import joins
from accel.frontends.builder import Builder, arguments, operand
from accel.frontends.elementwise import Values
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import LARGEST, Node
from accel.frontends.values import Constant, Headed, Stream, Value


def move(value: Value | None, change: Callable[[np.ndarray], np.ndarray], *, whole_axes: bool = False) -> Value:
    """The value with its elements in other places: a constant's own, or a stream's index."""
    if isinstance(value, Constant):
        return value.arranged(change, whole_axes=whole_axes)
    if isinstance(value, Headed):
        return value  # what comes after ArgMax only shapes its one result
    stream = operand(value, Stream, "the input")
    return replace(stream, index=change(stream.index))


def extent(value: Value | None) -> tuple[int, ...]:
    if isinstance(value, Headed):
        return (1,)
    if not isinstance(value, (Constant, Stream)):
        raise RefusalError("the input is missing")
    return value.shape


def reshape(builder: Builder, node: Node, values: Values) -> Value:
    x, target_ = arguments(values, 1, 2)
    given = node.integers("shape") if target_ is None else operand(target_, Constant, "the shape").integers("the shape")
    if given is None:
        raise RefusalError("the shape is missing")
    shape = extent(x)
    copied = node.integer("allowzero", 0) == 0
    target = [shape[i] if copied and n == 0 and i < len(shape) else n for i, n in enumerate(given)]
    return move(x, lambda a: _shaped(a, tuple(target)))


def _shaped(array: np.ndarray, target: tuple[int, ...]) -> np.ndarray:
    try:
        return array.reshape(target)
    except ValueError:
        raise RefusalError(f"cannot shape {array.shape} as {list(target)}", "export with the batch size 1") from None


def flatten(builder: Builder, node: Node, values: Values) -> Value:
    (x,) = arguments(values, 1, 1)
    shape, axis = extent(x), node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise RefusalError(f"axis {axis} is none of a tensor of shape {shape}")
    outer = math.prod(shape[:axis]) if axis else 1
    return move(x, lambda a: a.reshape(outer, -1))


def transpose(builder: Builder, node: Node, values: Values) -> Value:
    (x,) = arguments(values, 1, 1)
    rank = len(extent(x))
    order = node.integers("perm") or tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise RefusalError(f"perm {list(order)} is no order of {rank} dimensions")
    return move(x, lambda a: a.transpose(order), whole_axes=True)


def squeeze(builder: Builder, node: Node, values: Values) -> Value:
    """Squeeze and Unsqueeze, with the axes as an input or, in old files, as an attribute."""
    x, axes_ = arguments(values, 1, 2)
    axes = node.integers("axes") if axes_ is None else operand(axes_, Constant, "the axes").integers("the axes")
    shape = extent(x)
    if node.operator == "Squeeze":
        axes = tuple(i for i, n in enumerate(shape) if n == 1) if axes is None else axes
        if any(not -len(shape) <= a < len(shape) or shape[a] != 1 for a in axes):
            raise RefusalError(f"cannot squeeze the axes {list(axes)} of shape {shape}")
        return move(x, lambda a: np.squeeze(a, axes), whole_axes=True)
    rank = len(shape) + len(axes or ())
    if not axes or any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) < len(axes):
        raise RefusalError(f"cannot insert the axes {list(axes or ())} into shape {shape}")
    return move(x, lambda a: np.expand_dims(a, axes), whole_axes=True)


def shape_of(builder: Builder, node: Node, values: Values) -> Value:
    (x,) = arguments(values, 1, 1)
    shape = extent(x)
    start, end = node.integer("start", 0), node.integer("end", len(shape))
    return Constant.of(np.array(shape[start:end], dtype=np.int64))


def gather(builder: Builder, node: Node, values: Values) -> Value:
    data_, indices_ = arguments(values, 2, 2)
    data, indices = operand(data_, Constant, "the data"), operand(indices_, Constant, "the indices")
    axis = node.integer("axis", 0)
    if not indices.is_integer or not -len(data.shape) <= axis < len(data.shape):
        raise RefusalError(f"cannot gather along axis {axis} of a tensor of shape {data.shape}")
    if data.numbers.size * indices.numbers.size > LARGEST:
        raise RefusalError("gathers too much", f"at most {LARGEST} elements fit")
    return data.arranged(lambda a: np.asarray(np.take(a, indices.numbers.astype(np.int64), axis=axis)))


def concat(builder: Builder, node: Node, values: Values) -> Value:
    if any(isinstance(value, Stream) for value in values):
        streams = [operand(value, Stream, f"input {i}") for i, value in enumerate(values)]
        return joins.side_by_side(builder, node, streams, node.integer("axis", 0))
    parts = [operand(value, Constant, f"input {i}") for i, value in enumerate(values)]
    builder.spend(sum(part.numbers.size for part in parts))
    exact = all(part.is_plain for part in parts)
    arrays = [part.numbers if exact else part.exact() for part in parts]
    return Constant.of(np.concatenate(arrays, axis=node.integer("axis", 0)))


def slice_(builder: Builder, node: Node, values: Values) -> Value:
    data_, *given = arguments(values, 1, 5)
    data = operand(data_, Constant, "the data")
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (
        node.integers(name) if value is None else operand(value, Constant, name).integers(name)
        for value, name in zip(given, names, strict=True)
    )
    if starts is None or ends is None:
        raise RefusalError("starts or ends are missing")
    cuts = [slice(None)] * len(data.shape)
    axes, steps = axes or tuple(range(len(starts))), steps or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
    return data.arranged(lambda a: a[tuple(cuts)])


def constant(builder: Builder, node: Node, values: Values) -> Value:
    if len(node.attributes) == 1:
        ((name, value),) = node.attributes.items()
        if name == "value" and isinstance(value, np.ndarray):
            return Constant.of(value)
        if name in ("value_int", "value_ints") and isinstance(value, (int, list)):
            return Constant.of(np.array(value, dtype=np.int64))
        if name in ("value_float", "value_floats") and isinstance(value, (float, list)):
            return Constant.of(np.array(value, dtype=np.float32))
    raise RefusalError("has no value that can be read", "store it as an initializer")


def constant_of_shape(builder: Builder, node: Node, values: Values) -> Value:
    (shape_,) = arguments(values, 1, 1)
    shape = operand(shape_, Constant, "the shape").integers("the shape")
    if any(n < 0 for n in shape) or math.prod(shape) > LARGEST:
        raise RefusalError(f"makes a tensor of shape {list(shape)}", f"at most {LARGEST} elements fit")
    value = node.attributes.get("value", np.zeros(1, dtype=np.float32))
    return Constant.of(np.full(shape, value))


def cast(builder: Builder, node: Node, values: Values) -> Value:
    """Cast: rounds constants; of a stream only what changes no value."""
    (x,) = arguments(values, 1, 1)
    kinds = {
        1: np.float32,
        11: np.float64,
        2: np.uint8,
        3: np.int8,
        4: np.uint16,
        5: np.int16,
        6: np.int32,
        7: np.int64,
    }
    kind = kinds.get(node.integer("to", 0))
    if kind is None:
        raise RefusalError(f"casts to data type {node.integer('to', 0)}", "cast to FLOAT, DOUBLE or an integer type")
    if isinstance(x, Constant) and x.is_plain and x.numbers.dtype != object:
        if not np.isfinite(x.numbers).all():
            raise RefusalError("casts NaN or infinity")
        return Constant.of(x.numbers.astype(kind))
    if isinstance(x, Headed):
        return x
    if x is None or not np.issubdtype(kind, np.floating):
        raise RefusalError("casts to integers what is not constant", "quantize with Quant or QuantizeLinear")
    return x


HANDLERS = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    **dict.fromkeys(("Squeeze", "Unsqueeze"), squeeze),
    "Shape": shape_of,
    "Gather": gather,
    "Concat": concat,
    "Slice": slice_,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Cast": cast,
}
