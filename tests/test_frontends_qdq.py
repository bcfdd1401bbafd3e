"""One network written as int8 or uint8 TFLite and as ONNX with QuantizeLinear and DequantizeLinear: one graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_networks
import pytest
import tflite_networks
from tflite_networks import Reference

from accel.frontends import FrontendError, load
from accel.graph import Add, Concat, Conv, Dense, Graph, MaxPool, Operator, Requantize, SumPool, Threshold
from accel.graph.graph import content
from accel.graph.head import Head
from accel.passes import lower

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3
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

    def __init__(self, seed: int, *shape: int, kind: str = "int8") -> None:
        self.rng = np.random.default_rng(seed)
        self.kind, self.lowest = kind, int(np.iinfo(kind).min)
        self.tflite = tflite_networks.Network()
        self.onnx = onnx_networks.Network((1, shape[-1], *shape[:-1]))
        self.input = self.tensor("x", shape, SCALE)
        self.tflite.inputs = [self.input.number]

    def tensor(self, name: str, shape: tuple[int, ...], scale: np.float32, zero: int | None = None) -> Both:
        """The tensor of TFLite, and the quantizer of ONNX behind what is called ``name``."""
        zero = int(self.rng.integers(-60, 60)) + self.lowest + 128 if zero is None else zero
        number = self.tflite.tensor((1, *shape), self.kind, scale, zero)
        exact = np.array(zero, self.kind)
        q = self.onnx.add("QuantizeLinear", name, scale, exact)
        return Both(number, self.onnx.add("DequantizeLinear", q, scale, exact), shape, scale, zero)

    def alike(self, name: str, shape: tuple[int, ...], x: Both) -> Both:
        """The same of the scale and zero point of ``x``."""
        return self.tensor(name, shape, x.scale, x.zero)

    def weights(
        self, shape: tuple[int, ...], scale: np.ndarray, *, axis: int, order: tuple[int, ...]
    ) -> tuple[int, str]:
        """Few that are not zero, so that not all sums saturate; ``order`` are TFLite's axes as ONNX has them."""
        data = self.rng.integers(-4, 4, shape) * (self.rng.random(shape) < 4 / np.prod(shape[1:-1]) / shape[-1])
        data.ravel()[:2] = -4, 3
        zero = self.lowest + 128  # weights of uint8 have one
        scales = scale if self.kind == "int8" else scale[:1]
        number = self.tflite.tensor(shape, self.kind, scales, zero, axis=axis, data=data + zero)
        integers, zeros = data.transpose(order).astype(np.int8), np.zeros_like(scale, np.int8)
        return number, self.onnx.add("DequantizeLinear", integers, scale, zeros, axis=order.index(axis))

    def bias(self, scale: np.ndarray) -> tuple[int, str]:
        """Integers of the sums' scale."""
        data = self.rng.integers(-60, 60, scale.size).astype(np.int32)
        number = self.tflite.tensor(data.shape, "int32", scale if self.kind == "int8" else scale[:1], data=data)
        return number, self.onnx.add("DequantizeLinear", data, scale, np.zeros_like(data), axis=0)

    def factors(self, channels: int) -> np.ndarray:
        """Scales of weights, one a channel (of uint8 all the same), from 1/2 to 1."""
        scales = ((2 * self.rng.integers(2**10, 2**11, channels) + 1) / 2**12).astype(np.float32)
        return scales if self.kind == "int8" else scales[:1].repeat(channels)

    def convolution(
        self, x: Both, outputs: int, *, padding: int = SAME, function: int = RELU, zero: int | None = None
    ) -> Both:
        """3 x 3, with a fused RELU, RELU6 or none."""
        channels, scale = x.shape[-1], self.factors(outputs)
        w, w_name = self.weights((outputs, 3, 3, channels), scale, axis=0, order=(0, 3, 1, 2))
        b, b_name = self.bias(scale * x.scale)
        border = int(padding == SAME)
        name = self.onnx.add("Conv", x.name, w_name, b_name, pads=[border] * 4)
        if function == RELU:
            name = self.onnx.add("Relu", name)
        elif function == RELU6:
            name = self.onnx.add("Clip", name, np.float32(0), np.float32(6))
        size = [n - 2 * (1 - border) for n in x.shape[:-1]]
        y = self.tensor(name, (*size, outputs), SCALE, zero)
        options = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
        options |= {"Padding": padding, "FusedActivationFunction": function}
        self.tflite.op("CONV_2D", [x.number, w, b], y.number, **options)
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

    def join(self, a: Both, b: Both) -> Both:
        channels = a.shape[-1] + b.shape[-1]
        y = self.alike(self.onnx.add("Concat", a.name, b.name, axis=1), (*a.shape[:-1], channels), a)
        self.tflite.op("CONCATENATION", [a.number, b.number], y.number, Axis=3)
        return y

    def largest(self, x: Both) -> Both:
        """Of 2 x 2 pixels."""
        name = self.onnx.add("MaxPool", x.name, kernel_shape=[2, 2], strides=[2, 2])
        y = self.alike(name, (x.shape[0] // 2, x.shape[1] // 2, x.shape[2]), x)
        options = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
        self.tflite.op("MAX_POOL_2D", [x.number], y.number, Padding=VALID, **options)
        return y

    def border(self, x: Both) -> Both:
        """Of one pixel."""
        y = self.alike(
            self.onnx.add("Pad", x.name, np.array([0, 0, 1, 1] * 2)), (x.shape[0] + 2, x.shape[1] + 2, x.shape[2]), x
        )
        pads = self.tflite.tensor((4, 2), "int32", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]]))
        self.tflite.op("PAD", [x.number, pads], y.number)
        return y

    def mean(self, x: Both) -> Both:
        """Of an image of 3 x 3 pixels, times 16/3: 16/27 of a sum, which TFLite rounds once, and which is no tie."""
        name = self.onnx.add("GlobalAveragePool", x.name)
        y = self.tensor(name, (1, 1, x.shape[2]), np.float32(SCALE * 3 / 16))
        axes = self.tflite.tensor((2,), "int32", data=np.array([1, 2]))
        self.tflite.op("MEAN", [x.number, axes], y.number, KeepDims=True)
        return y

    def average(self, x: Both) -> Both:
        """Of 3 x 3 pixels: ninths are no ties."""
        name = self.onnx.add("AveragePool", x.name, kernel_shape=[3, 3], strides=[3, 3])
        y = self.tensor(name, (x.shape[0] // 3, x.shape[1] // 3, x.shape[2]), x.scale, x.zero)
        options = {"StrideH": 3, "StrideW": 3, "FilterHeight": 3, "FilterWidth": 3}
        self.tflite.op("AVERAGE_POOL_2D", [x.number], y.number, Padding=VALID, **options)
        return y

    def dense(self, x: Both, outputs: int, scale_out: np.float32 = ONE) -> Both:
        """Of the image made flat, which ONNX does channels first."""
        height, width, channels = x.shape
        scale = self.factors(outputs)
        w, w_name = self.weights((outputs, height * width * channels), scale, axis=0, order=(0, 1))
        flat = self.onnx.add("Flatten", self.onnx.add("Transpose", x.name, perm=[0, 2, 3, 1]))
        b, b_name = self.bias(scale * x.scale)
        y = self.tensor(self.onnx.add("Gemm", flat, w_name, b_name, transB=1), (outputs,), scale_out)
        number = self.tflite.tensor((1, height * width * channels), self.kind, x.scale, x.zero)
        size = self.tflite.tensor((2,), "int32", data=np.array([1, height * width * channels]))
        self.tflite.op("RESHAPE", [x.number, size], number)
        self.tflite.op("FULLY_CONNECTED", [number, w, b], y.number)
        return y

    def softmax(self, x: Both) -> tuple[bytes, str]:
        """Both files' ends."""
        y = self.tflite.tensor((1, *x.shape), self.kind, 1 / 256, self.lowest)
        self.tflite.outputs = [self.tflite.op("SOFTMAX", [x.number], y, Beta=1.0)]
        scale, lowest = np.float32(1 / 256), np.dtype(self.kind).type(self.lowest)
        q = self.onnx.add("QuantizeLinear", self.onnx.add("Softmax", x.name, axis=1), scale, lowest)
        return self.tflite.content(), self.onnx.add("DequantizeLinear", q, scale, lowest)


def ordered(graph: Graph) -> Graph:
    """The same with its operators in the order in which the output asks for them: a format may write branches mixed."""
    makers, order = {op.output: op for op in graph.operators}, list[Operator]()

    def ask(name: str) -> None:
        if name in makers and not any(op is makers[name] for op in order):
            for each in makers[name].inputs:
                ask(each)
            order.append(makers[name])

    ask(graph.output)
    return graph.with_operators(tuple(order))


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


def branched(pair: Pair) -> Both:
    """A convolution, a depthwise one, their sum, its averages and a dense layer."""
    a = pair.convolution(pair.input, 3)
    return pair.dense(pair.average(pair.add(a, pair.depthwise(a))), 5)


def joined(pair: Pair) -> Both:
    """Two convolutions side by side, one with RELU6, the largest of pixels, a border, and the mean of a convolution."""
    a = pair.convolution(pair.input, 3, function=NONE)
    b = pair.convolution(pair.input, 2, function=RELU6, zero=a.zero)
    c = pair.convolution(pair.border(pair.largest(pair.join(a, b))), 4, padding=VALID)
    return pair.dense(pair.mean(c), 5, np.float32(1 / 2))


NETWORKS: dict[Callable[[Pair], Both], list[type]] = {
    branched: [Conv, Requantize, Conv, Requantize, Add, Requantize, SumPool, Requantize, Dense, Requantize],
    joined: [
        *(Conv, Requantize, Conv, Threshold, Concat, MaxPool, Conv, Requantize, SumPool, Requantize, Dense, Requantize)
    ],
}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_one_network_in_two_formats(tmp_path: Path, build: Callable[[Pair], Both], kind: str) -> None:
    for seed in range(6):
        pair = Pair(seed, 6, 6, 2, kind=kind)
        file, output = pair.softmax(build(pair))
        (tmp_path / "a.tflite").write_bytes(file)
        tflite = load(tmp_path / "a.tflite", name="a")
        onnx = load(pair.onnx.save(tmp_path / "a.onnx", output), name="a")
        one, other = ordered(lower(tflite)), ordered(lower(onnx))
        assert [type(op) for op in one.operators] == NETWORKS[build]
        assert_same(one, other)

        lo, hi = one.input.type.lo, one.input.type.hi
        ends = np.stack([np.full(one.input.shape, value) for value in (lo, hi, pair.input.zero)])
        extremes = pair.rng.choice([lo, hi], (20, *one.input.shape))
        x = np.concatenate([ends, extremes, pair.rng.integers(lo, hi + 1, (40, *one.input.shape))])
        tensors = [list(graph.run_all(x).values()) for graph in (one, other)]
        assert all((u == v).all() for u, v in zip(*tensors, strict=True))
        reference = Reference(file)
        for sample, scores in zip(x, other.run(x).tolist(), strict=True):
            reference.run(sample)
            expected = reference.tensor(reference.output["index"]).astype(int) - pair.lowest - 128
            assert Head.of(other).softmax(scores) == expected.tolist()
        assert len(np.unique(tensors[0][-1])) > 20  # they do not all saturate


def test_other_quantizers_behind_a_softmax_are_refused(tmp_path: Path) -> None:
    pair = Pair(1, 6, 6, 2, kind="int8")
    shares = pair.onnx.add("Softmax", branched(pair).name, axis=1)
    q = pair.onnx.add("QuantizeLinear", shares, np.float32(1 / 255), np.int8(-128))
    file = pair.onnx.save(tmp_path / "a.onnx", pair.onnx.add("DequantizeLinear", q, np.float32(1 / 255), np.int8(-128)))
    with pytest.raises(FrontendError, match=r"QuantizeLinear.*other numbers than TFLite's, 8 bits of a scale of 1/256"):
        load(file)


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
