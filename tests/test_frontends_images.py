"""Networks on images: random ones against rational arithmetic, layouts, branches that share, RN07 exactly."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx_graphs import assert_same
from onnx_images import REFUSALS, image_networks
from onnx_networks import Network

from accel.frontends import Encoding, FrontendError, load
from accel.graph import (
    Activation,
    Add,
    Affine,
    ArgMax,
    Concat,
    Conv,
    Dense,
    Graph,
    IntType,
    MaxPool,
    Pad,
    SumPool,
    TopK,
    Upsample,
    Window,
)
from accel.passes import lower

I4 = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "network.onnx"


def kinds(graph: Graph) -> list[type]:
    return [type(op) for op in graph.operators]


def integers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 8, shape).astype(np.float32)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(network=image_networks(), seed=st.integers(0, 2**32 - 1))
def test_random_images(path: Path, network: tuple[Network, str], seed: int) -> None:
    """Branches, strides, odd sizes, single channels and pixels, groups, dilations, in one and two dimensions."""
    net, output = network
    try:
        graph = load(net.save(path, output))
    except FrontendError as error:
        assert REFUSALS.search(str(error))
        reject()
    assert_same(net, output, graph, seed, 2)


def start(*shape: int) -> tuple[Network, str]:
    """A network with a quantized input of this shape."""
    net = Network((1, *shape))
    return net, net.add("Quant", "x", 0.5, 0.0, 4.0, **I4)


def test_convolution(path: Path) -> None:
    """The whole of an operator: NCHW becomes NHWC, the zero point pads, bias and zero point go into the offset."""
    net = Network((1, 2, 5, 4))
    x = net.add("Quant", "x", 0.5, 3.0, 4.0, signed=0, narrow=0, rounding_mode="ROUND")
    w, b = integers(4, 1, 3, 2) * 0.25, np.array([1.0, 0.5, -0.25, 3.0], dtype=np.float32)
    y = net.add("Conv", x, w, b, group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 1])
    graph = load(net.save(path, y))
    (conv,) = graph.operators
    assert isinstance(conv, Conv)
    assert (graph.input.shape, graph.input.type, graph.input.affine) == (
        (5, 4, 2),
        IntType(0, 15),
        Affine((Fraction(1, 2),), (Fraction(-3, 2),)),
    )
    assert (conv.window, conv.groups, conv.pad_value) == (Window((3, 2), (2, 1), (1, 2), (1, 0, 2, 1)), 2, 3)
    assert (conv.weights == np.moveaxis(integers(4, 1, 3, 2), 1, -1)).all()
    assert graph.output_affine.scale == (Fraction(1, 8),)
    assert_same(net, y, graph)


def test_input_with_channels_last(path: Path) -> None:
    net = Network((1, 3, 4, 2), channels_last=True)
    q = net.add("Quant", "x", 0.5, 0.0, 4.0, **I4)
    y = net.add("Conv", net.add("Transpose", q, perm=[0, 3, 1, 2]), integers(3, 2, 2, 2))
    graph = load(net.save(path, y))
    assert graph.input.shape == (3, 4, 2)
    assert_same(net, y, graph)
    back = net.add("Transpose", y, perm=[0, 2, 3, 1])
    assert load(net.save(path, back)).run(np.ones((1, 3, 4, 2), dtype=int)).shape == (1, 2, 3, 3)


def test_channels_last_operators_of_qonnx(path: Path) -> None:
    """Conv, MaxPool and BatchNormalization of that domain are those of ONNX between transpositions."""
    net = Network((1, 4, 5, 2), channels_last=True)
    x = net.add("Quant", "x", 0.5, 0.0, 4.0, **I4)
    conv = net.add("Conv", x, integers(3, 2, 2, 2), pads=[0, 1, 0, 0])
    norm = net.add(
        "BatchNormalization",
        conv,
        *(np.array(v, dtype=np.float32) for v in ([1, 2, 3], [0, 1, 0], [0, 0, 1], [1, 1, 4])),
    )
    pool = net.add("MaxPool", net.add("Quant", norm, 2.0, 0.0, 4.0, **I4), kernel_shape=[2, 2])
    for node in net.nodes:
        if node.op_type in ("Conv", "MaxPool", "BatchNormalization"):
            node.domain = "qonnx.custom_op.channels_last"
    last = load(net.save(path, pool))
    first = Network((1, 4, 5, 2), channels_last=True)
    x = first.add("Transpose", first.add("Quant", "x", 0.5, 0.0, 4.0, **I4), perm=[0, 3, 1, 2])
    conv = first.add("Conv", x, np.moveaxis(integers(3, 2, 2, 2), -1, 1), pads=[0, 1, 0, 0])
    norm = first.add(
        "BatchNormalization",
        conv,
        *(np.array(v, dtype=np.float32) for v in ([1, 2, 3], [0, 1, 0], [0, 0, 1], [1, 1, 4])),
    )
    pool = first.add("MaxPool", first.add("Quant", norm, 2.0, 0.0, 4.0, **I4), kernel_shape=[2, 2])
    graph = load(first.save(path, pool))
    assert kinds(last) == kinds(graph) == [Conv, Activation, MaxPool]
    x = np.random.default_rng(0).integers(-8, 8, (5, *graph.input.shape))
    assert (last.run(x) == graph.run(x)).all()


def test_readers_of_one_tensor_share_it(path: Path) -> None:
    """Two convolutions, a pool and a sum read one quantized tensor; a quantizer that was copied counts as one."""
    net, x = start(2, 4, 4)
    x = net.add("Conv", x, integers(2, 2, 1, 1))
    copies = [net.add("Quant", net.add("Relu", x), 0.5, 0.0, 4.0, **I4) for _ in range(2)]
    a = net.add("Conv", copies[0], integers(2, 2, 3, 3), pads=[1, 1, 1, 1])
    b = net.add("Conv", copies[1], integers(2, 2, 1, 1, seed=1))
    c = net.add("MaxPool", copies[0], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = net.add("Add", net.add("Add", a, b), net.add("Sub", c, copies[1]))
    graph = load(net.save(path, y))
    assert kinds(graph).count(Activation) == 1
    (activation,) = (op for op in graph.operators if isinstance(op, Activation))
    assert sum(op.inputs.count(activation.output) for op in graph.operators) == 4
    assert_same(net, y, graph)


def test_the_input_is_read_by_several(path: Path) -> None:
    """As an image by two convolutions and a sum, and flat, in the file's order, by a dense layer."""
    net, x = start(2, 3, 3)
    a = net.add("Conv", x, integers(2, 2, 1, 1))
    b = net.add("Conv", x, integers(2, 2, 3, 3), auto_pad="SAME_LOWER")
    image = net.add("Flatten", net.add("Add", net.add("Add", a, x), b))
    flat = net.add("MatMul", net.add("Flatten", x), integers(18, 2))
    y = net.add(
        "Concat", net.add("MatMul", net.add("Quant", image, 8.0, 0.0, 8.0, **I4), integers(18, 2)), flat, axis=1
    )
    graph = load(net.save(path, y))
    assert (graph.input.shape, kinds(graph).count(Conv), kinds(graph).count(Activation)) == ((3, 3, 2), 2, 1)
    assert_same(net, y, graph)


