"""The interpreter: walks the file's nodes and builds the graph from what they mean, in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from accel.frontends import conv, dense, elementwise, heads, images, layout, pools, quantizers, resize
from accel.frontends.builder import WIDEST, Builder, InputIsImageError, operand
from accel.frontends.errors import FrontendError, RefusalError
from accel.frontends.onnx_file import Model, Node
from accel.frontends.values import Constant, Headed, Stream, Value
from accel.graph import Affine, Dense, Graph, IntType, Operator, Tensor
from accel.graph.steps import rationals

Handler = Callable[[Builder, Node, tuple[Value | None, ...]], Value | tuple[Value | None, ...]]
HANDLERS: dict[str, Handler] = {
    **elementwise.HANDLERS,
    **quantizers.HANDLERS,
    **layout.HANDLERS,
    **dense.HANDLERS,
    **conv.HANDLERS,
    **pools.HANDLERS,
    **resize.HANDLERS,
    **heads.HANDLERS,
}
#: Exporters of Quant, BipolarQuant and Trunc have used each of these; '' is ONNX itself.
DOMAINS = {"", "ai.onnx", "onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general"}
#: Conv, MaxPool and BatchNormalization of qonnx on tensors that have their channels last.
CHANNELS_LAST = "qonnx.custom_op.channels_last"
WIRE_TYPES = {
    f"{'' if signed else 'u'}int{n}": IntType.of(width=n, signed=signed) for n in (8, 16) for signed in (False, True)
}
LARGEST_INPUT = 2**18  # elements; an image of 224 x 224 has fewer
MOST_MOVED = 1024  # elements of an output that are put in order: a weight of a bit for each pair of them
LONG = 1024  # bits of a Fraction that only a root can have


@dataclass(frozen=True)
class Encoding:
    """What the integers on the wire mean: ``real = scale * q + offset``."""

    type: IntType
    scale: Fraction
    offset: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.type.width > WIDEST:
            raise ValueError(f"encoding: the wire carries integers of at most {WIDEST} bits, not {self.type}")
        for name in ("scale", "offset"):
            try:
                object.__setattr__(self, name, Fraction(getattr(self, name)))
            except (OverflowError, TypeError, ValueError):
                raise ValueError(f"encoding: {name} must be a finite number, not {getattr(self, name)!r}") from None
        if self.scale <= 0:
            raise ValueError(f"encoding: scale must be positive, not {self.scale}")


def interpret(model: Model, *, name: str, encoding: Encoding | None, head: str | None) -> Graph:
    """The graph of the model. Raises FrontendError."""
    try:
        return _interpret(model, Builder(model.input), name=name, encoding=encoding, head=head)
    except InputIsImageError as found:
        return _interpret(model, Builder(model.input, found.order), name=name, encoding=encoding, head=head)


def _interpret(model: Model, builder: Builder, *, name: str, encoding: Encoding | None, head: str | None) -> Graph:
    try:
        values: dict[str, Value] = {key: Constant.of(array) for key, array in model.constants.items()}
        values[model.input] = _input(model, encoding)
        order = sort(model, values)
    except RefusalError as refusal:
        raise FrontendError(refusal.reason, refusal.hint, file=model.file) from refusal
    for node in order:
        with _Named(model, node.name, node.operator):
            results = _handle(builder, node, tuple(_value(values, name) for name in node.inputs))
            for output, value in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=False):
                if output and value is not None:
                    values[output] = value
                if isinstance(value, Stream):
                    builder.spend((value.scale.size + value.offset.size) // 8)
    with _Named(model, model.output, "output"):
        return _finish(builder, _value(values, model.output), name, head, _mover(model.output, order, values))


class _Named:
    """Gives errors the node they come from. What a handler does not expect is a malformed node, not a crash."""

    def __init__(self, model: Model, node: str, operator: str) -> None:
        self.place = {"file": model.file, "node": node, "operator": operator}

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RefusalError):
            raise FrontendError(error.reason, error.hint, **self.place) from error
        if isinstance(error, (ArithmeticError, LookupError, MemoryError, TypeError, ValueError)):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FrontendError(f"is malformed ({reason})", "export the model again", **self.place) from error


def _handle(builder: Builder, node: Node, inputs: tuple[Value | None, ...]) -> Value | tuple[Value | None, ...]:
    last = node.domain == CHANNELS_LAST and node.operator in ("Conv", "MaxPool", "BatchNormalization")
    if (node.domain not in DOMAINS and not last) or node.operator not in HANDLERS:
        domain = f" of domain {node.domain!r}" if node.domain not in DOMAINS else ""
        raise RefusalError(f"this operator{domain} cannot be read", f"one of these can: {', '.join(sorted(HANDLERS))}")
    handler = HANDLERS[node.operator]
    if not last:
        return handler(builder, node, inputs)
    moved = 2 if node.operator == "Conv" else 1  # a convolution's weights have their channels last as well
    first = [layout.move(value, lambda a: np.moveaxis(a, -1, 1), whole_axes=True) for value in inputs[:moved]]
    result = handler(builder, node, (*first, *inputs[moved:]))
    assert not isinstance(result, tuple)
    return layout.move(result, lambda a: np.moveaxis(a, 1, -1))


def _value(values: dict[str, Value], name: str) -> Value | None:
    if name and name not in values:
        raise RefusalError(f"reads {name!r}, an output that is not supported", "use the first output of that operator")
    return values[name] if name else None


def _input(model: Model, encoding: Encoding | None) -> Stream:
    """The network's input, with a batch of one."""
    shape = model.shape[1:] if len(model.shape) > 1 else model.shape
    if len(model.shape) > 1 and model.shape[0] not in (None, 0, 1):
        raise RefusalError(f"input {model.input!r} has the batch size {model.shape[0]}", "export with the batch size 1")
    if not shape or any(n is None or n < 1 for n in shape):
        sizes = ", ".join("?" if n is None else str(n) for n in model.shape)
        raise RefusalError(f"input {model.input!r} has the shape ({sizes})", "export with a fixed shape (batch, ...)")
    fixed = tuple(n for n in shape if n is not None)
    size = math.prod(fixed)
    if size > LARGEST_INPUT:
        raise RefusalError(f"input {model.input!r} has {size} elements", f"at most {LARGEST_INPUT} fit")
    index = np.arange(size).reshape((1, *fixed) if len(model.shape) > 1 else fixed)
    if encoding is None and model.input_type in WIRE_TYPES:
        encoding = Encoding(WIRE_TYPES[model.input_type], Fraction(1))
    if encoding is None:
        return Stream(None, index)
    affine = Affine((encoding.scale,), (encoding.offset,))
    wire = Tensor(model.input, (size,), encoding.type, affine)
    return Stream(wire, index, (), encoding.type, rationals([encoding.scale]), rationals([encoding.offset]))


