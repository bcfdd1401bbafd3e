"""TFLite: every tensor of real and of small networks equals that of the reference kernels."""

from __future__ import annotations

import csv
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tflite_draw import RELU, RELU6, SAME, Draw, compare, like, read, window
from tflite_networks import Network, Reference

from accel.frontends import Encoding, FrontendError, load
from accel.frontends.tflite_network import image_shape
from accel.graph import ArgMax, Conv, Graph, IntType, Table
from accel.graph.head import Head
from accel.passes import lower

REAL = {
    "kws_ref_model": (2_656_768, (49, 10, 1)),
    "pretrainedResnet_quant": (12_501_632, (32, 32, 3)),
    "ad01_int8": (264_192, (640,)),
    "vww_96_int8": (7_489_664, (96, 96, 3)),
    "pretrainedResnet_large_int8": (76_473_920, (32, 32, 3)),
    "str_ww_ref_model": (826_368, (30, 1, 40)),
}
SAMPLES = {"kws01": ("kws_ref_model", np.int8, 0, 901), "ic01": ("pretrainedResnet_quant", np.uint8, -128, 175)}


@pytest.mark.parametrize("name", REAL)
def test_real_models(data: Path, name: str) -> None:
    path = data / "models" / f"{name}.tflite"
    graph = load(path)
    macs, shape = REAL[name]
    assert (graph.name, graph.input.shape, graph.input.type) == (name, shape, IntType(-128, 127))
    assert graph.head == ("scores" if name == "ad01_int8" else "softmax_int8")
    assert multiplications(graph) == macs
    rng = np.random.default_rng(len(name))
    inputs = np.stack([rng.integers(-128, 128, shape), rng.choice([-128, 127], shape), rng.integers(-20, 20, shape)])
    inputs = inputs[: 1 if "large" in name else 3]
    activations = sum(type(op).__name__ == "Activation" for op in graph.operators)
    operands = sum("operand" in op.name for op in graph.operators)
    assert compare(path.read_bytes(), graph, inputs) == len(inputs) * (activations - operands)
    assert load(path).digest() == graph.digest()


def multiplications(graph: Graph) -> int:
    total = 0
    for op in graph.operators:
        if hasattr(op, "weights"):
            pixels = graph.tensors[op.output].size // op.weights.shape[0] if isinstance(op, Conv) else 1
            total += op.weights.size * pixels
    return total


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("every", [25, pytest.param(1, marks=pytest.mark.slow)])
def test_official_inputs(data: Path, name: str, every: int) -> None:
    """The int8 probabilities of TFLite, and from them the published accuracy: 90.1 % and 87.5 %."""
    file, dtype, offset, hits = SAMPLES[name]
    folder = data / "datasets" / name
    rows = list(csv.reader((folder / "y_labels.csv").open()))
    golden = np.load(folder / "reference_int8_outputs.npy")
    graph = load(data / "models" / f"{file}.tflite")
    softmax = Head.of(graph).softmax
    x = np.stack([np.fromfile(folder / row[0], dtype) for row in rows[::every]]).astype(np.int64) + offset
    scores = graph.run(x.reshape(-1, *graph.input.shape))
    y = np.array([softmax(row) for row in scores.tolist()])
    assert (y == golden[::every]).all()
    if every == 1:
        assert (lower(graph).run(x.reshape(-1, *graph.input.shape)) == scores).all()
        assert int((y.argmax(axis=1) == [int(row[2]) for row in rows]).sum()) == hits


@pytest.mark.parametrize(
    "name",
    [
        "kws_ref_model",
        "ad01_int8",
        *(pytest.param(n, marks=pytest.mark.slow) for n in REAL if n not in ("kws_ref_model", "ad01_int8")),
    ],
)
def test_lowered(data: Path, name: str) -> None:
    graph = load(data / "models" / f"{name}.tflite")
    lowered = lower(graph)
    shape = graph.input.shape
    x = np.random.default_rng(3).integers(-128, 128, (2, *shape))
    one, other = graph.run_all(x), lowered.run_all(x)
    shared = [n for n in one if n in other and "_sum" not in n]
    assert len(shared) > len(one) // 2
    assert all((one[n] == other[n]).all() for n in shared)
    assert lowered.output in shared


