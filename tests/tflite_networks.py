"""Small TFLite files, written with the schema's builder, and their execution by TFLite's reference kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite

TYPES = {"int8": 9, "uint8": 3, "int32": 2, "float32": 0, "int16": 7, "int4": 17}
VERSIONS = {"RESHAPE": 1}  # of operators, where 2 is unknown
OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
}


@dataclass
class Network:
    """Tensors and operators, added one after another; ``input`` and ``output`` are lists of tensor numbers."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    operators: list[tuple[str, list[int], list[int], dict[str, Any]]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(
        self,
        shape: tuple[int, ...],
        kind: str = "int8",
        scale: Any = (),
        zero: Any = 0,
        *,
        axis: int = 0,
        data: np.ndarray | None = None,
        name: str | None = None,
    ) -> int:
        scales = np.atleast_1d(np.array(scale, dtype=np.float32))
        zeros = np.broadcast_to(np.array(zero, dtype=np.int64), scales.shape)
        if data is not None:
            data = np.asarray(data).astype(kind)
            assert data.shape == shape
        number = len(self.tensors)
        self.tensors.append(
            {
                "name": name or f"t{number}",
                "shape": shape,
                "type": kind,
                "scale": scales,
                "zero": zeros,
                "axis": axis,
                "data": data,
            }
        )
        return number

    def op(self, kind: str, inputs: list[int], output: int | list[int], **options: Any) -> int:
        outputs = output if isinstance(output, list) else [output]
        self.operators.append((kind, inputs, outputs, options))
        return outputs[0]

    def content(self) -> bytes:
        """The file."""
        b = flatbuffers.Builder(1024)
        buffers = [_table(b, "Buffer")]
        tensors = []
        for each in self.tensors:
            number = 0
            if each["data"] is not None:
                data = b.CreateByteVector(np.ascontiguousarray(each["data"]).tobytes())
                number = len(buffers)
                buffers.append(_table(b, "Buffer", Data=data))
            shape = b.CreateNumpyVector(np.array(each["shape"], dtype=np.int32))
            quantization = 0
            if each["scale"].size:
                scale = b.CreateNumpyVector(each["scale"])
                zero = b.CreateNumpyVector(np.ascontiguousarray(each["zero"]))
                quantization = _table(
                    b, "QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=each["axis"]
                )
            name = b.CreateString(each["name"])
            fields = {"Shape": shape, "Type": TYPES[each["type"]], "Buffer": number, "Name": name}
            if quantization:
                fields["Quantization"] = quantization
            tensors.append(_table(b, "Tensor", **fields))
        kinds = sorted({kind for kind, *_ in self.operators})
        codes = []
        for kind in kinds:
            number = getattr(tflite.BuiltinOperator, kind)
            codes.append(
                _table(
                    b,
                    "OperatorCode",
                    DeprecatedBuiltinCode=min(number, 127),
                    Version=VERSIONS.get(kind, 2),
                    BuiltinCode=number,
                )
            )
        operators = []
        for kind, inputs, outputs, options in self.operators:
            fields = {
                "OpcodeIndex": kinds.index(kind),
                "Inputs": b.CreateNumpyVector(np.array(inputs, dtype=np.int32)),
                "Outputs": b.CreateNumpyVector(np.array(outputs, dtype=np.int32)),
            }
            if kind in OPTIONS:
                fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, OPTIONS[kind])
                fields["BuiltinOptions"] = _table(b, OPTIONS[kind], **options)
            operators.append(_table(b, "Operator", **fields))
        graph = _table(
            b,
            "SubGraph",
            Tensors=_vector(b, tensors),
            Inputs=b.CreateNumpyVector(np.array(self.inputs, dtype=np.int32)),
            Outputs=b.CreateNumpyVector(np.array(self.outputs, dtype=np.int32)),
            Operators=_vector(b, operators),
        )
        model = _table(
            b,
            "Model",
            Version=3,
            OperatorCodes=_vector(b, codes),
            Subgraphs=_vector(b, [graph]),
            Buffers=_vector(b, buffers),
        )
        b.Finish(model, file_identifier=b"TFL3")
        return bytes(b.Output())


def _table(builder: flatbuffers.Builder, record: str, **fields: Any) -> int:
    getattr(tflite, f"{record}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{record}Add{name}")(builder, value)
    return getattr(tflite, f"{record}End")(builder)


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


class Reference:
    """TFLite's reference kernels; ``run`` keeps every tensor."""

    def __init__(self, content: bytes) -> None:
        litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra dev)")
        self.interpreter = litert.Interpreter(
            model_content=content,
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        self.interpreter.allocate_tensors()
        (self.input,) = self.interpreter.get_input_details()
        (self.output,) = self.interpreter.get_output_details()

    def run(self, x: np.ndarray) -> None:
        """Executes one sample."""
        self.interpreter.set_tensor(self.input["index"], x.astype(self.input["dtype"]).reshape(self.input["shape"]))
        self.interpreter.invoke()

    def tensor(self, number: int) -> np.ndarray:
        """A tensor of the last execution, flat."""
        return self.interpreter.get_tensor(number).ravel()
