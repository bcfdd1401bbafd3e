"""What of TFLite is refused, and how: messages name the operator and the tensor."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tflite_draw import SAME, Draw, like, read, refusal, window
from tflite_networks import Network

from accel.frontends import FrontendError, load


def test_refusals() -> None:
    def one(kind: str, *, inputs: tuple[int, ...] = (), shape: tuple[int, ...] = (4, 4, 2), **options: object) -> str:
        draw = Draw(0, "int8")
        x = draw.input(*(shape if len(shape) == 1 else (4, 4, 2)))
        y = draw.tensor(*shape)
        draw.network.tensors[y]["name"] = "there;and its other names"
        draw.network.op(kind, [x, *inputs], y, **options)
        return refusal(draw.network, y)

    for message, found in {
        "this operator cannot be read; these can: ADD, AVERAGE_POOL_2D, ": one("LOGISTIC"),
        "has no input 1; ": one("ADD"),
        "has other scales in 't0' than in 'there'; ": one("MAX_POOL_2D"),
        "the filter is missing, where a constant is needed; ": one("CONV_2D"),
        "the filter ('t0') is computed, where a constant is needed; ": one("CONV_2D", inputs=(0,)),
        "makes int8 of scale ": one("SOFTMAX", Beta=1.0, shape=(32,)),
        "has beta 2.0; only 1 can be read": one("SOFTMAX", Beta=2.0),
        "works along the last axis of shape (4, 4, 2); it must work along all elements": one("SOFTMAX", Beta=1.0),
        "has the fused activation function 4; ": one("ADD", inputs=(0,), FusedActivationFunction=4),
        "makes shape (4, 2) of shape (4, 4, 2); ": one("RESHAPE", shape=(4, 2)),
        "joins along axis 1 of shape [1, 4, 4, 2]; only channels can be joined": one("CONCATENATION", Axis=1),
        "joins 't0' to 'there' of another scale; TFLite refuses this for int8": one("CONCATENATION", Axis=3),
    }.items():
        place, reason = re.fullmatch(r"(small\.tflite: node there \(\w+\)): (.*)", found).groups()  # type: ignore[union-attr]
        assert place
        assert reason.startswith(message), found


def test_refused_windows_and_weights() -> None:
    draw = Draw(1, "int8")
    x = draw.input(4, 4, 2)
    options = window(Padding=SAME, FilterHeight=2, FilterWidth=2)
    y = draw.network.op("AVERAGE_POOL_2D", [x], draw.tensor(4, 4, 2, **like(draw, x)), **options)
    assert (
        "averages windows that reach outside the image, where TFLite divides by the fewer pixels inside; "
        in refusal(draw.network, y)
    )

    draw = Draw(1, "int8")
    x = draw.input(2, 4)
    w = draw.network.tensor((3, 8), "int8", 0.1, 5, data=np.ones((3, 8)))
    y = draw.network.op("FULLY_CONNECTED", [x, w, -1], draw.tensor(3))
    assert "weights 't1' of type int8 have zero points that are not 0; " in refusal(draw.network, y)

    draw = Draw(1, "int8")
    x = draw.input(8)
    w = draw.network.tensor((3, 8), "int8", 0.1, data=np.ones((3, 8)))
    b = draw.network.tensor((3,), "int32", data=np.array([2**31 - 1, 0, 0]))
    y = draw.network.op("FULLY_CONNECTED", [x, w, b], draw.tensor(3))
    assert "has sums that can overflow 32 bits" in refusal(draw.network, y)

    draw = Draw(1, "int8")
    x = draw.input(2, 2, 2)
    w = draw.network.tensor((1, 1, 1, 2), "int16", 0.1, data=np.ones((1, 1, 1, 2)))
    y = draw.network.op("CONV_2D", [x, w, -1], draw.tensor(2, 2, 1), **window(DilationHFactor=1, DilationWFactor=1))
    assert "tensor 't1' is of type int16, not int8 or uint8; " in refusal(draw.network, y)

    network = Network()
    x = network.tensor((1, 4), "float32")
    y = network.op("RELU", [x], network.tensor((1, 4), "float32"))
    network.inputs = [x]
    assert "reads the input 't0', which is not quantized; " in refusal(network, y)


def test_refused_files(tmp_path: Path) -> None:
    draw = Draw(0, "int8")
    x = draw.input(3)
    y = draw.network.op("RELU", [x], draw.tensor(3))
    content, _ = draw.finish(y)
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    assert load(path).name == "broken"
    rng = np.random.default_rng(0)
    for cut in rng.integers(8, len(content), 60):
        path.write_bytes(content[: int(cut)])
        with pytest.raises(FrontendError, match=re.escape(str(path))):
            load(path)
    for _ in range(300):  # flipped bytes are read as another network or refused, but never crash
        broken = bytearray(content)
        for at in rng.integers(8, len(content), int(rng.integers(1, 6))):
            broken[at] = rng.integers(0, 256)
        try:
            read(bytes(broken))
        except FrontendError as error:
            assert error.file == "small.tflite"

    draw.network.outputs = [y, y]
    with pytest.raises(FrontendError, match=r"^small.tflite: must have one output, not 2 \(t1, t1\); "):
        read(draw.network.content())
    draw.network.operators, draw.network.outputs = [], [y]
    with pytest.raises(FrontendError, match=r"^small.tflite: holds no operators; "):
        read(draw.network.content())
    draw = Draw(0, "int8")
    x = draw.network.tensor((2, 3), "int8", 0.1)
    draw.network.inputs = [x]
    y = draw.network.op("RELU", [x], draw.network.tensor((2, 3), "int8", 0.1))
    assert refusal(draw.network, y) == (
        "small.tflite: node t1 (RELU): tensor 't0' has shape [2, 3]; convert for a batch of one"
    )
    for shape, what in (((-1, 3), "whose batch is dynamic"), ((1, -1), "whose size is not fixed")):
        draw.network.tensors[x]["shape"] = shape
        assert refusal(draw.network, y) == (
            f"small.tflite: node t1 (RELU): tensor 't0' has shape {list(shape)}, {what}; convert for a batch of one"
        )


def test_refused_ends_and_constants() -> None:
    """Networks that compute nothing, constants of other types, shapes that are not those of the results."""
    for kind, message in {
        "SOFTMAX": "nothing is computed of the input 't0' before the output 't1'; a network needs an operator besides",
        "RESHAPE": "nothing is computed of the input 't0' before the output 't1'; ",
        "DEQUANTIZE": "nothing is computed of the input 't0' before the output 't1'; ",
        "RELU": "makes (8,), but tensor 't1' has shape [1, 9]; ",
    }.items():
        draw = Draw(1, "int8")
        x, size = draw.input(8), 9 if kind == "RELU" else 8
        options = {"Beta": 1.0} if kind == "SOFTMAX" else {}
        y = draw.network.op(kind, [x], draw.tensor(size, scale=1 / 256, zero=-128), **options)
        assert refusal(draw.network, y).startswith(f"small.tflite: node t1 ({kind}): {message}")
    draw = Draw(1, "int8")
    draw.network.op("RELU", [draw.input(8)], draw.tensor(8))
    assert refusal(draw.network, draw.tensor(8)).startswith("small.tflite: no operator makes the output 't2'; ")

    network = Network()
    x = network.tensor((1, 4), "float32")
    network.inputs = [x]
    y = network.op("QUANTIZE", [x], network.tensor((1, 4), "int8", 0.5))
    assert "node t1 (QUANTIZE): nothing is computed of the input 't0' before the output 't1'; " in refusal(network, y)
    z = network.op(
        "SOFTMAX",
        [network.op("DEQUANTIZE", [y], network.tensor((1, 4), "float32"))],
        network.tensor((1, 4), "float32"),
        Beta=1.0,
    )
    assert "node t3 (SOFTMAX): makes float32 of float32; int8 of int8 or uint8 of uint8" in refusal(network, z)

    draw = Draw(1, "int8")
    x = draw.input(8)
    w = draw.network.tensor((4, 8), "int8", 0.1, data=np.ones((4, 8)))
    y = draw.network.op("FULLY_CONNECTED", [x, w, -1], draw.tensor(4))
    draw.network.tensors[w]["type"] = "int4"
    assert "node t2 (FULLY_CONNECTED): constant 't1' is of type int4; these can be read: " in refusal(draw.network, y)


def test_refused_shapes() -> None:
    """Vectors and images that were made flat stay two things."""
    draw = Draw(2, "int8")
    x = draw.input(2, 2, 2)
    size = draw.network.tensor((2,), "int32", data=np.array([1, 8]))
    flat = draw.network.op("RESHAPE", [x, size], draw.tensor(8, **like(draw, x)))
    w, _ = draw.weights((2, 8), 0, per_channel=False)
    a = draw.network.op("FULLY_CONNECTED", [flat, w, -1], draw.tensor(2))
    mean = draw.network.tensor((2,), "int32", data=np.array([1, 2]))
    b = draw.network.op("MEAN", [x, mean], draw.tensor(2), KeepDims=False)
    y = draw.network.op("ADD", [a, b], draw.tensor(2))
    assert "adds tensors of shape (2,) that were computed in the shapes (2,) and (1, 1, 2); " in refusal(
        draw.network, y
    )
    y = draw.network.op("CONCATENATION", [a, b], draw.tensor(4, **like(draw, a)), Axis=1)
    draw.network.operators = [op for op in draw.network.operators if op[0] != "ADD"]
    assert "joins tensors that were computed in the shapes (2,), (1, 1, 2) and reshaped; join them before" in refusal(
        draw.network, y
    )
    draw = Draw(2, "int8")
    w, _ = draw.weights((2, 3), 0, per_channel=False)
    y = draw.network.op("FULLY_CONNECTED", [draw.input(2, 4), w, -1], draw.tensor(2))
    assert "weights of shape [2, 3] cannot follow shape (2, 4), computed as (1, 2, 4); " in refusal(draw.network, y)
