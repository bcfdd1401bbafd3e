"""The heads in C print what `accel.graph.head` says, digit for digit, on thousands of outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from firmware_device import Device, wire
from test_manifest import EXAMPLE

from accel.graph import GraphError, IntType
from accel.graph.head import results
from accel.manifest import Input, InputEncoding, Manifest, Output, output_bytes
from firmware import host

OUTPUTS = 400
BYTE, WORD = IntType(-128, 127), IntType(-(2**31), 2**31 - 1)


def manifest(
    head: str, kind: IntType, *, scale: tuple[float, ...], offset: tuple[float, ...] = (0.0,), size: int = 12
) -> Manifest:
    return replace(
        EXAMPLE,
        head=head,
        input=Input((4,), 4, 4, 4, BYTE),
        output=Output((size,), size, output_bytes(kind) * size, 4, kind, scale, offset),
    )


def same_size(x: IntType, y: IntType, size: int, *, encoding: InputEncoding, scale: float, offset: float) -> Manifest:
    width = 1 if x.width <= 8 else 2
    return replace(
        EXAMPLE,
        head="mse",
        input_encoding=encoding,
        input=Input((size,), size, size * width, 4, x),
        output=Output((size,), size, output_bytes(y) * size, 4, y, (scale,), (offset,)),
    )


def reals(x: IntType, size: int, *, scale: float, zero_point: int) -> Manifest:
    """Of float32 numbers, which the device quantizes; the output is meant to be like the input."""
    scale = float(np.float32(scale))
    model = same_size(x, BYTE, size, encoding=InputEncoding("float32"), scale=scale, offset=0.0)
    return replace(model, input=replace(model.input, scale=(scale,), offset=(-scale * zero_point,)))


def numbers(model: Manifest, rng: np.random.Generator) -> np.ndarray:
    """Float32 numbers: some that are quantized up and down, ties, all powers of two, and what is far outside."""
    quantizer, size = model.input.quantizer, (OUTPUTS, model.input.elements)
    kind = model.input.type
    steps = rng.uniform(kind.lo - 3, kind.hi + 3, size)
    steps[::3] = np.round(steps[::3] * 2) / 2
    steps[1::3] += rng.integers(-1, 2, steps[1::3].shape) * 2.0**-20
    x = (quantizer.scale * (steps - quantizer.zero_point)).astype(np.float32)
    x[3] = rng.choice([-1, 1], x.shape[1]) * 2.0 ** rng.integers(-140, 128, x.shape[1])
    x[4, : len(x[4]) // 2], x[4, len(x[4]) // 2 :] = np.inf, -np.inf
    x[5], x[6] = -0.0, 3e38
    x[7] = np.float32(1e-45)
    return x


CASES = {
    "kws": manifest("softmax", IntType(-9000, 9000), scale=(0.0222,)),
    "steep": manifest("softmax", WORD, scale=(37.5,), offset=(-4e9,), size=5),
    "flat": manifest("softmax", IntType(0, 200), scale=(1e-7,), size=40),
    "channels": manifest("softmax", BYTE, scale=(0.1, 0.0333, -0.07), offset=(0.0, 1e-3, -2.5), size=3),
    "alone": manifest("softmax", BYTE, scale=(0.1,), size=1),
    "scores": manifest("scores", IntType(-90000, 90000), scale=(0.00137,), offset=(0.4,), size=10),
    "large": manifest("scores", WORD, scale=(1.0,), size=3),
    "levels": manifest("scores", IntType(0, 3), scale=(0.25, 0.3, 0.35, 0.4), offset=(0.0, -0.1, 0.1, 0.0), size=4),
    "kws int8": manifest("softmax_int8", BYTE, scale=(0.14469268918037415,)),
    "steep int8": manifest("softmax_int8", BYTE, scale=(3.5,), size=5),
    "flat int8": manifest("softmax_int8", IntType(0, 255), scale=(1e-4,), size=40),
    "alone int8": manifest("softmax_int8", BYTE, scale=(0.1,), size=1),
    "index": manifest("argmax", IntType(0, 11), scale=(1.0,), size=1),
    "ad08": same_size(
        BYTE, IntType(-4000, 4000), 64, encoding=InputEncoding("int8", 0.25, 0.0), scale=0.0071, offset=-0.125
    ),
    "wide": same_size(
        IntType(-30000, 30000), WORD, 9, encoding=InputEncoding("int16", 1e-3, 5.0), scale=1e-8, offset=0.0
    ),
    "channels in": replace(
        same_size(BYTE, BYTE, 6, encoding=InputEncoding("int8", 0.25, 0.0), scale=0.3, offset=1.0),
        input=Input((2, 1, 3), 6, 6, 3, BYTE, (0.25, 0.3, 0.1), (0.0, -1.0, 2.0)),
    ),
    "ad01": reals(BYTE, 640, scale=0.39101523160934448, zero_point=89),
    "steep reals": reals(IntType(0, 255), 7, scale=1e-6, zero_point=0),
    "wide reals": reals(IntType(-30000, 30000), 9, scale=0.5, zero_point=-1234),
}


@pytest.mark.parametrize("name", CASES)
def test_c_and_python_print_the_same(tmp_path: Path, name: str) -> None:
    model = CASES[name]
    rng = np.random.default_rng(len(name))
    x_type, y_type = model.input.type, model.output.type
    x = rng.integers(x_type.lo, x_type.hi + 1, (OUTPUTS, model.input.elements))
    if model.input_encoding.reals:
        x = numbers(model, rng)
    if model.head != "mse":
        x[:, :2] = np.arange(OUTPUTS)[:, None] // (1, 100) % (100, 100)  # an input of its own for each output
    size = model.output.elements
    spread = np.minimum(2.0 ** rng.integers(0, 33, (OUTPUTS, 1)), y_type.hi - y_type.lo + 1)
    low = y_type.lo + rng.random((OUTPUTS, 1)) * (y_type.hi - y_type.lo + 1 - spread)
    y = np.clip(np.floor(low + rng.random((OUTPUTS, size)) * spread).astype(np.int64), y_type.lo, y_type.hi)
    y[0], y[1] = y_type.lo, y_type.hi
    y[2, : size // 2], y[2, size // 2 :] = y_type.lo, y_type.hi

    program = host.build(manifest=model, out_dir=tmp_path)
    q = model.input.quantizer(x) if model.input_encoding.reals else x
    q, places = np.unique(q, axis=0, return_index=True)  # a device has one output for an input
    x, y = x[places], y[places]
    answers = host.write_answers(tmp_path / "answers.bin", model, q, y)
    with Device(program, "--answers", answers) as device:
        for a, b in zip(x, y, strict=True):
            assert "m-load-done" in device.load(wire(a, model.input_encoding.wire))
            said = device.lines("infer 1 0")[-1]
            assert said == f"m-results-[{','.join(results(model, a, b))}]"
        assert device.lines("scores") == [f"m-scores-[{','.join(map(str, y[-1]))}]"]
        assert device.lines("results") == [said]


def test_numbers_keep_to_their_input(tmp_path: Path) -> None:
    """A payload that comes after an inference does not change what its result means."""
    model = CASES["ad08"]
    x, y = np.zeros((1, 64), int), np.full((1, 64), 1000)
    program = host.build(manifest=model, out_dir=tmp_path)
    with Device(program, "--answers", host.write_answers(tmp_path / "a", model, x, y)) as device:
        device.load(bytes(64))
        said = device.lines("infer 1 0")[-1]
        assert said == f"m-results-[{results(model, x[0], y[0])[0]}]"
        device.load(bytes([100] * 64))
        assert device.lines("results") == [said]


def test_what_is_no_number(tmp_path: Path) -> None:
    model = CASES["ad01"]
    x = np.zeros(640, np.float32)
    x[[5, 9]] = np.nan
    program = host.build(manifest=model, out_dir=tmp_path)
    zeros = np.zeros((1, 640), np.int64)
    with Device(program, "--answers", host.write_answers(tmp_path / "a", model, zeros, zeros)) as device:
        device.load(wire(x, "float32"))
        assert device.lines("infer 1 0") == ["e-[Input element 5 is not a number]"]
    with pytest.raises(GraphError, match=r"^element 5 is not a number$"):
        model.input.quantizer(x)
