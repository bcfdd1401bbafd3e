"""Writes networks of `models.train.layers` as ONNX: QONNX quantizers for activations, weights as int8 with a scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.train import layers

QONNX = "qonnx.custom_op.general"
OPSET = 13  # the first with weights of a scale per channel


class Writer:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray | float) -> str:
        name = f"c{len(self.constants)}"
        if isinstance(array, float):
            array = np.array(array, np.float32)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node of one output, and return the name of that, which is the node's too."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, domain=domain, **attributes))
        return name

    def weights(self, weights: layers.Weights, *, transposed: bool = False) -> str:
        """Integers and scale. Weights of a matrix product are written (inputs, outputs)."""
        integers = _array(weights.integers()).astype(np.int8)
        scale = _array(weights.scale()).astype(np.float32)
        if transposed:
            return self.add("DequantizeLinear", self.constant(integers.T), self.constant(scale.reshape(())))
        constants = self.constant(integers), self.constant(scale.reshape(-1) if scale.ndim else scale)
        axis: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        return self.add("DequantizeLinear", *constants, **axis)

    def quant(self, x: str, levels: layers.Levels) -> str:
        constants = (self.constant(float(value)) for value in (levels.scale, 0.0, levels.bits))
        return self.add(
            "Quant", x, *constants, domain=QONNX, signed=int(levels.signed), narrow=0, rounding_mode="ROUND"
        )

    def module(self, module: nn.Module, x: str) -> str:
        """Append what a module does to ``x``. Raises TypeError for a module that has no form here."""
        match module:
            case nn.Sequential():
                for each in module:
                    x = self.module(each, x)
                return x
            case nn.Identity():
                return x
            case layers.Residual():
                return self.module(
                    module.act, self.add("Add", self.module(module.main, x), self.module(module.shortcut, x))
                )
            case layers.PooledBipolar():
                return self.module(nn.Sequential(module.norm, module.act, module.pool), x)
            case layers.Conv():
                return self.add(
                    "Conv",
                    x,
                    self.weights(module.weights),
                    strides=[module.stride] * 2,
                    pads=[module.padding] * 4,
                    group=module.groups,
                    kernel_shape=list(module.weights.real.shape[2:]),
                )
            case layers.Dense():
                return self.add("MatMul", x, self.weights(module.weights, transposed=True))
            case nn.BatchNorm2d() | nn.BatchNorm1d():
                parameters = (module.weight, module.bias, module.running_mean, module.running_var)
                constants = (self.constant(_array(p).astype(np.float32)) for p in parameters)
                return self.add("BatchNormalization", x, *constants, epsilon=module.eps)
            case layers.Levels():
                return self.quant(x, module)
            case layers.Bipolar():
                return self.add("BipolarQuant", x, self.constant(1.0), domain=QONNX)
            case nn.MaxPool2d():
                return self.add("MaxPool", x, kernel_shape=[module.kernel_size] * 2, strides=[module.stride] * 2)
            case nn.AdaptiveAvgPool2d(output_size=1):
                return self.add("GlobalAveragePool", x)
            case nn.Flatten():
                return self.add("Flatten", x, axis=1)
            case nn.Softmax():
                return self.add("Softmax", x, axis=1)
        raise TypeError(f"{type(module).__name__} cannot be written")


def write(model: nn.Module, path: Path, *, shape: tuple[int, ...], outputs: int) -> Path:
    """The network as ``path``, its input of ``shape`` without the batch; the same network gives the same bytes."""
    writer = Writer()
    result = writer.module(model, "input")
    assert result == writer.nodes[-1].output[0]
    writer.nodes[-1].output[0] = "output"
    graph = helper.make_graph(
        writer.nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, outputs])],
        writer.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX, 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="headrace")
    onnx.checker.check_model(proto)
    part = path.with_suffix(".part")
    part.write_bytes(proto.SerializeToString(deterministic=True))
    part.replace(path)
    return path


def _array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().cpu().numpy()
