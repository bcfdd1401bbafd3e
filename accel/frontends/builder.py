"""The graph under construction: integer operators in a row."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import LARGEST
from accel.frontends.values import Constant, Stream, Value
from accel.graph import Activation, GraphError, IntType, Operator, Tensor
from accel.graph.graph import content
from accel.graph.names import free_name

WIDEST = 16  # bits of weights and activations
WIDEST_TERM = 32  # bits of accumulators that are added without a quantizer between
BUDGET = 2**21  # elements of constants in exact arithmetic: seconds
Kind = TypeVar("Kind", Constant, Stream)


class InputIsImageError(Exception):
    """Raised where an operator reads as an image the input that an earlier one has read as a vector."""

    def __init__(self, order: np.ndarray) -> None:
        super().__init__()
        self.order = order


class Builder:
    """Collects operators; ``input`` is the graph's input as soon as an operator reads it.

    ``order``, of shape (H, W, C), tells where the wire has each of the input's elements if that is an image.
    """

    def __init__(self, input_name: str, order: np.ndarray | None = None) -> None:
        self.input_name = input_name
        self.input: Tensor | None = None
        self.order = order
        self.operators: list[Operator] = []
        self._quantized: dict[bytes, Tensor] = {}
        self._names = {input_name}
        self._budget = BUDGET

    def spend(self, elements: int) -> None:
        """Counts exact arithmetic on constants, so that no file takes for ever."""
        self._budget -= elements
        if self._budget < 0:
            raise RefusalError("takes too much arithmetic on constants", "fold the constants before exporting")

    def unique(self, name: str) -> str:
        """A name for an operator and its output that nothing else has."""
        free = free_name(name, self._names)
        self._names.add(free)
        return free

    def emit(self, operator: Operator, *sources: Tensor) -> Tensor:
        """Appends the operator and returns its output. Raises RefusalError where the operator cannot follow these."""
        try:
            output = operator.infer(*sources)
        except GraphError as error:
            raise RefusalError(str(error).removeprefix(f"{operator.name}: "), "change the model") from error
        if output.size > LARGEST:
            raise RefusalError(f"makes a tensor of shape {output.shape}", f"at most {LARGEST} elements fit")
        self.operators.append(operator)
        return output

    def integers(self, stream: Stream, widest: int = WIDEST) -> tuple[Stream, Tensor]:
        """The stream without pending steps, and its source: what it holds has become a tensor of the graph.

        Streams that hold the same share one tensor.
        """
        stream = self.on_wire(stream.closed())
        if stream.source is None:
            raise RefusalError(
                "reads the input, which is not quantized",
                "quantize the input in the model, or say what integers the wire carries (Encoding)",
            )
        if stream.levels is None:
            raise RefusalError(
                "needs integers, but what it reads is not quantized after its last operator",
                "put a Quant node before it",
            )
        if stream.levels.width > widest:
            raise RefusalError(
                f"reads integers of {stream.levels.width} bits ({stream.levels})",
                f"quantize them to {widest} bits or fewer",
            )
        levels = stream.levels
        if levels.levels == 1:  # there are no wires of no width
            levels = IntType(levels.lo, levels.lo + 1)
        source = self.source(stream)
        if stream.steps and not _is_identity(stream, source):
            key = b"".join(content((source.name, stream.steps, levels)))
            if key not in self._quantized:
                name = self.unique(stream.name)
                self._quantized[key] = self.emit(Activation(name, (source.name,), name, stream.steps, levels), source)
            source = self._quantized[key]
        return replace(stream, source=source, steps=()), source

    def terms(self, stream: Stream) -> tuple[Stream, Tensor]:
        """``integers`` for what is only added or moved: sums and accumulators need no quantizer before."""
        return self.integers(stream, WIDEST if stream.steps else WIDEST_TERM)

    def is_input(self, source: Tensor) -> bool:
        return source.name in ("", self.input_name)

    def on_wire(self, stream: Stream) -> Stream:
        """The stream with its elements as they are on the wire, if the input is read as an image elsewhere."""
        source = stream.source
        if self.order is None or source is None or not self.is_input(source) or len(source.shape) == 3:
            return stream
        return stream.relaid(self.order)

    def see(self, order: np.ndarray) -> None:
        """Says that the input, a vector until now, is an image. Raises InputIsImageError if it is too late for that."""
        if self.input is not None:
            raise InputIsImageError(order)
        self.order = order

    def source(self, stream: Stream) -> Tensor:
        """The tensor that a closed stream reads; it becomes the graph's input for good if that is what it is."""
        source = stream.source
        assert source is not None
        if not self.is_input(source):
            return source
        source = replace(source, name=self.input_name)
        if self.input is not None and self.input != source:
            raise RefusalError(
                "reads the input in another quantization than an earlier node", "quantize the input once"
            )
        self.input = source
        return source


def _is_identity(stream: Stream, source: Tensor) -> bool:
    """Whether the steps change no value that the source can take, so that no operator is needed."""
    if source.type != stream.levels or source.type.levels > 2**WIDEST:
        return False
    values = np.arange(source.type.lo, source.type.hi + 1, source.type.step)
    activation = Activation("", ("",), "", stream.steps, stream.levels)
    if activation.channels > 1:  # test the ends of each channel first: the whole takes memory
        ends = np.repeat(values[[0, -1], None], source.shape[-1], axis=1)
        if (activation.run(ends) != ends).any():
            return False
    return bool((activation.run(np.repeat(values[:, None], activation.channels, axis=1)) == values[:, None]).all())


def operand(value: Value | None, kind: type[Kind], what: str) -> Kind:
    """The value as a constant or a stream, whichever the operator needs there."""
    if isinstance(value, kind):
        return value
    if value is None:
        raise RefusalError(f"{what} is missing")
    if isinstance(value, Constant):
        raise RefusalError(f"{what} must depend on the input, but is constant", "fold constants before exporting")
    if kind is Constant:
        raise RefusalError(
            f"{what} must be constant, but depends on the input", "branches may join in Add, Sub and Concat only"
        )
    raise RefusalError(f"{what} comes from a Softmax, ArgMax or TopK", "these are read only at the end of the network")


def arguments(values: tuple[Value | None, ...], least: int, most: int) -> tuple[Value | None, ...]:
    """The operator's inputs, with None for those left out at the end."""
    if not least <= len(values) <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        raise RefusalError(f"has {len(values)} inputs instead of {expected}")
    return values + (None,) * (most - len(values))


def per_axis(constant: Constant, axis: int, rank: int, what: str) -> np.ndarray:
    """A vector of Fractions along one axis (or a scalar), shaped to broadcast against a tensor of that rank."""
    if constant.numbers.size == 1:
        return constant.exact().reshape(1)
    if len(constant.shape) != 1 or not constant.numbers.size or not -rank <= axis < rank:
        raise RefusalError(f"{what} of shape {constant.shape} do not fit axis {axis} of {rank} dimensions")
    shape = [1] * rank
    shape[axis] = constant.numbers.size
    return constant.exact().reshape(shape)
