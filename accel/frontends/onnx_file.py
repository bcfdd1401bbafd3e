"""The ONNX file as plain records: nodes, constants, one input and one output. Distrust of the file's form is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from accel.frontends.errors import FrontendError, RefusalError

LARGEST = 2**22  # elements of one tensor; MLPerf Tiny's largest have 2**16
EXPORT = "export the model again as QONNX or QCDQ ONNX, with one input and one output"
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
SIGNED = {TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64}
UNSIGNED = {TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64, TensorProto.BOOL}
NUMERIC = FLOATS | SIGNED | UNSIGNED


@dataclass(frozen=True)
class Node:
    """One operator of the file; an input that is left out has the name ''."""

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise RefusalError(f"attribute {name} must be an integer, not {value!r}")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)):
            raise RefusalError(f"attribute {name} must be a number, not {value!r}")
        return value

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise RefusalError(f"attribute {name} must be a string, not {value!r}")
        return value

    def integers(self, name: str) -> tuple[int, ...] | None:
        value = self.attributes.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(v, int) for v in value)):
            raise RefusalError(f"attribute {name} must be a list of integers, not {value!r}")
        return None if value is None else tuple(value)


@dataclass(frozen=True)
class Model:
    """What the file holds. ``shape`` is the input's, None for a dimension that is not fixed."""

    file: str
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    input: str
    shape: tuple[int | None, ...]
    input_type: str
    output: str


def read(file: str, content: bytes) -> Model:
    """Reads the file's content without running or loading anything that it refers to. Raises FrontendError."""
    try:
        return _model(file, onnx.load_model_from_string(content).graph)
    except RefusalError as refusal:
        raise FrontendError(refusal.reason, refusal.hint, file=file) from refusal
    except (DecodeError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FrontendError(f"is not a readable ONNX file ({reason})", EXPORT, file=file) from error


def _model(file: str, graph: onnx.GraphProto) -> Model:
    if not graph.node:
        raise RefusalError("holds no nodes: it is empty or not an ONNX file", EXPORT)
    if graph.sparse_initializer:
        raise RefusalError("holds sparse initializers", "export the model with dense weights")
    constants = {str(each.name): _array(each) for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    for what, found in (("input", inputs), ("output", graph.output)):
        if len(found) != 1:
            names = ", ".join(str(each.name) for each in found) or "none"
            raise RefusalError(f"must have one {what}, not {len(found)} ({names})", EXPORT)
    kind = inputs[0].type.tensor_type
    return Model(
        file=file,
        nodes=tuple(_node(each) for each in graph.node),
        constants=constants,
        input=str(inputs[0].name),
        shape=tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim),
        input_type=TensorProto.DataType.Name(kind.elem_type).lower(),
        output=str(graph.output[0].name),
    )


def _node(proto: onnx.NodeProto) -> Node:
    operator, outputs = str(proto.op_type), tuple(map(str, proto.output))
    return Node(
        name=str(proto.name) or f"{operator}_{'_'.join(outputs)}",
        operator=operator,
        domain=str(proto.domain),
        inputs=tuple(map(str, proto.input)),
        outputs=outputs,
        attributes={str(each.name): _attribute(each) for each in proto.attribute},
    )


def _attribute(proto: onnx.AttributeProto) -> Any:
    if proto.type == onnx.AttributeProto.STRING:
        return proto.s.decode()
    if proto.type == onnx.AttributeProto.TENSOR:
        return _array(proto.t)
    if proto.type in (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT):
        return onnx.helper.get_attribute_value(proto)
    if proto.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(onnx.helper.get_attribute_value(proto))
    return proto  # no operator that is read here has one of the other kinds: whoever asks for it refuses it


def _array(tensor: TensorProto) -> np.ndarray:
    """The tensor's values, float32 or float64 or integers."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise RefusalError(f"keeps tensor {tensor.name!r} in another file", "save the model as one file")
    if tensor.data_type not in NUMERIC:
        known = tensor.data_type in TensorProto.DataType.values()
        kind = TensorProto.DataType.Name(tensor.data_type) if known else tensor.data_type
        raise RefusalError(f"tensor {tensor.name!r} has data type {kind}", "store it as FLOAT or as integers")
    size = 1
    for dim in tensor.dims:
        size *= dim
        if dim < 0 or size > LARGEST:
            raise RefusalError(
                f"tensor {tensor.name!r} has shape {list(tensor.dims)}", f"at most {LARGEST} elements fit"
            )
    array = numpy_helper.to_array(tensor)
    return array.astype(np.float32) if array.dtype.kind not in "iufb" or array.dtype == np.float16 else array