def sort(model: Model, known: dict[str, Value]) -> list[Node]:
    """The nodes that the output depends on, each after those that it reads. Raises RefusalError, also for cycles."""
    producers: dict[str, int] = {}
    for number, node in enumerate(model.nodes):
        for output in filter(None, node.outputs):
            if output in producers or output in known:
                raise RefusalError(f"tensor {output!r} is produced twice, the second time by node {node.name}")
            producers[output] = number
    order: list[Node] = []
    state: dict[int, str] = {}
    stack = [(model.output, "the network's output")]
    while stack:
        tensor, reader = stack[-1]
        number = producers.get(tensor, -1)
        if tensor not in known and number < 0:
            raise RefusalError(f"tensor {tensor!r} is read by {reader}, but nothing produces it")
        if tensor in known or state.get(number) == "done":
            stack.pop()
            continue
        node = model.nodes[number]
        waiting = [t for t in node.inputs if t and t not in known and state.get(producers.get(t, -1)) != "done"]
        if not waiting:
            state[number] = "done"
            order.append(node)
        elif state.get(number) == "open":
            raise RefusalError(f"node {node.name} ({node.operator}) depends on its own output")
        else:
            state[number] = "open"
            stack += [(t, f"node {node.name} ({node.operator})") for t in waiting]
    return order


