"""Random small TFLite networks, and their comparison with TFLite, tensor by tensor."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_networks import Network, Reference

from accel.frontends import FrontendError, tflite, tflite_file
from accel.graph import Graph
from accel.graph.head import Head

SAME, VALID = 0, 1
RELU, RELU6 = 1, 3


def read(content: bytes, **options: object) -> Graph:
    arguments = {"name": "small", "encoding": None, "head": None, **options}
    return tflite.read("small.tflite", content, **arguments)  # type: ignore[arg-type]


def compare(content: bytes, graph: Graph, inputs: np.ndarray) -> int:
    """Each tensor that the graph has with each tensor of the reference; how many were compared."""
    reference, model = Reference(content), tflite_file.read("", content)
    tensors = graph.run_all(inputs)
    compared = 0
    for sample, x in enumerate(inputs):
        reference.run(x)
        for number, op in enumerate(model.operators):
            name = f"{op.kind.lower()}_{number}"
            if name in tensors:
                expected = reference.tensor(op.outputs[0].index)
                assert tensors[name][sample].ravel().tolist() == expected.tolist(), (sample, name)
                compared += 1
            elif op.kind == "SOFTMAX":
                scores, y = tensors[graph.output][sample].ravel(), op.outputs[0]
                assert graph.head == "softmax_int8"
                expected = reference.tensor(y.index).astype(int) - y.integers.lo - 128
                assert Head.of(graph).softmax(scores.tolist()) == expected.tolist(), sample
    return compared


class Draw:
    """Random tensors and numbers for one small network."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = kind
        self.lo, self.hi = (-128, 127) if kind == "int8" else (0, 255)
        self.network = Network()

    def scale(self, low: float = 0.01, high: float = 0.5) -> float:
        return float(np.float32(self.rng.uniform(low, high)))

    def zero(self) -> int:
        return int(self.rng.integers(self.lo, self.hi + 1))

    def input(self, *shape: int) -> int:
        number = self.network.tensor((1, *shape), self.kind, self.scale(), self.zero())
        self.network.inputs = [number]
        return number

    def tensor(self, *shape: int, scale: float | None = None, zero: int | None = None, kind: str | None = None) -> int:
        scale = self.scale() if scale is None else scale
        return self.network.tensor((1, *shape), kind or self.kind, scale, self.zero() if zero is None else zero)

    def weights(self, shape: tuple[int, ...], axis: int, *, per_channel: bool) -> tuple[int, float]:
        """Weights, and one of their scales."""
        count = shape[axis] if per_channel else 1
        scale = self.rng.uniform(0.001, 0.05, count).astype(np.float32)
        zero = 0 if self.kind == "int8" else int(self.rng.integers(0, 256))
        data = self.rng.integers(self.lo, self.hi + 1, shape)
        return self.network.tensor(shape, self.kind, scale, zero, axis=axis, data=data), float(scale.mean())

    def bias(self, count: int) -> int:
        return self.network.tensor((count,), "int32", data=self.rng.integers(-3000, 3000, count))

    def sums(self, x: int, taps: int, scale: float) -> float:
        """A scale for the sums of so many products, so that some of them saturate."""
        return float(np.float32(self.network.tensors[x]["scale"][0] * scale * 60 * np.sqrt(taps)))

    def finish(self, output: int) -> tuple[bytes, np.ndarray]:
        self.network.outputs = [output]
        shape = self.network.tensors[self.network.inputs[0]]["shape"][1:]
        return self.network.content(), self.rng.integers(self.lo, self.hi + 1, (4, *shape))


def like(draw: Draw, x: int) -> dict[str, object]:
    """Scale and zero point of a tensor, for another one."""
    each = draw.network.tensors[x]
    return {"scale": float(each["scale"][0]), "zero": int(each["zero"][0])}


def window(**options: int) -> dict[str, int]:
    return {"Padding": VALID, "StrideH": 1, "StrideW": 1, **options}


def refusal(network: Network, output: int, **options: object) -> str:
    network.outputs = [output]
    with pytest.raises(FrontendError) as caught:
        read(network.content(), **options)
    return str(caught.value)