@pytest.mark.parametrize(
    ("a", "b", "multipliers"),
    [(0.5, 0.5, (1, 1)), (0.5, 0.125, (4, 1)), (0.75, 0.5, (3, 2)), (0.3, 0.1, (40265320, 13421773))],
)
def test_sums_have_whole_multipliers(path: Path, a: float, b: float, multipliers: tuple[int, int]) -> None:
    net, x = start(1, 2, 2)
    x = net.add("Conv", x, integers(1, 1, 1, 1))
    x = net.add("Sub", net.add("Quant", x, a, 0.0, 4.0, **I4), net.add("Quant", x, b, 1.0, 4.0, **I4))
    graph = load(net.save(path, x))
    (add,) = (op for op in graph.operators if isinstance(op, Add))
    assert add.multipliers == (multipliers[0], -multipliers[1])
    assert_same(net, x, graph)


def test_concatenation_keeps_scales(path: Path) -> None:
    net, x = start(2, 2, 3)
    x = net.add("Conv", x, integers(2, 2, 1, 1))
    parts = [net.add("Quant", x, s, 0.0, bits, **I4) for s, bits in ((0.5, 4.0), (0.25, 3.0))]
    y = net.add("Conv", net.add("Concat", *parts, parts[0], axis=1), integers(2, 6, 2, 2))
    graph = load(net.save(path, y))
    assert kinds(graph) == [Conv, Activation, Activation, Concat, Conv]
    assert graph.tensors["Concat_4"] == graph.operators[3].infer(*(graph.tensors[n] for n in graph.operators[3].inputs))
    assert_same(net, y, graph)
    flat = net.add("Concat", *(net.add("Flatten", part) for part in parts), axis=-1)
    flat = net.add("MatMul", flat, integers(24, 2))
    assert_same(net, flat, load(net.save(path, flat)))


