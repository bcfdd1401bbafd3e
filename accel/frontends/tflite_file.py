"""The TFLite file as plain records: tensors and operators of its one graph. Distrust of the file's form is here."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tflite

from accel.frontends.errors import FrontendError, RefusalError
from accel.frontends.onnx_file import LARGEST
from accel.graph import Affine, IntType
from accel.graph.steps import rationals

EXPORT = "convert the model again with full integer quantization, one input and one output"
MAGIC = b"TFL3"  # at byte 4
MOST = 2**16  # operators, tensors or buffers; MLPerf Tiny's largest model has 89 tensors


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


OPERATORS = _names(tflite.BuiltinOperator)
TYPES = {number: name.lower() for number, name in _names(tflite.TensorType).items()}
DTYPES = {name: np.dtype(name) for name in ("int8", "uint8", "int16", "int32", "int64", "float32")}
INTEGERS = {"int8": IntType(-128, 127), "uint8": IntType(0, 255)}
#: Where an operator keeps its options, and which of them are read.
OPTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "ADD": (tflite.AddOptions, ("FusedActivationFunction",)),
    "AVERAGE_POOL_2D": (
        tflite.Pool2DOptions,
        ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "CONCATENATION": (tflite.ConcatenationOptions, ("Axis", "FusedActivationFunction")),
    "CONV_2D": (
        tflite.Conv2DOptions,
        ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "DEPTHWISE_CONV_2D": (
        tflite.DepthwiseConv2DOptions,
        ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "FULLY_CONNECTED": (tflite.FullyConnectedOptions, ("FusedActivationFunction", "WeightsFormat")),
    "SOFTMAX": (tflite.SoftmaxOptions, ("Beta",)),
}
OPTIONS["MAX_POOL_2D"] = OPTIONS["AVERAGE_POOL_2D"]
#: What flatbuffers, struct and numpy raise where a file lies about its own lengths, offsets and texts.
LIES = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, struct.error)


@dataclass(frozen=True, eq=False)
class FileTensor:
    """One tensor: ``real = scale * (q - zero_point)``, one pair of numbers or one for each index of ``axis``.

    ``shape`` has the batch, as in the file. ``scale`` is float32, empty where the tensor is not quantized; ``data`` is
    None for what is computed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    data: np.ndarray | None

    @property
    def integers(self) -> IntType:
        """All values of its type. Raises RefusalError for types other than int8 and uint8."""
        if self.type not in INTEGERS:
            raise RefusalError(f"tensor {self.name!r} is of type {self.type}, not int8 or uint8", EXPORT)
        return INTEGERS[self.type]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def meaning(self) -> tuple[np.float32, int]:
        """Scale and zero point of the tensor as a whole. Raises RefusalError where there is no one pair."""
        if self.scale.size != 1:
            what = f"{self.scale.size} scales" if self.scale.size else "no scale"
            raise RefusalError(f"tensor {self.name!r} has {what}, where one is needed", EXPORT)
        return np.float32(self.scale[0]), int(self.zero_point[0])

    def affine(self, shift: int = 0) -> Affine:
        """What integers ``q - shift`` mean."""
        scale, zero_point = self.meaning
        (exact,) = rationals([scale])
        return Affine((exact,), (exact * (shift - zero_point),))


@dataclass(frozen=True, eq=False)
class FileOperator:
    """One operator; an input that is left out is None. It is called by the name of its first output."""

    kind: str
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.outputs[0].name if self.outputs else "without output"

    @property
    def source(self) -> FileTensor:
        """The first input."""
        if not self.inputs or (tensor := self.inputs[0]) is None:
            raise RefusalError("has no input", EXPORT)
        return tensor

    def option(self, name: str) -> Any:
        if name not in self.options:
            raise RefusalError(f"has no option {name}", EXPORT)
        return self.options[name]


@dataclass(frozen=True, eq=False)
class FileModel:
    """What the file holds."""

    file: str
    operators: tuple[FileOperator, ...]
    input: FileTensor
    output: FileTensor


def read(file: str, content: bytes) -> FileModel:
    """Reads the file's content. Raises FrontendError."""
    try:
        return _model(file, content)
    except FrontendError:
        raise
    except RefusalError as refusal:
        raise FrontendError(refusal.reason, refusal.hint, file=file) from refusal
    except LIES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FrontendError(f"is not a readable TFLite file ({reason})", EXPORT, file=file) from error


def _model(file: str, content: bytes) -> FileModel:
    model = tflite.Model.GetRootAs(content, 0)
    if not model.SubgraphsLength() or not model.Subgraphs(0).OperatorsLength():
        raise RefusalError("holds no operators", EXPORT)
    graph = model.Subgraphs(0)
    for what, count in (("operators", graph.OperatorsLength()), ("tensors", graph.TensorsLength())):
        if count > MOST:
            raise RefusalError(f"holds {count} {what}", f"at most {MOST} can be read")
    tensors = list(_tensors(file, model, content, graph))
    inputs, outputs = (
        [tensors[i] for i in (vector if count else ())]
        for vector, count in (
            (graph.InputsAsNumpy(), graph.InputsLength()),
            (graph.OutputsAsNumpy(), graph.OutputsLength()),
        )
    )
    for what, found in (("input", inputs), ("output", outputs)):
        if len(found) != 1:
            names = ", ".join(each.name for each in found) or "none"
            raise RefusalError(f"must have one {what}, not {len(found)} ({names})", EXPORT)
    operators = tuple(_operator(model, graph.Operators(i), tensors) for i in range(graph.OperatorsLength()))
    return FileModel(file, operators, inputs[0], outputs[0])


