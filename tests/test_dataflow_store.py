"""A pipeline written and read again is the same, whatever its nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipelines import pipeline_of, stream_of

from accel.dataflow.pipeline import (
    AddNode,
    ArrayNode,
    ConcatNode,
    ConvNode,
    Image,
    Layer,
    Link,
    Pipeline,
    PoolNode,
    RepackNode,
    TableNode,
)
from accel.dataflow.store import from_data, kind_of, load, save, to_data
from accel.graph import Add, Concat, Conv, Dense, GraphError, IntType, MaxPool, Tensor, Threshold, Window


def branches() -> Pipeline:
    """Most kinds of nodes, a fork, two joins, FIFOs."""
    rng = np.random.default_rng(1)
    x = Tensor("x", (4, 4, 2), IntType(0, 7))
    conv = Conv(
        "conv", ("x",), "sums", rng.integers(-2, 2, (2, 3, 3, 2)), IntType(-2, 1), Window((3, 3), pads=(1,) * 4)
    )
    steps = Threshold("steps", ("sums",), "a", np.arange(14).reshape(2, 7), np.array([False, True]), IntType(0, 7))
    add = Add("add", ("x", "a"), "b")
    level = Threshold("level", ("b",), "c", np.array([[3], [5]]), np.zeros(2, bool), IntType(0, 1))
    both = Concat("both", ("c", "a"), "d")
    pool = MaxPool("pool", ("d",), "e", Window((2, 2), (2, 2)))
    dense = Dense("dense", ("e",), "f", rng.integers(-2, 2, (3, 16)), IntType(-2, 1))
    operators = (conv, steps, add, level, both, pool, dense)
    tensors = {"x": x}
    for op in operators:
        tensors[op.output] = op.infer(*(tensors[name] for name in op.inputs))
    s = {name: stream_of(tensor, 1) for name, tensor in tensors.items()}
    image = Image(4, 4, 2)
    nodes = (
        ConvNode("c0", conv, steps, image, s["x"], s["a"], pe=2, simd=1, capacity=12, memory="lut"),
        AddNode("a0", add, None, 2, s["x"], s["a"], s["b"]),
        TableNode("t0", level, s["b"], s["c"]),
        ConcatNode("j0", both, (2, 2), (s["c"], s["a"]), s["d"]),
        PoolNode("p0", pool, None, Image(4, 4, 4), s["d"], s["e"]),
        RepackNode("r0", s["e"], stream_of(tensors["e"], 4)),
        ArrayNode("d0", (Layer(dense, None),), stream_of(tensors["e"], 4), s["f"], pe=3, simd=4, drain=1),
    )
    links = (
        Link("", "c0"),
        Link("", "a0", 0, 32),
        Link("c0", "a0", 1),
        Link("c0", "j0", 1, 7),
        Link("a0", "t0"),
        Link("t0", "j0", 0, 1),
        Link("j0", "p0"),
        Link("p0", "r0"),
        Link("r0", "d0", 0, 2),
        Link("d0", ""),
    )
    return pipeline_of(x, operators, nodes, links)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    pipeline = branches()
    assert [kind_of(node) for node in pipeline.nodes] == ["conv", "add", "table", "concat", "pool", "repack", "array"]
    save(pipeline, tmp_path / "pipeline.json")
    again = load(pipeline.graph, tmp_path / "pipeline.json")
    assert (again.nodes, again.links) == (pipeline.nodes, pipeline.links)
    assert again.nodes[0].conv is pipeline.graph.operators[0]
    assert to_data(again) == to_data(pipeline)


def test_what_does_not_belong_to_the_graph_is_named(tmp_path: Path) -> None:
    pipeline = branches()
    data = json.loads(json.dumps(to_data(pipeline)))
    data["nodes"][0]["conv"] = "gone"
    with pytest.raises(GraphError, match=r"^graph net: has no operator 'gone' that a node could compute$"):
        from_data(pipeline.graph, data)
    data["nodes"][0] = {"kind": "mill"}
    with pytest.raises(GraphError, match=r"^graph net: the pipeline is not one of this version \('mill'\)$"):
        from_data(pipeline.graph, data)
    with pytest.raises(GraphError, match=r"gone\.json: cannot be read .*; compile the model again$"):
        load(pipeline.graph, tmp_path / "gone.json")
    strange = replace(pipeline.nodes[0], conv=replace(pipeline.graph.operators[0], name="strange"))
    with pytest.raises(GraphError, match=r"^graph net: strange is none of its operators$"):
        to_data(replace(pipeline, nodes=(strange, *pipeline.nodes[1:])))