@pytest.mark.parametrize(
    ("operator", "attributes", "shape", "window"),
    [
        ("GlobalAveragePool", {}, (1, 3, 1, 1), Window((4, 2))),
        ("GlobalMaxPool", {}, (1, 3, 1, 1), Window((4, 2))),
        ("ReduceMean", {"axes": [2, 3]}, (1, 3, 1, 1), Window((4, 2))),
        ("ReduceMean", {"axes": [-1, 2], "keepdims": 0}, (1, 3), Window((4, 2))),
        ("ReduceMean", {"axes": [3], "keepdims": 0}, (1, 3, 4), Window((1, 2))),
        ("ReduceMax", {"axes": [2]}, (1, 3, 1, 2), Window((4, 1))),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 1]}, (1, 3, 2, 1), Window((2, 2), (2, 1))),
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1},
            (1, 3, 4, 2),
            Window((2, 2), pads=(1, 0, 0, 1)),
        ),
        (
            "MaxPool",
            {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER"},
            (1, 3, 4, 2),
            Window((3, 2), pads=(1, 0, 1, 1)),
        ),
        (
            "MaxPool",
            {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1},
            (1, 3, 2, 1),
            Window((3, 2), (2, 2), pads=(0, 0, 1, 0)),
        ),
    ],
)
def test_pools(path: Path, operator: str, attributes: dict[str, Any], shape: tuple[int, ...], window: Window) -> None:
    net, x = start(3, 4, 2)
    y = net.add(operator, x, **attributes)
    graph = load(net.save(path, y))
    (pool,) = graph.operators
    assert isinstance(pool, MaxPool if "Max" in operator else SumPool)
    assert pool.window == window
    assert graph.tensors[graph.output].size == np.prod(shape)
    if "Reduce" not in operator or attributes.get("keepdims", 1):
        assert_same(net, y, graph)
    flat = net.add("MatMul", net.add("Flatten", y), integers(int(np.prod(shape)), 2))
    assert_same(net, flat, load(net.save(path, flat)))


def test_mean_of_an_image_with_channels_last(path: Path) -> None:
    net = Network((1, 4, 3, 2), channels_last=True)
    y = net.add("ReduceMean", net.add("Quant", "x", 0.5, 0.0, 4.0, **I4), axes=[1, 2], keepdims=0)
    graph = load(net.save(path, y))
    assert (graph.input.shape, kinds(graph), graph.tensors[graph.output].shape) == ((4, 3, 2), [SumPool], (1, 1, 2))
    assert_same(net, y, graph)


def test_largest_of_falling_numbers(path: Path) -> None:
    """A batch normalization with negative factors before the pool: the signs go into the weights."""
    net, x = start(2, 4, 4)
    x = net.add("Conv", x, integers(3, 2, 2, 2))
    factor = np.array([0.5, -0.25, -1.0], dtype=np.float32).reshape(3, 1, 1)
    pool = net.add(
        "MaxPool", net.add("Relu", net.add("Add", net.add("Mul", x, factor), np.float32(3))), kernel_shape=[2, 2]
    )
    y = net.add("Quant", pool, 1.0, 0.0, 3.0, signed=0, narrow=0, rounding_mode="FLOOR")
    graph = load(net.save(path, y))
    assert_same(net, y, graph)
    lowered = lower(graph)
    assert [op.__class__.__name__ for op in lowered.operators] == ["Conv", "Threshold", "MaxPool"]
    x = np.random.default_rng(1).integers(-8, 8, (20, *graph.input.shape))
    assert (graph.run(x) == lowered.run(x)).all()


