"""Sums of two streams and functions of one: whatever the types, factors and activations, what the graph says."""

from __future__ import annotations

import gc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import Draw, activations, check, int_types, pipeline_of, stream_of

from accel.dataflow.pipeline import AddNode, Link, Pipeline, TableNode
from accel.dataflow.timing import add_latency, signed_digits, table_beats
from accel.graph import Add, GraphError, IntType, Operator, Table, Tensor
from accel.rtl.add import AddUnit

SEED = st.integers(0, 1 << 30)
relaxed = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def adds(draw: Draw) -> Pipeline:
    """The input added to a function of itself: a fork, a table on one branch, the sum, its activation."""
    lanes = draw(st.sampled_from([1, 2, 3]))
    channels = lanes * draw(st.integers(1, 3))
    x = Tensor("x", (draw(st.integers(1, 2)), draw(st.integers(1, 3)), channels), draw(int_types(5)))
    out = draw(int_types(7))
    rng = np.random.default_rng(draw(SEED))
    table = Table(
        "table", ("x",), "y", out.lo + out.step * rng.integers(0, out.levels, (1, x.type.levels)), x.type, out
    )
    y = table.infer(x)
    factor = st.one_of(st.sampled_from([1, 1, -1, 2, 0]), st.integers(-3000, 3000))
    add = Add("add", ("x", "y"), "sum", (draw(factor), draw(factor)))
    total = add.infer(x, y)
    activation = draw(activations("f", total))
    operators: tuple[Operator, ...] = (table, add)
    if activation is not None:
        operators = (*operators, activation)
    sink = activation.infer(total) if activation else total
    one, two, three = (stream_of(t, lanes) for t in (x, y, sink))
    nodes = (
        TableNode("table", table, one, two),
        AddNode("add", add, activation, channels, one, two, three),
    )
    links = (
        Link("", "table"),
        Link("", "add", 0, draw(st.integers(1, 4))),
        Link("table", "add", 1, draw(st.integers(0, 2))),
        Link("add", ""),
    )
    return pipeline_of(x, operators, nodes, links)


@relaxed
@given(adds(), SEED)
def test_sums(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)


@relaxed
@given(adds())
def test_the_latency_of_sums(pipeline: Pipeline) -> None:
    table, add = pipeline.nodes
    assert isinstance(table, TableNode) and isinstance(add, AddNode)
    deep = pipeline.with_depths(
        {link: 8 if link.consumer == "add" and link.port == 0 else 0 for link in pipeline.links}
    )
    arrivals = np.arange(table.source.beats)
    assert check(deep)[: add.sink.beats] == list(table_beats(table, arrivals) + add_latency(add))


@relaxed
@given(st.data(), st.integers(1, 3), SEED)
def test_functions_of_elements(data: st.DataObject, lanes: int, seed: int) -> None:
    x = Tensor("x", (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))), data.draw(int_types(6)))
    function = data.draw(activations("f", x).filter(lambda f: f is not None))
    node = TableNode("table", function, stream_of(x, lanes), stream_of(function.infer(x), lanes))
    pipeline = pipeline_of(x, (function,), (node,))
    check(pipeline, seed)
    assert check(pipeline)[: node.sink.beats] == list(table_beats(node, np.arange(node.source.beats)))


@given(st.integers(-(1 << 40), 1 << 40))
def test_signed_digits(factor: int) -> None:
    digits = signed_digits(factor)
    assert sum(sign << shift for sign, shift in digits) == factor
    assert len(digits) <= abs(factor).bit_count() or factor < 0
    assert all(b[1] - a[1] > 1 for a, b in pairwise(digits))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_sums_that_cannot_be_built_say_why() -> None:
    x = Tensor("x", (4,), IntType(0, 3))
    add = Add("add", ("x", "x"), "y")
    y = add.infer(x, x)
    with pytest.raises(GraphError, match=r"^plus: all its streams must have the same lanes and elements$"):
        AddUnit(AddNode("plus", add, None, 4, stream_of(x, 2), stream_of(x, 1), stream_of(y, 2)))
    with pytest.raises(GraphError, match=r"^plus: gives u3\[0..6\], but its sink takes u2$"):
        AddUnit(AddNode("plus", add, None, 4, stream_of(x, 2), stream_of(x, 2), stream_of(x, 2)))
    gc.collect()  # while the filter of warnings holds
