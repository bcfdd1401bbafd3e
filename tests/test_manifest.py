"""The manifest: what is written is read back, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accel.dataflow import store
from accel.graph import IntType
from accel.manifest import (
    KINDS,
    BudgetEntry,
    Estimate,
    Input,
    InputEncoding,
    LayerEntry,
    LinkEntry,
    Manifest,
    ManifestError,
    Memory,
    NodeEntry,
    Output,
    input_bytes,
)

EXAMPLE = Manifest(
    name="kws-w3a3",
    task="kws01",
    hash="8f3a91c2",
    input=Input((490,), 490, 490, 4, IntType(-128, 127)),
    output=Output((12,), 12, 48, 4, IntType(-9000, 9000), (0.0222,), (0.0,)),
    head="softmax",
    input_encoding=InputEncoding("int8", 0.33674246, 0.0),
    pipeline=(
        NodeEntry("table0", "table", 4, 120, 90, 0.0, 0),
        NodeEntry(
            "array0",
            "array",
            470,
            9000,
            7000,
            30.5,
            220,
            pe=32,
            simd=20,
            drain=8,
            multiplier="dsp",
            memory="bram",
            layers=(LayerEntry("dense0", 490, 256, 3, 3, "threshold", 125440, 200),),
            steps=200,
            lanes=4,
            shape=(12,),
            packing=0.875,
        ),
        NodeEntry(
            "conv0",
            "conv",
            300,
            900,
            700,
            3.5,
            20,
            pe=4,
            simd=2,
            drain=1,
            multiplier="lut",
            memory="lut",
            layers=(LayerEntry("conv0", 18, 8, 3, 3, None, 9216, 128, kernel=(3, 3)),),
            shape=(8, 8, 8),
            taps=3,
            capacity=20,
            buffer="lut",
        ),
    ),
    estimate=Estimate(474, 9120, 7090, 30.5, 220, 300),
    links=(
        LinkEntry("", "table0", 0, 4, 8, 0),
        LinkEntry("table0", "array0", 0, 4, 3, 600, 40, 20, 0.5),
        LinkEntry("array0", "", 0, 4, 15, 0),
    ),
    budget=BudgetEntry("sim", 30000, 60000, 60.0, 230, "dsp"),
    memory=Memory(0x80000000, 0x8000),
    versions={"headrace": "0.1.0"},
    seconds={"compile": 1.25},
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = EXAMPLE.save(tmp_path)
    assert path == tmp_path / "manifest.json"
    assert next(iter(json.loads(path.read_text()))) == "schema"
    assert Manifest.load(tmp_path) == Manifest.load(path) == EXAMPLE
    assert EXAMPLE.hash_value == 0x8F3A91C2


def broken(change: dict[str, Any]) -> dict[str, Any]:
    """The example as JSON, with dotted names set (or deleted, where the value is ...)."""
    data = json.loads(json.dumps(EXAMPLE, default=lambda o: o.__dict__))
    for name, value in change.items():
        *way, last = name.split(".")
        target = data
        for part in way:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 7}, "schema must be 1, not 7; compile the model again"),
        ({"hash": "12"}, "hash must be 8 hexadecimal digits, not '12'"),
        ({"head": "wheel"}, "head must be one of softmax, softmax_int8, scores, mse, argmax, not 'wheel'"),
        ({"task": ...}, "field task is missing"),
        ({"input.type.hi": ...}, "field input.type.hi is missing"),
        ({"input.type.hi": -200}, "input.type: IntType bounds must be ordered, not -128 > -200"),
        ({"water": 1}, "unknown field water"),
        ({"input.elements": 491}, "input.elements must be 490, as its shape says, not 491"),
        ({"input.bytes": 980}, "input.bytes must be 490 (1 an element), not 980"),
        ({"output.bytes": 12}, "output.bytes must be 48 (4 an element), not 12"),
        ({"output.scale": [1.0, 2.0]}, "output.scale must have 1 or 12 numbers, not 2"),
        ({"output.scale": 1.0}, "output.scale must be a list, not 1.0"),
        ({"input_encoding.wire": "float32"}, "input.scale and input.offset must say how to quantize"),
        (
            {"input_encoding.wire": "float32", "input.scale": [0.1], "input.offset": [0.0]},
            "input: a quantizer of float32 numbers needs a positive float32 as scale, not 0.1",
        ),
        (
            {"input_encoding.wire": "float32", "input.scale": [0.5], "input.offset": [-1.5]},
            "input_encoding: float32 numbers have scale 1 and offset 0, not (0.33674246, 0.0)",
        ),
        ({"input.scale": [1.0, 2.0]}, "input.scale must have 1 or 490 numbers, not 2"),
        (
            {"input_encoding.wire": "bf16"},
            "input_encoding.wire must be one of int8, uint8, int16, uint16, float32, not 'bf16'",
        ),
        ({"pipeline": []}, "pipeline must have at least one node"),
        ({"pipeline.1.kind": "mill"}, "pipeline node array0: unknown kind 'mill'"),
        ({"pipeline.2.layers.0.kernel": 3}, "pipeline[2].layers[0].kernel must be a list, not 3"),
        ({"links.1.consumer": "mill"}, "links: 'table0' to 'mill' joins no nodes of the pipeline"),
        ({"links.1.depth": -1}, "links: the depth to 'array0' must not be negative, not -1"),
        ({"pipeline.1.pe": "many"}, "pipeline[1].pe must be int, not 'many'"),
        ({"estimate.cycles": True}, "estimate.cycles must be int, not True"),
        ({"memory.base": 2}, "memory.base must be a multiple of 4, not 2"),
        ({"versions": []}, "versions must be an object, not []"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(broken(change)))
    with pytest.raises(ManifestError) as caught:
        Manifest.load(tmp_path)
    assert str(caught.value) == f"{path}: {message}"


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest.json: cannot be read \(No such file or directory\)"):
        Manifest.load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ManifestError, match=r"manifest.json: not a JSON file"):
        Manifest.load(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ManifestError, match=r"manifest.json: the file must be an object, not \[\]"):
        Manifest.load(tmp_path)


def test_bytes_of_an_input_element() -> None:
    widths = {IntType.bipolar(): 1, IntType(0, 7): 1, IntType(-128, 127): 1, IntType(0, 256): 2, IntType(-32768, 5): 2}
    assert {kind: input_bytes(kind) for kind in widths} == widths
    with pytest.raises(ManifestError, match="an input of type u17 has 17 bits; at most 16 fit"):
        input_bytes(IntType(0, 2**17 - 1))


def test_every_node_of_a_pipeline_has_a_kind() -> None:
    assert tuple(store.KINDS) == KINDS