def _mover(output: str, order: list[Node], values: dict[str, Value]) -> str:
    """The name of the last node on the way to the output that moves elements, or else of the output."""
    makers = {name: node for node in order for name in node.outputs if name}
    name = output
    while name in makers and makers[name].operator not in ("Flatten", "Reshape", "Transpose"):
        name = next((n for n in makers[name].inputs if isinstance(values.get(n), (Stream, Headed))), "")
    return makers[name].name if name in makers else output


def _finish(builder: Builder, value: Value | None, name: str, head: str | None, mover: str) -> Graph:
    """The graph that ends in ``value``; ``head`` replaces what the file does with the scores."""
    found = value.head if isinstance(value, Headed) else "scores"
    stream = operand(value.scores if isinstance(value, Headed) else value, Stream, "the output")
    head = head or found
    ranked = head == "argmax" or head.startswith(heads.TOP)
    result, affine = _output(builder, stream, mover, vector=ranked)
    if ranked:
        count = int(head.removeprefix(heads.TOP)) if head != "argmax" else 1
        result, affine = heads.rank(builder, result, affine, count), Affine()
        head = "argmax" if count == 1 else "scores"  # indices of the best classes are numbers like any others
    wire = builder.input
    if wire is None:
        raise RefusalError("does not depend on the input", "the network must compute something")
    return Graph(name, wire, result.name, _needed(builder.operators, result.name), head, affine)


def _output(builder: Builder, stream: Stream, mover: str, *, vector: bool) -> tuple[Tensor, Affine]:
    """The output in the file's order; an image leaves as all images do, channels innermost, unless it must not."""
    if stream.levels is None and stream.source is not None:
        raise RefusalError(
            "the output is not a multiple of integers: its last operators come after the last quantizer",
            "put a Quant node at the end, or remove those operators",
        )
    stream, result = builder.terms(stream)
    orders = [stream.index]
    if len(result.shape) == 3 and stream.index.ndim in (3, 4):
        orders.append(images.raster(stream.index))
    if all((order.ravel() != np.arange(order.size)).any() for order in orders) or (
        vector and result.size != result.shape[-1]
    ):
        stream, result = _moved(builder, stream, mover)
    return result, Affine(tuple(map(_shorter, stream.scale)), tuple(map(_shorter, stream.offset)))


def _moved(builder: Builder, stream: Stream, mover: str) -> tuple[Stream, Tensor]:
    """The stream's elements as a vector in the file's order.

    What holds all elements and reads them in any order is a dense layer, here one whose weights pick an element each.
    """
    if stream.index.size > MOST_MOVED or (stream.levels is not None and stream.levels.width > WIDEST):
        raise RefusalError(
            f"{mover} moves {stream.index.size} elements of type {stream.levels} into another order than they are made "
            f"in; at most {MOST_MOVED} of at most {WIDEST} bits can be moved",
            "end the network before it: an image may be the output",
        )
    stream, source = builder.integers(stream)
    weights = np.zeros((stream.index.size, source.size), dtype=np.int64)
    weights[np.arange(stream.index.size), stream.index.ravel()] = 1
    name = builder.unique(mover)
    result = builder.emit(Dense(name, (source.name,), name, weights, IntType(0, 1)), source)
    channels = stream.index.ravel() % source.shape[-1]
    scale, offset = (each if each.size == 1 else each[channels] for each in (stream.scale, stream.offset))
    return replace(stream, source=result, index=np.arange(result.size), scale=scale, offset=offset), result


def _shorter(number: Fraction) -> Fraction:
    """The number itself, or a float64 next to it if roots have made it long: what scores mean needs no more."""
    long = max(number.numerator.bit_length(), number.denominator.bit_length()) > LONG
    return Fraction(float(number)) if long else number


def _needed(operators: list[Operator], output: str) -> tuple[Operator, ...]:
    """The operators that the output depends on: a shape may have been taken of something else."""
    needed, kept = {output}, []
    for operator in reversed(operators):
        if operator.output in needed:
            needed |= set(operator.inputs)
            kept.append(operator)
    return tuple(reversed(kept))
