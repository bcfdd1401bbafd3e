"""The graph under construction from a TFLite file: what each tensor of the file is in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from accel.frontends.errors import RefusalError
from accel.frontends.interpreter import Encoding
from accel.frontends.tflite_arithmetic import quantized, reach, shifted
from accel.frontends.tflite_file import EXPORT, FileModel, FileOperator, FileTensor
from accel.graph import Activation, Affine, Graph, IntType, Operator, Table, Tensor
from accel.graph.names import free_name
from accel.graph.steps import Step


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the file as the graph has it: its integers are those of ``tensor`` plus ``shift``.

    ``shape`` is the file's without the batch; ``tensor.shape`` may be another one of the same raster order. ``like``
    says what the integers mean, and differs from the file's tensor only where that is a float that was dequantized.
    """

    tensor: Tensor
    like: FileTensor
    shape: tuple[int, ...]
    shift: int = 0

    @property
    def zero_point(self) -> int:
        """The zero point of the graph's integers."""
        return self.like.meaning[1] - self.shift

    @property
    def scale(self) -> np.float32:
        return self.like.meaning[0]


@dataclass(frozen=True)
class Probabilities:
    """The end of the network: TFLite's softmax of the scores. ``like`` says what its integers mean."""

    scores: Value
    like: FileTensor


@dataclass(frozen=True)
class RealInput:
    """An input of floats, which no QUANTIZE has read yet; ``tensor`` is what RESHAPE made of it."""

    tensor: FileTensor
    encoding: Encoding | None


class Network:
    """Collects operators; ``values`` holds what the file's tensors, by index, have become.

    ``head`` is what was asked for instead of the file's end. ``first`` is what the first QUANTIZE of an input of floats
    makes of it.
    """

    def __init__(self, model: FileModel, encoding: Encoding | None, head: str | None) -> None:
        self.model, self.head = model, head
        self.operators: list[Operator] = []
        self.values: dict[int, Value | Probabilities | RealInput] = {}
        self.input = Tensor("input", (), IntType(0, 1))
        self.first: FileTensor | None = None
        self._names = {"input"}
        x = model.input
        if x.type == "float32":
            self.values[x.index] = RealInput(x, encoding)
        else:
            self.values[x.index] = self.wire(x, x, encoding)

    def quantized_input(self, x: RealInput, y: FileTensor) -> Value:
        """What a QUANTIZE makes of the input's floats.

        Without an encoding the wire carries the integers of the first QUANTIZE. Another one can be read where it makes
        the same of the floats, but for a constant (int8 and uint8); else those integers do not tell what it makes.
        """
        if self.first is None:
            self.first = y
            return self.wire(x.tensor, y, x.encoding)
        if x.encoding is not None:
            return self.coded(x.tensor, y, x.encoding)
        (scale, zero_point), (other, other_zero) = self.first.meaning, y.meaning
        if not same_levels(self.first, y):
            raise RefusalError(
                f"makes {y.type} of scale {other}, zero point {other_zero} of the input {x.tensor.name!r}, "
                f"of which {self.first.name!r} is {self.first.type} of scale {scale}, zero point {zero_point}",
                "quantize the input once, or register the model with an encoding, the integers that the wire carries",
            )
        return Value(self.input, y, without_batch(x.tensor), other_zero - zero_point)

    def wire(self, x: FileTensor, like: FileTensor, encoding: Encoding | None) -> Value:
        """The input ``x`` of the file, as integers that mean what those of ``like`` mean."""
        shape = image_shape(without_batch(x))
        if encoding is None:
            self.input = Tensor("input", shape, like.integers, like.affine())
            return Value(self.input, like, without_batch(x))
        self.input = Tensor("input", shape, encoding.type, Affine((encoding.scale,), (encoding.offset,)))
        return self.coded(x, like, encoding)

    def coded(self, x: FileTensor, like: FileTensor, encoding: Encoding) -> Value:
        """The same where the graph's input is what the encoding says.

        Where the file's integers are those plus a constant, only the constant is kept; otherwise a Table quantizes as
        the file's QUANTIZE would.
        """
        kind = encoding.type
        numbers = np.arange(kind.lo, kind.hi + 1, kind.step)
        reals = np.array([float(encoding.scale * int(n) + encoding.offset) for n in numbers], dtype=np.float32)
        integers = quantized(reals, like)
        differences = np.unique(integers - numbers)
        if differences.size == 1:
            return Value(self.input, like, without_batch(x), int(differences[0]))
        return self.looked_up(Value(self.input, like, without_batch(x)), integers, like, "quantize")

    def unique(self, name: str) -> str:
        """A name for an operator and its output that nothing else has."""
        free = free_name(name, self._names)
        self._names.add(free)
        return free

    def emit(self, operator: Operator, *sources: Tensor) -> Tensor:
        """Appends the operator and returns its output."""
        self.operators.append(operator)
        return operator.infer(*sources)

    def activate(self, source: Tensor, steps: tuple[Step, ...], out: IntType, name: str) -> Tensor:
        """Appends an Activation. Raises RefusalError where sums may overflow TFLite's 32 bits."""
        name = self.unique(name)
        return self.emit(Activation(name, (source.name,), name, steps, out), source)

    def looked_up(self, x: Value, results: np.ndarray, like: FileTensor, name: str) -> Value:
        """Appends a Table with a result for each integer that ``x.tensor`` can be; they mean what ``like`` says."""
        kind = IntType(int(results.min()), max(int(results.max()), int(results.min()) + 1))
        name = self.unique(name)
        table = Table(name, (x.tensor.name,), name, results.reshape(1, -1), x.tensor.type, kind)
        return Value(self.emit(table, x.tensor), like, x.shape)

    def numbers(self, x: Value) -> np.ndarray:
        """Every integer of the file that ``x`` can be, in the order of a Table."""
        kind = x.tensor.type
        return np.arange(kind.lo, kind.hi + 1, kind.step) + x.shift

    def plain(self, x: Value, name: str) -> Value:
        """The same with the file's integers in the graph."""
        if not x.shift:
            return x
        steps = (shifted(x.shift),)
        return replace(x, tensor=self.activate(x.tensor, steps, reach(steps, x.tensor.type), name), shift=0)

    def read(self, op: FileOperator, position: int = 0) -> Value:
        """An input of the operator that depends on the network's input."""
        if position >= len(op.inputs) or (tensor := op.inputs[position]) is None:
            raise RefusalError(f"has no input {position}", EXPORT)
        value = self.values.get(tensor.index)
        if isinstance(value, RealInput):
            raise RefusalError(f"reads the input {tensor.name!r}, which is not quantized", EXPORT)
        if isinstance(value, Probabilities):
            raise RefusalError(f"reads {tensor.name!r}, which a SOFTMAX made", "SOFTMAX is read at the end only")
        if value is None:
            what = "is constant" if tensor.data is not None else "no earlier operator makes"
            raise RefusalError(f"reads tensor {tensor.name!r}, which {what}", "fold constants before converting")
        # A RESHAPE may have changed the input's shape since.
        return replace(value, tensor=self.input) if value.tensor.name == self.input.name else value

    def image(self, op: FileOperator, position: int = 0) -> Value:
        """The same, which must be an image (height, width, channels) in the graph too."""
        value = self.read(op, position)
        if len(value.shape) != 3 or value.tensor.shape != value.shape:
            raise RefusalError(
                f"needs an image, but tensor {value.like.name!r} has shape {value.shape} "
                f"and was computed as {value.tensor.shape}",
                "an image may be made flat, but a vector can be made only one pixel, for a CONV_2D of 1 x 1",
            )
        return value

    def graph(self, name: str, output: Value, head: str) -> Graph:
        operators = needed(self.operators, output.tensor.name)
        return Graph(name, self.input, output.tensor.name, operators, head, output.like.affine(output.shift))


