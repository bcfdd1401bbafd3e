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
    assert "averages windows that reach outside the image; use VALID padding" in refusal(draw.network, y)

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
    assert refusal(draw.network, y) == "small.tflite: tensor 't0' has shape [2, 3]; convert for a batch of one"