RESIZE = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@pytest.mark.parametrize(
    "attributes",
    [
        RESIZE,
        {},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
        {"coordinate_transformation_mode": "pytorch_half_pixel"},
    ],
)
@pytest.mark.parametrize("sizes", [False, True])
def test_ways_to_repeat_pixels(path: Path, attributes: dict[str, Any], sizes: bool) -> None:
    net, x = start(2, 3, 2)
    operands = ["", "", np.array([1, 2, 6, 6])] if sizes else ["", np.array([1, 1, 2, 3], dtype=np.float32)]
    y = net.add("Resize", x, *operands, **attributes)
    graph = load(net.save(path, y))
    (upsample,) = graph.operators
    assert isinstance(upsample, Upsample)
    assert upsample.factors == (2, 3)
    q = np.arange(12).reshape(1, 3, 2, 2) - 6
    assert (graph.run(q) == q.repeat(2, axis=1).repeat(3, axis=2)).all()
    old = net.add("Upsample", x, np.array([1, 1, 2, 3], dtype=np.float32), mode="nearest")
    assert (load(net.save(path, old)).run(q) == graph.run(q)).all()


def test_pad_with_a_number(path: Path) -> None:
    net, x = start(2, 2, 3)
    y = net.add("Pad", x, np.array([0, 0, 1, 0, 0, 0, 0, 2]), np.float32(5.5))
    graph = load(net.save(path, y))
    (pad,) = graph.operators
    assert isinstance(pad, Pad)
    assert (pad.pads, pad.value, graph.tensors[pad.output].type) == ((1, 0, 0, 2), 11, IntType(-8, 11))
    assert_same(net, y, graph)


def test_rows(path: Path) -> None:
    """A 1-D network is one of images of height 1."""
    net, x = start(2, 7)
    x = net.add("Conv", x, integers(4, 2, 3), np.ones(4), strides=[2], pads=[1, 1])
    x = net.add("MaxPool", net.add("Quant", x, 4.0, 0.0, 4.0, **I4), kernel_shape=[2])
    x = net.add("Pad", x, np.array([0, 0, 1, 0, 0, 0]))
    x = net.add("Resize", x, "", np.array([1, 1, 2], dtype=np.float32), **RESIZE)
    x = net.add("GlobalAveragePool", x)
    graph = load(net.save(path, x))
    assert (graph.input.shape, [graph.tensors[op.output].shape for op in graph.operators]) == (
        (1, 7, 2),
        [(1, 4, 4), (1, 4, 4), (1, 3, 4), (1, 4, 4), (1, 8, 4), (1, 1, 4)],
    )
    assert_same(net, x, graph)