def constant(op: FileOperator, position: int, what: str) -> FileTensor:
    """An input of the operator that the file has as numbers."""
    tensor = op.inputs[position] if position < len(op.inputs) else None
    if tensor is None or tensor.data is None:
        name = "is missing" if tensor is None else f"({tensor.name!r}) is computed"
        raise RefusalError(f"{what} {name}, where a constant is needed", EXPORT)
    return tensor


def without_batch(tensor: FileTensor) -> tuple[int, ...]:
    """The tensor's shape for one sample."""
    if len(tensor.shape) > 1 and tensor.shape[0] != 1:
        raise RefusalError(f"tensor {tensor.name!r} has shape {list(tensor.shape)}", "convert for a batch of one")
    return tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape


def same_levels(a: FileTensor, b: FileTensor) -> bool:
    """Whether two tensors have the same real numbers, so that their integers differ by a constant only."""
    (scale, zero_point), (other, other_zero) = a.meaning, b.meaning
    return scale == other and zero_point - a.integers.lo == other_zero - b.integers.lo


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """As the graph has it: vectors and images, nothing between."""
    return shape if len(shape) in (1, 3) else (1, *shape) if len(shape) == 2 else (int(np.prod(shape)),)


def needed(operators: list[Operator], output: str) -> tuple[Operator, ...]:
    """The operators that the output depends on."""
    wanted, kept = {output}, []
    for operator in reversed(operators):
        if operator.output in wanted:
            wanted |= set(operator.inputs)
            kept.append(operator)
    return tuple(reversed(kept))
