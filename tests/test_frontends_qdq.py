"""One network written as int8 TFLite and as ONNX with QuantizeLinear and DequantizeLinear: one graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_networks
import tflite_networks
from tflite_networks import Reference

from accel.frontends import load
from accel.graph import Add, Conv, Dense, Graph, Operator, Requantize, SumPool
from accel.graph.graph import content
from accel.graph.head import Head
from accel.passes import lower

SAME, VALID, RELU = 0, 1, 1
#: Convolutions here multiply by 1/2 to 1, where TFLite rounds once; and by odd numbers over 2**12, so that no sum below
#: 2,048 is a tie and those beyond saturate. So TFLite, which rounds halves up or away from zero, and ONNX, which rounds
#: them to even, agree on every sum. Products of two such scales are float32, as the scales of ONNX's biases must be.
SCALE = np.float32(2735 / 2**12)
ONE = np.float32(1)


@dataclass(frozen=True)
class Both:
    """A tensor in both files, and its meaning."""

    number: int
    name: str
    shape: tuple[int, ...]
    scale: np.float32
    zero: int


class Pair:
    """A network written twice, operator by operator."""

    def __init__(self, seed: int, *shape: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tflite = tflite_networks.Network()
        self.onnx = onnx_networks.Network((1, shape[-1], *shape[:-1]))
        self.input = self.tensor("x", shape, SCALE)
        self.tflite.inputs = [self.input.number]

    def tensor(self, name: str, shape: tuple[int, ...], scale: np.float32, zero: int | None = None) -> Both:
        """The tensor of TFLite, and the quantizer of ONNX behind what is called ``name``."""
        zero = int(self.rng.integers(-60, 60)) if zero is None else zero
        number = self.tflite.tensor((1, *shape), "int8", scale, zero)
        q = self.onnx.add("QuantizeLinear", name, scale, np.int8(zero))
        return Both(number, self.onnx.add("DequantizeLinear", q, scale, np.int8(zero)), shape, scale, zero)

    def weights(
        self, shape: tuple[int, ...], scale: np.ndarray, *, axis: int, order: tuple[int, ...]
    ) -> tuple[int, str]:
        """Few that are not zero, so that not all sums saturate; ``order`` are TFLite's axes as ONNX has them."""
        data = self.rng.integers(-4, 4, shape) * (self.rng.random(shape) < 4 / np.prod(shape[1:-1]) / shape[-1])
        data.ravel()[:2] = -4, 3
        number = self.tflite.tensor(shape, "int8", scale, axis=axis, data=data)
        integers, zeros = data.transpose(order).astype(np.int8), np.zeros_like(scale, np.int8)
        return number, self.onnx.add("DequantizeLinear", integers, scale, zeros, axis=order.index(axis))

    def bias(self, scale: np.ndarray) -> tuple[int, str]:
        """Integers of the sums' scale."""
        data = self.rng.integers(-60, 60, scale.size).astype(np.int32)
        number = self.tflite.tensor(data.shape, "int32", data=data)
        return number, self.onnx.add("DequantizeLinear", data, scale, np.zeros_like(data), axis=0)

    def factors(self, channels: int) -> np.ndarray:
        """Scales of weights, one a channel, from 1/2 to 1."""
        return ((2 * self.rng.integers(2**10, 2**11, channels) + 1) / 2**12).astype(np.float32)

    def convolution(self, x: Both, outputs: int) -> Both:
        """3 x 3, SAME, with a fused RELU."""
        channels, scale = x.shape[-1], self.factors(outputs)
        w, w_name = self.weights((outputs, 3, 3, channels), scale, axis=0, order=(0, 3, 1, 2))
        b, b_name = self.bias(scale * x.scale)
        name = self.onnx.add("Conv", x.name, w_name, b_name, pads=[1] * 4)
        y = self.tensor(self.onnx.add("Relu", name), (*x.shape[:-1], outputs), SCALE)
        options = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
        self.tflite.op("CONV_2D", [x.number, w, b], y.number, Padding=SAME, FusedActivationFunction=RELU, **options)
        return y

    def depthwise(self, x: Both) -> Both:
        channels = x.shape[-1]
        scale = self.factors(channels)
        w, w_name = self.weights((1, 3, 3, channels), scale, axis=3, order=(3, 0, 1, 2))
        b, b_name = self.bias(scale * x.scale)
        name = self.onnx.add("Conv", x.name, w_name, b_name, pads=[1] * 4, group=channels)
        y = self.tensor(name, x.shape, SCALE)
        options = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1, "DepthMultiplier": 1}
        self.tflite.op("DEPTHWISE_CONV_2D", [x.number, w, b], y.number, Padding=SAME, **options)
        return y

    def add(self, a: Both, b: Both) -> Both:
        y = self.tensor(self.onnx.add("Add", a.name, b.name), a.shape, ONE)
        self.tflite.op("ADD", [a.number, b.number], y.number)
        return y

    def average(self, x: Both) -> Both:
        """Of 3 x 3 pixels: ninths are no ties."""
        name = self.onnx.add("AveragePool", x.name, kernel_shape=[3, 3], strides=[3, 3])
        y = self.tensor(name, (x.shape[0] // 3, x.shape[1] // 3, x.shape[2]), x.scale, x.zero)
        options = {"StrideH": 3, "StrideW": 3, "FilterHeight": 3, "FilterWidth": 3}
        self.tflite.op("AVERAGE_POOL_2D", [x.number], y.number, Padding=VALID, **options)
        return y

    def dense(self, x: Both, outputs: int) -> Both:
        """Of the image made flat, which ONNX does channels first."""
        height, width, channels = x.shape
        scale = self.factors(outputs)
        w, w_name = self.weights((outputs, height * width * channels), scale, axis=0, order=(0, 1))
        flat = self.onnx.add("Flatten", self.onnx.add("Transpose", x.name, perm=[0, 2, 3, 1]))
        b, b_name = self.bias(scale * x.scale)
        y = self.tensor(self.onnx.add("Gemm", flat, w_name, b_name, transB=1), (outputs,), ONE)
        number = self.tflite.tensor((1, height * width * channels), "int8", x.scale, x.zero)
        size = self.tflite.tensor((2,), "int32", data=np.array([1, height * width * channels]))
        self.tflite.op("RESHAPE", [x.number, size], number)
        self.tflite.op("FULLY_CONNECTED", [number, w, b], y.number)
        return y

    def softmax(self, x: Both) -> tuple[bytes, str]:
        """Both files' ends: ONNX's has no quantizer behind it."""
        y = self.tflite.tensor((1, *x.shape), "int8", 1 / 256, -128)
        self.tflite.outputs = [self.tflite.op("SOFTMAX", [x.number], y, Beta=1.0)]
        return self.tflite.content(), self.onnx.add("Softmax", x.name, axis=1)


def operators(graph: Graph) -> list[Operator]:
    """The operators, with tensors numbered in their order."""
    names = {graph.input.name: "0"} | {op.output: str(number) for number, op in enumerate(graph.operators, 1)}
    return [
        replace(op, name=names[op.output], output=names[op.output], inputs=tuple(names[name] for name in op.inputs))  # type: ignore[type-var]
        for op in graph.operators
    ]


def assert_same(a: Graph, b: Graph) -> None:
    """Equal operators, in one order; of requantizations the functions, on every sum that can be."""
    assert (a.input.shape, a.input.type, a.input.affine) == (b.input.shape, b.input.type, b.input.affine)
    assert (a.head, a.output_affine) == (b.head, b.output_affine)
    for one, other, op in zip(operators(a), operators(b), a.operators, strict=True):
        if isinstance(one, Requantize) and isinstance(other, Requantize):
            kind = a.tensors[op.inputs[0]].type
            sums = np.arange(kind.lo, kind.hi + 1)[:, None, None, None].repeat(len(one.multiplier), axis=3)
            assert (one.inputs, one.out) == (other.inputs, other.out)
            assert (one.run(sums) == other.run(sums)).all()
        else:
            assert list(content(one)) == list(content(other))
    assert [a.tensors[op.output].type for op in a.operators] == [b.tensors[op.output].type for op in b.operators]


def test_one_network_in_two_formats(tmp_path: Path) -> None:
    for seed in range(6):
        pair = Pair(seed, 6, 6, 2)
        a = pair.convolution(pair.input, 3)
        y = pair.dense(pair.average(pair.add(a, pair.depthwise(a))), 5)
        file, output = pair.softmax(y)
        (tmp_path / "a.tflite").write_bytes(file)
        tflite = load(tmp_path / "a.tflite", name="a")
        onnx = load(pair.onnx.save(tmp_path / "a.onnx", output), name="a", head="softmax_int8")
        one, other = lower(tflite), lower(onnx)
        assert [type(op) for op in one.operators] == [
            *(Conv, Requantize, Conv, Requantize, Add, Requantize, SumPool, Requantize, Dense, Requantize)
        ]
        assert_same(one, other)

        ends = np.stack([np.full(one.input.shape, value) for value in (-128, 127, pair.input.zero)])
        extremes = pair.rng.choice([-128, 127], (20, *one.input.shape))
        x = np.concatenate([ends, extremes, pair.rng.integers(-128, 128, (40, *one.input.shape))])
        tensors = [list(graph.run_all(x).values()) for graph in (one, other)]
        assert all((u == v).all() for u, v in zip(*tensors, strict=True))
        reference = Reference(file)
        for sample, scores in zip(x, other.run(x).tolist(), strict=True):
            reference.run(sample)
            assert Head.of(other).softmax(scores) == reference.tensor(reference.output["index"]).tolist()
        assert len(np.unique(tensors[0][-1])) > 20  # they do not all saturate


def test_halves_differ_by_specification(tmp_path: Path) -> None:
    """TFLite rounds them up where it rounds once, ONNX to even; each file is read as its own format says."""
    tflite = tflite_networks.Network()
    x = tflite.tensor((1, 4), "int8", 1.0)
    tflite.inputs, tflite.outputs = [x], [tflite.op("QUANTIZE", [x], tflite.tensor((1, 4), "int8", 2.0))]
    (tmp_path / "a.tflite").write_bytes(tflite.content())
    onnx = onnx_networks.Network((1, 4))
    name = "x"
    for scale in (1, 2):
        q = onnx.add("QuantizeLinear", name, np.float32(scale), np.int8(0))
        name = onnx.add("DequantizeLinear", q, np.float32(scale), np.int8(0))
    onnx.save(tmp_path / "a.onnx", name)
    numbers = np.array([[1, -1, 3, -3]])
    reference = Reference(tflite.content())
    reference.run(numbers)
    assert reference.tensor(reference.output["index"]).tolist() == [1, 0, 2, -1]
    assert load(tmp_path / "a.tflite").run(numbers).tolist() == [[1, 0, 2, -1]]
    assert load(tmp_path / "a.onnx").run(numbers).tolist() == [[0, 0, 2, -2]]