def test_best_classes_of_an_image_of_one_pixel(path: Path) -> None:
    net, x = start(2, 2, 2)
    x = net.add("GlobalAveragePool", net.add("Conv", x, integers(5, 2, 1, 1)))
    graph = load(net.save(path, net.add("TopK", net.add("Flatten", x), np.array([3]), outputs=2)))
    assert (kinds(graph), graph.head, graph.output_affine) == ([Conv, SumPool, TopK], "scores", Affine())
    best = load(net.save(path, net.add("ArgMax", x, axis=1)))
    assert (kinds(best), best.head) == ([Conv, SumPool, ArgMax], "argmax")
    q = np.random.default_rng(0).integers(-8, 8, (9, *graph.input.shape))
    assert (graph.run(q)[:, :1] == best.run(q)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_made_flat_at_the_end(path: Path, channels: int) -> None:
    """The file's order is channels first: a dense layer that picks elements restores it, if it is another one."""
    net, x = start(2, 3, 4)
    scale = np.array([0.5, 4.0, 0.25][:channels], dtype=np.float32).reshape(-1, 1, 1)
    y = net.add("Quant", net.add("Conv", x, integers(channels, 2, 2, 2)), 8 * scale, 0.0, 4.0, **I4)
    flat = net.add("Flatten", y)
    graph = load(net.save(path, flat))
    assert (kinds(graph), graph.operators[-1].name) == (
        ([Conv, Activation], "Quant_2") if channels == 1 else ([Conv, Activation, Dense], "Flatten_3")
    )
    assert_same(net, flat, graph)
    scores = lower(graph)
    best = load(net.save(path, net.add("ArgMax", flat, axis=1)))
    assert graph.output_affine is not None
    q = np.random.default_rng(0).integers(-8, 8, (20, *graph.input.shape))
    scale, offset = (np.array(v, dtype=float) for v in (graph.output_affine.scale, graph.output_affine.offset))
    real = scores.run(q) * scale + offset  # exact: scales are powers of two
    assert (lower(best).run(q)[:, 0] == real.reshape(20, -1).argmax(axis=1)).all()


@pytest.mark.parametrize("attributes", [{"pads": []}, {"dilations": [2]}, {"auto_pad": "VALID"}, {}])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (2, 2), (2, 3), (3, 2)])
def test_windows_rounded_up(path: Path, attributes: dict[str, Any], kernel: int, stride: int) -> None:
    """Like onnxruntime: one more window at the end if it begins within the image or the padding before it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if "pads" in attributes:
        attributes = {"pads": [0, kernel - 1]}
    for width in (5, 6, 7):
        net, x = start(2, width)
        y = net.add("MaxPool", x, kernel_shape=[kernel], strides=[stride], ceil_mode=1, **attributes)
        graph = load(net.save(path, y))
        q = np.random.default_rng(width).integers(-8, 8, (3, *graph.input.shape))
        proto = helper.make_model(
            helper.make_graph(
                net.nodes[1:],
                "pool",
                [helper.make_tensor_value_info(x, 1, (1, 2, width))],
                [helper.make_tensor_value_info(y, 1, None)],
            ),
            opset_imports=[helper.make_opsetid("", 13)],
            ir_version=8,
        )
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        for wire, result in zip(q, graph.run(q), strict=True):
            (expected,) = session.run(None, {x: wire.transpose(0, 2, 1).astype(np.float32)})
            assert (expected.transpose(0, 2, 1) == result).all()


def floats(model: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """RN07 in float64, whose scales are powers of two: every product and sum fits 53 bits, so nothing is rounded."""
    values = {each.name: numpy_helper.to_array(each).astype(np.float64) for each in model.graph.initializer}
    values[model.graph.input[0].name] = x
    for node in model.graph.node:
        i = [values[name] for name in node.input]
        a = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        match node.op_type:
            case "Quant":
                low, high = (-(2 ** (i[3] - 1)), 2 ** (i[3] - 1) - 1) if a["signed"] else (0, 2 ** i[3] - 1)
                y = np.clip(np.rint(i[0] / i[1]), low, high) * i[1]
            case "Conv":
                top, left, bottom, right = a["pads"]
                padded = np.pad(i[0], ((0, 0), (0, 0), (top, bottom), (left, right)))
                views = np.lib.stride_tricks.sliding_window_view(padded, a["kernel_shape"], axis=(2, 3))
                views = views[:, :, :: a["strides"][0], :: a["strides"][1]]
                y = np.einsum("ncijkl,mckl->nmij", views, i[1], optimize=True) + i[2][:, None, None]
            case "Relu":
                y = np.maximum(i[0], 0)
            case "Flatten":
                y = i[0].reshape(len(i[0]), -1)
            case "MatMul":
                y = i[0] @ i[1]
            case "Add":
                y = i[0] + i[1]
        values[node.output[0]] = y
    return values


def test_rn07(data: Path) -> None:
    """Each activation, and the scores, on some inputs; 85.0 % of all of them, as published with the data."""
    file = data / "models" / "rn07.onnx"
    graph = load(file, encoding=Encoding(IntType(0, 255), Fraction(1, 256)))
    folder = data / "datasets" / "ic01"
    rows = list(csv.reader((folder / "y_labels.csv").open()))
    x = np.stack([np.fromfile(folder / row[0], np.uint8) for row in rows]).reshape(-1, 32, 32, 3).astype(np.int64)
    assert graph.input.shape == x.shape[1:]
    some = x[::25]
    model = onnx.load(file)
    expected = floats(model, some.transpose(0, 3, 1, 2) / 256)
    outputs = {node.name: node.output[0] for node in model.graph.node}
    compared = 0
    for name, levels in graph.run_all(some).items():
        if isinstance(next((op for op in graph.operators if op.output == name), None), Activation):
            assert (expected[outputs[name]] * 64 == levels.transpose(0, 3, 1, 2)).all()
            compared += levels.size
    assert compared == len(some) * (32 * 32 * (32 + 4 + 32) + 8 * 8 * (32 + 32))
    scale, offset = (np.array(v, dtype=np.float64) for v in (graph.output_affine.scale, graph.output_affine.offset))
    assert (graph.run(some) * scale + offset == expected[model.graph.output[0].name]).all()
    scores = lower(graph).run(x) * scale + offset
    assert (scores.argmax(axis=1) == [int(row[2]) for row in rows]).sum() == 170