def _tensors(file: str, model: tflite.Model, content: bytes, graph: tflite.SubGraph) -> Iterator[FileTensor]:
    """The graph's tensors. Raises FrontendError, which names the first operator that has the tensor."""
    for index in range(graph.TensorsLength()):
        try:
            yield _tensor(model, content, graph.Tensors(index), index)
        except RefusalError as refusal:
            place = {}
            for operator in map(graph.Operators, range(graph.OperatorsLength())):
                inputs, outputs = _ends(operator)
                if index in (*inputs, *outputs):
                    place = {"node": _name(graph.Tensors(outputs[0]), outputs[0]) if outputs else "without output"}
                    place["operator"] = _kind(model, operator)
                    break
            raise FrontendError(refusal.reason, refusal.hint, file=file, **place) from refusal


def _name(tensor: tflite.Tensor, index: int) -> str:
    """A tensor that operators were fused into has all their names."""
    return (tensor.Name() or b"").decode().split(";")[0] or f"tensor_{index}"


def _tensor(model: tflite.Model, content: bytes, tensor: tflite.Tensor, index: int) -> FileTensor:
    name = _name(tensor, index)
    kind = TYPES.get(tensor.Type(), str(tensor.Type()))
    shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    if any(n < 0 for n in shape):
        what = "whose batch is dynamic" if min(shape[1:], default=0) >= 0 else "whose size is not fixed"
        raise RefusalError(f"tensor {name!r} has shape {list(shape)}, {what}", "convert for a batch of one")
    if math.prod(shape) > LARGEST:
        raise RefusalError(f"tensor {name!r} has shape {list(shape)}", f"at most {LARGEST} elements fit")
    if tensor.Sparsity() is not None or tensor.IsVariable():
        what = "variable" if tensor.IsVariable() else "sparse"
        raise RefusalError(f"tensor {name!r} is {what}", "convert the model with dense constants and without state")
    scale, zero_point, axis = _quantization(name, tensor.Quantization())
    raw = _bytes(model, content, tensor.Buffer(), name)
    data = None if raw is None else _array(raw, name, kind, shape)
    return FileTensor(index, name, shape, kind, scale, zero_point, axis, data)


def _quantization(name: str, found: tflite.QuantizationParameters | None) -> tuple[np.ndarray, np.ndarray, int]:
    if found is None or not found.ScaleLength():
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    scale = np.array(found.ScaleAsNumpy(), dtype=np.float32)
    zero_point = np.array(found.ZeroPointAsNumpy() if found.ZeroPointLength() else [0] * scale.size, dtype=np.int64)
    if zero_point.size != scale.size:
        raise RefusalError(f"tensor {name!r} has {scale.size} scales but {zero_point.size} zero points", EXPORT)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise RefusalError(f"tensor {name!r} has a scale that is not a positive number", EXPORT)
    return scale, zero_point, int(found.QuantizedDimension())


def _bytes(model: tflite.Model, content: bytes, number: int, name: str) -> bytes | None:
    """A constant's bytes; None where the buffer is empty. Buffers may lie behind the flatbuffer, by offset."""
    if number >= model.BuffersLength():
        raise RefusalError(f"tensor {name!r} refers to buffer {number} of {model.BuffersLength()}", EXPORT)
    buffer = model.Buffers(number)
    if buffer.Offset() > 1:
        return content[buffer.Offset() : buffer.Offset() + buffer.Size()]
    return buffer.DataAsNumpy().tobytes() if buffer.DataLength() else None


def _array(raw: bytes, name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    if kind not in DTYPES:
        raise RefusalError(f"constant {name!r} is of type {kind}", f"these can be read: {', '.join(DTYPES)}")
    dtype = DTYPES[kind].newbyteorder("<")
    if len(raw) != dtype.itemsize * math.prod(shape):
        raise RefusalError(f"constant {name!r} has {len(raw)} bytes, which do not make shape {list(shape)}", EXPORT)
    return np.frombuffer(raw, dtype).reshape(shape).astype(DTYPES[kind])


def _operator(model: tflite.Model, operator: tflite.Operator, tensors: list[FileTensor]) -> FileOperator:
    kind, (inputs, outputs) = _kind(model, operator), _ends(operator)
    return FileOperator(
        kind,
        tuple(None if i < 0 else tensors[i] for i in inputs),
        tuple(tensors[i] for i in outputs),
        dict(_options(kind, operator)),
    )


def _kind(model: tflite.Model, operator: tflite.Operator) -> str:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Codes up to 126 are in the older, narrower field as well, and in old files only there.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    kind = OPERATORS.get(number, f"operator {number}")
    if kind == "CUSTOM":
        kind = f"CUSTOM {(code.CustomCode() or b'').decode()}"
    return kind


def _ends(operator: tflite.Operator) -> tuple[list[int], list[int]]:
    """The numbers of its inputs and outputs."""
    inputs = operator.InputsAsNumpy().tolist() if operator.InputsLength() else []
    outputs = operator.OutputsAsNumpy().tolist() if operator.OutputsLength() else []
    return inputs, outputs


def _options(kind: str, operator: tflite.Operator) -> Iterator[tuple[str, Any]]:
    table = operator.BuiltinOptions()
    if kind not in OPTIONS or table is None:
        return
    record, names = OPTIONS[kind]
    if operator.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, record.__name__):
        return
    options = record()
    options.Init(table.Bytes, table.Pos)
    for name in names:
        yield name, getattr(options, name)()