def test_wires(data: Path) -> None:
    """Where the wire carries the file's integers plus a constant, nothing is computed; otherwise a table quantizes."""
    path = data / "models" / "pretrainedResnet_quant.tflite"
    plain, wire = load(path), load(path, encoding=Encoding(IntType(0, 255), Fraction(1)))
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3))
    assert wire.input.type == IntType(0, 255)
    assert len(wire.operators) == len(plain.operators)
    assert (wire.run(x) == plain.run(x - 128)).all()
    coarse = load(path, encoding=Encoding(IntType(0, 15), Fraction(33, 2), Fraction(-3)))
    assert isinstance(coarse.operators[0], Table)
    q = np.random.default_rng(0).integers(0, 16, (1, 32, 32, 3))
    real = np.float32(16.5) * q - 3
    rounded = np.floor(real + 0.5).astype(int)  # the scale is 1
    assert (coarse.run(q) == plain.run(np.clip(rounded - 128, -128, 127))).all()
    ranked = load(path, head="argmax")
    assert isinstance(ranked.operators[-1], ArgMax)
    assert (ranked.run(x - 128)[:, 0] == plain.run(x - 128).argmax(axis=1)).all()


def convolution(draw: Draw) -> int:
    kh, kw, c, m = (int(n) for n in draw.rng.integers(1, 4, 4))
    x = draw.input(9, 8, c)
    per_channel = draw.kind == "int8" and draw.rng.random() < 0.7
    w, scale = draw.weights((m, kh, kw, c), 0, per_channel=per_channel)
    stride, dilation = (
        (1, int(draw.rng.integers(1, 3))) if draw.rng.random() < 0.5 else (int(draw.rng.integers(1, 4)), 1)
    )
    padding = int(draw.rng.integers(0, 2))
    size = [
        -(-n // stride) if padding == SAME else -(-(n - (k - 1) * dilation) // stride)
        for n, k in zip((9, 8), (kh, kw), strict=True)
    ]
    y = draw.tensor(*size, m, scale=draw.sums(x, kh * kw * c, scale))
    options = window(
        Padding=padding, StrideH=stride, StrideW=stride, DilationHFactor=dilation, DilationWFactor=dilation
    )
    inputs = [x, w, draw.bias(m)]
    return draw.network.op(
        "CONV_2D", inputs, y, **options, FusedActivationFunction=int(draw.rng.choice([0, RELU, RELU6]))
    )


def depthwise(draw: Draw) -> int:
    c, multiplier = (int(n) for n in draw.rng.integers(1, 4, 2))
    x = draw.input(6, 7, c)
    w, scale = draw.weights((1, 3, 2, c * multiplier), 3, per_channel=draw.kind == "int8")
    y = draw.tensor(3, 4, c * multiplier, scale=draw.sums(x, 6, scale))
    options = window(
        Padding=SAME, StrideH=2, StrideW=2, DilationHFactor=1, DilationWFactor=1, DepthMultiplier=multiplier
    )
    return draw.network.op("DEPTHWISE_CONV_2D", [x, w, draw.bias(c * multiplier)], y, **options)


def fully_connected(draw: Draw) -> int:
    """Of an image that is made flat; with and without bias."""
    x = draw.input(2, 3, 4)
    flat = draw.tensor(24, **like(draw, x))
    draw.network.op("RESHAPE", [x, draw.network.tensor((2,), "int32", data=np.array([1, 24]))], flat)
    w, scale = draw.weights((5, 24), 0, per_channel=draw.kind == "int8" and draw.rng.random() < 0.5)
    y = draw.tensor(5, scale=draw.sums(x, 24, scale))
    inputs = [flat, w, draw.bias(5)] if draw.rng.random() < 0.5 else [flat, w, -1]
    return draw.network.op("FULLY_CONNECTED", inputs, y, FusedActivationFunction=int(draw.rng.choice([0, RELU])))


def fully_connected_pixels(draw: Draw) -> int:
    x = draw.input(2, 3, 4)
    w, scale = draw.weights((5, 4), 0, per_channel=False)
    y = draw.tensor(2, 3, 5, scale=draw.sums(x, 4, scale))
    return draw.network.op("FULLY_CONNECTED", [x, w, draw.bias(5)], y, KeepNumDims=True)


def branches(draw: Draw) -> int:
    """Two changes of scale, one of them a RELU, and their sum."""
    x = draw.input(4, 3)
    a = draw.network.op("QUANTIZE", [x], draw.tensor(4, 3, scale=draw.scale(0.005, 0.3)))
    b = draw.network.op(str(draw.rng.choice(["RELU", "RELU6"])), [x], draw.tensor(4, 3))
    y = draw.tensor(4, 3, scale=draw.scale(0.1, 0.6))
    return draw.network.op("ADD", [a, b], y, FusedActivationFunction=int(draw.rng.choice([0, RELU, RELU6])))


def pools(draw: Draw) -> int:
    x = draw.input(7, 9, 3)
    largest = draw.tensor(4, 5, 3, **like(draw, x))
    options = window(Padding=SAME, StrideH=2, StrideW=2, FilterHeight=3, FilterWidth=3)
    draw.network.op("MAX_POOL_2D", [x], largest, **options, FusedActivationFunction=int(draw.rng.choice([0, RELU6])))
    y = draw.tensor(2, 2, 3, **like(draw, x))
    return draw.network.op(
        "AVERAGE_POOL_2D", [largest], y, **window(StrideH=2, StrideW=2, FilterHeight=2, FilterWidth=3),
        FusedActivationFunction=int(draw.rng.choice([0, RELU])),
    )  # fmt: skip


def means(draw: Draw) -> int:
    h, w = (int(n) for n in draw.rng.integers(1, 12, 2))
    x = draw.input(h, w, 4)
    axes = draw.network.tensor((2,), "int32", data=np.array([1, 2]))
    keep = bool(draw.rng.random() < 0.5)
    scale = draw.network.tensors[x]["scale"][0] * draw.rng.choice([0.05, 0.3, 1.0])
    zero = None if draw.rng.random() < 0.7 else like(draw, x)["zero"]
    y = draw.tensor(*((1, 1, 4) if keep else (4,)), scale=float(scale), zero=zero)  # type: ignore[arg-type]
    return draw.network.op("MEAN", [x, axes], y, KeepDims=keep)


def borders(draw: Draw) -> int:
    x = draw.input(3, 4, 2)
    pads = draw.network.tensor((4, 2), "int32", data=np.array([[0, 0], [1, 2], [0, 3], [0, 0]]))
    y = draw.tensor(6, 7, 2, **like(draw, x))
    if draw.rng.random() < 0.5:
        return draw.network.op("PAD", [x, pads], y)
    filling = draw.network.tensor((1,), draw.kind, **like(draw, x), data=np.array([draw.zero()]))
    return draw.network.op("PADV2", [x, pads, filling], y)


def joins(draw: Draw) -> int:
    """Channels side by side; uint8 ones of different scales."""
    x = draw.input(3, 4, 2)
    a = draw.network.op("QUANTIZE", [x], draw.tensor(3, 4, 2))
    y = draw.tensor(3, 4, 4, **({} if draw.kind == "uint8" else like(draw, a)))
    other = a if draw.kind == "int8" else draw.network.op("QUANTIZE", [x], draw.tensor(3, 4, 2))
    return draw.network.op("CONCATENATION", [a, other], y, Axis=int(draw.rng.choice([3, -1])))


def real_borders(draw: Draw) -> int:
    """From int8 to uint8 through floats, and floats at the end."""
    x = draw.input(5, 2)
    floats = draw.network.op("DEQUANTIZE", [x], draw.network.tensor((1, 5, 2), "float32"))
    other = "uint8" if draw.kind == "int8" else "int8"
    return draw.network.op("QUANTIZE", [floats], draw.tensor(5, 2, kind=other, zero=100))


def other_type(draw: Draw) -> int:
    other = "uint8" if draw.kind == "int8" else "int8"
    return draw.network.op("QUANTIZE", [draw.input(9)], draw.tensor(9, kind=other, zero=77))


def probabilities(draw: Draw) -> int:
    x = draw.input(11)
    scores = draw.network.op("QUANTIZE", [x], draw.tensor(11, scale=draw.scale(0.001, 3.0)))
    return draw.network.op("SOFTMAX", [scores], draw.tensor(11, scale=1 / 256, zero=draw.lo), Beta=1.0)


def reshaped(draw: Draw, x: int, *shape: int) -> int:
    """The same elements in another shape, for one sample."""
    size = draw.network.tensor((len(shape) + 1,), "int32", data=np.array([1, *shape]))
    return draw.network.op("RESHAPE", [x, size], draw.tensor(*shape, **like(draw, x)))


def one_pixel(draw: Draw) -> int:
    """A vector becomes an image of one pixel, which a convolution reads, and a vector again."""
    x = draw.input(6)
    w, scale = draw.weights((8, 6), 0, per_channel=False)
    y = draw.network.op("FULLY_CONNECTED", [x, w, draw.bias(8)], draw.tensor(8, scale=draw.sums(x, 6, scale)))
    for outputs in (5, 7):
        x = reshaped(draw, y, 1, 1, 8) if outputs == 5 else y
        w, scale = draw.weights((outputs, 1, 1, 8 if outputs == 5 else 5), 0, per_channel=draw.kind == "int8")
        y = draw.tensor(1, 1, outputs, scale=draw.sums(x, 8, scale))
        options = window(Padding=SAME, DilationHFactor=1, DilationWFactor=1)
        draw.network.op("CONV_2D", [x, w, draw.bias(outputs)], y, **options, FusedActivationFunction=RELU)
    return reshaped(draw, y, 7)


def flat_joins(draw: Draw) -> int:
    """Means of an image, made flat, side by side; the input is read flat as well."""
    x = draw.input(2, 3, 4)
    axes = draw.network.tensor((2,), "int32", data=np.array([1, 2]))
    w, scale = draw.weights((5, 24), 0, per_channel=False)
    sums = draw.tensor(5, scale=draw.sums(x, 24, scale))
    draw.network.op("FULLY_CONNECTED", [reshaped(draw, x, 24), w, draw.bias(5)], sums)
    a = draw.network.op("MEAN", [x, axes], draw.tensor(4), KeepDims=False)
    b = reshaped(draw, draw.network.op("MEAN", [x, axes], draw.tensor(1, 1, 4, **like(draw, a)), KeepDims=True), 4)
    means = draw.network.op("CONCATENATION", [a, b], draw.tensor(8, **like(draw, a)), Axis=1)
    w, scale = draw.weights((5, 8), 0, per_channel=False)
    y = draw.tensor(5, scale=draw.sums(means, 8, scale))
    draw.network.op("FULLY_CONNECTED", [means, w, draw.bias(5)], y)
    return draw.network.op("ADD", [y, sums], draw.tensor(5, scale=2 * draw.network.tensors[y]["scale"][0]))


def rows(draw: Draw) -> int:
    """Tensors of rank 3: each row has a layer of its own, or there is one row; KeepNumDims keeps the rank."""
    count = int(draw.rng.choice([1, 5]))
    x = draw.input(count, 4)
    w, scale = draw.weights((3, 4), 0, per_channel=False)
    y = draw.tensor(count, 3, scale=draw.sums(x, 4, scale))
    draw.network.op("FULLY_CONNECTED", [x, w, draw.bias(3)], y, KeepNumDims=True)
    return draw.network.op("CONCATENATION", [y, y], draw.tensor(count, 6, **like(draw, y)), Axis=2)


SMALL: list[Callable[[Draw], int]] = [
    convolution,
    depthwise,
    fully_connected,
    fully_connected_pixels,
    branches,
    pools,
    means,
    borders,
    joins,
    real_borders,
    other_type,
    probabilities,
    one_pixel,
    flat_joins,
    rows,
]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("build", SMALL, ids=lambda build: build.__name__)
def test_small_networks(build: Callable[[Draw], int], kind: str) -> None:
    compared = 0
    for seed in range(12):
        draw = Draw(seed, kind)
        content, inputs = draw.finish(build(draw))
        graph = read(content)
        inputs = inputs.reshape(-1, *graph.input.shape)
        compared += compare(content, graph, inputs)
        if seed < 2:
            assert (lower(graph).run(inputs) == graph.run(inputs)).all()
    assert compared >= 12 * 4


def twice(first: tuple, second: tuple, *, flat: bool = False) -> Network:
    """Float32 numbers, quantized twice (type, scale, zero point), and their sum."""
    network = Network()
    x = network.tensor((1, 2, 3), "float32")
    network.inputs = [x]
    if flat:
        size = network.tensor((2,), "int32", data=np.array([1, 6]))
        x = network.op("RESHAPE", [x, size], network.tensor((1, 6), "float32"))
    shape = (1, 6) if flat else (1, 2, 3)
    a, b = (network.op("QUANTIZE", [x], network.tensor(shape, *each)) for each in (first, second))
    if second[0] != "int8":
        b = network.op("QUANTIZE", [b], network.tensor(shape, "int8", 0.75, 9))
    network.outputs = [network.op("ADD", [a, b], network.tensor(shape, "int8", 1.5, -7))]
    return network


def test_float_input_quantized_twice() -> None:
    """The wire carries the integers of the first; the second must be the same, or find its own with an encoding."""
    first = ("int8", 0.25, 3)
    fine = Encoding(IntType(-2000, 2000), Fraction(1, 16))
    for second, encoding, flat in (
        *((first, encoding, flat) for encoding in (None, fine) for flat in (False, True)),
        *((("uint8", 0.25, 131), encoding, False) for encoding in (None, fine)),
        *((second, fine, True) for second in (("int8", 1.0, -5), ("int8", 0.25, 4), ("uint8", 0.5, 3))),
    ):
        network = twice(first, second, flat=flat)
        graph = read(network.content(), encoding=encoding)
        affine, kind = graph.input.affine, graph.input.type
        assert affine is not None and graph.input.shape == ((6,) if flat else (1, 2, 3))
        reference = Reference(network.content())
        for x in np.random.default_rng(0).integers(kind.lo, kind.hi + 1, (20, *graph.input.shape)):
            reference.run(x * float(affine.scale[0]) + float(affine.offset[0]))
            assert graph.run(x[None]).ravel().tolist() == reference.tensor(network.outputs[0]).tolist()
    for second in (("int8", 1.0, -5), ("int8", 0.25, 4), ("uint8", 0.25, 3)):
        with pytest.raises(FrontendError) as caught:
            read(twice(first, second).content())
        assert str(caught.value) == (
            f"small.tflite: node t2 (QUANTIZE): makes {second[0]} of scale {second[1]}, zero point {second[2]} of the "
            "input 't0', of which 't1' is int8 of scale 0.25, zero point 3; quantize the input once, or register the "
            "model with an encoding, the integers that the wire carries"
        )


def test_float_borders() -> None:
    """QUANTIZE on the device: without an encoding the wire carries its integers."""
    network = Network()
    x = network.tensor((1, 6), "float32")
    q = network.op("QUANTIZE", [x], network.tensor((1, 6), "int8", 0.25, 3))
    r = network.op("RELU", [q], network.tensor((1, 6), "int8", 0.5, -100))
    y = network.op("DEQUANTIZE", [r], network.tensor((1, 6), "float32"))
    network.inputs, network.outputs = [x], [y]
    graph = read(network.content())
    assert (graph.input.type, graph.head) == (IntType(-128, 127), "scores")
    assert graph.input.affine is not None
    assert (graph.input.affine.scale, graph.input.affine.offset) == ((Fraction(1, 4),), (Fraction(-3, 4),))
    assert (graph.output_affine.scale, graph.output_affine.offset) == ((Fraction(1, 2),), (Fraction(50),))
    wide = read(network.content(), encoding=Encoding(IntType(-512, 511), Fraction(1, 16)))
    reference = Reference(network.content())
    for numbers in np.random.default_rng(0).integers(-512, 512, (20, 6)):
        reference.run(numbers / 16)
        levels = wide.run(numbers[None])[0]
        assert (levels * 0.5 + 50 == reference.tensor(y)).all()


def test_ends_of_probabilities() -> None:
    """What int8 tools put behind a SOFTMAX for an output of uint8 or float32 changes no probability."""
    for seed, (kind, other) in enumerate((("int8", "uint8"), ("uint8", "int8"))):
        draw = Draw(seed, kind)
        probabilities(draw)
        p = reshaped(draw, len(draw.network.tensors) - 1, 1, 11)
        q = draw.network.op("QUANTIZE", [p], draw.tensor(1, 11, scale=1 / 256, zero=-draw.lo - 128, kind=other))
        content, x = draw.finish(draw.network.op("DEQUANTIZE", [q], draw.network.tensor((1, 1, 11), "float32")))
        graph = read(content)
        compare(content, graph, x)
        reference = Reference(content)
        reference.run(x[0])
        shown = np.array(Head.of(graph).softmax(graph.run(x[:1])[0].tolist()))
        assert ((shown + 128) / 256 == reference.tensor(reference.output["index"])).all()


def test_scores_of_any_softmax() -> None:
    """With another head the network ends before a SOFTMAX that has none here."""
    for beta, scale, zero, shape in ((0.5, 1 / 256, -128, (8,)), (1.0, 1 / 128, 0, (8,)), (1.0, 1 / 256, -128, (2, 4))):
        draw = Draw(1, "int8")
        y = draw.network.op("RELU", [draw.input(*shape)], draw.tensor(*shape))
        content, x = draw.finish(
            draw.network.op("SOFTMAX", [y], draw.tensor(*shape, scale=scale, zero=zero), Beta=beta)
        )
        scores = read(content, head="scores").run(x.reshape(-1, *image_shape(shape)))
        draw.network.operators.pop()
        content, _ = draw.finish(y)
        assert (scores == read(content).run(x.reshape(-1, *image_shape(shape)))).all()
        with pytest.raises(FrontendError, match=r"node t2 \(SOFTMAX\): .*; .* leave it out \(head='scores'\)$"):
            draw.network.op("SOFTMAX", [y], 2, Beta=beta)
            draw.network.outputs = [2]
            read(draw.network.content(), head="softmax")
