"""Images made larger, put side by side, cut: in gateware as in the graph, and as fast as foretold."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import Draw, check, int_types, pipeline_of, stream_of

from accel.dataflow.pipeline import ConcatNode, Image, Link, PadNode, RepackNode, TopKNode, UpsampleNode
from accel.dataflow.timing import TOPK, UPSAMPLE
from accel.graph import Concat, GraphError, IntType, Pad, Tensor, TopK, Upsample
from accel.rtl.concat import ConcatUnit
from accel.rtl.resize import PadUnit, UpsampleUnit
from accel.rtl.topk import TopKUnit

SEED = st.integers(0, 1 << 30)
relaxed = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def images(draw: Draw) -> tuple[Tensor, int]:
    """A small image and lanes that divide its channels."""
    lanes, size = draw(st.integers(1, 3)), st.integers(1, 4)
    return Tensor("x", (draw(size), draw(size), lanes * draw(st.integers(1, 3))), draw(int_types(6))), lanes


def image_of(x: Tensor) -> Image:
    height, width, channels = x.shape
    return Image(height, width, channels)


@relaxed
@given(images(), st.tuples(*[st.integers(0, 2)] * 4), st.sampled_from([0, 1, -1, 5, -40]), SEED)
def test_pad(image: tuple[Tensor, int], pads: tuple[int, int, int, int], value: int, seed: int) -> None:
    x, lanes = image
    pad = Pad("pad", ("x",), "y", pads, value)
    y = pad.infer(x)
    pipeline = pipeline_of(x, (pad,), (PadNode("pad", pad, image_of(x), stream_of(x, lanes), stream_of(y, lanes)),))
    check(pipeline, seed)
    beats = y.size // lanes
    assert check(pipeline) == list(range(3 * beats))  # a beat a cycle, from the first one on


@relaxed
@given(images(), st.integers(1, 3), st.integers(1, 3), SEED)
def test_upsample(image: tuple[Tensor, int], rows: int, columns: int, seed: int) -> None:
    x, lanes = image
    upsample = Upsample("up", ("x",), "y", (rows, columns))
    y = upsample.infer(x)
    node = UpsampleNode("up", upsample, image_of(x), stream_of(x, lanes), stream_of(y, lanes))
    pipeline = pipeline_of(x, (upsample,), (node,))
    check(pipeline, seed)
    times = check(pipeline)
    assert times[0] == UPSAMPLE
    if x.size // x.shape[0] > lanes:  # a row of more than one beat
        assert times == list(range(UPSAMPLE, UPSAMPLE + 3 * node.sink.beats))


def test_a_row_in_block_ram() -> None:
    x = Tensor("x", (2, 33, 36), IntType(-128, 127))
    upsample = Upsample("up", ("x",), "y", (2, 1))
    y = upsample.infer(x)
    node = UpsampleNode("up", upsample, image_of(x), stream_of(x, 9), stream_of(y, 9))
    times = check(pipeline_of(x, (upsample,), (node,)))
    assert times == list(range(UPSAMPLE, UPSAMPLE + 3 * node.sink.beats))


@relaxed
@given(images(), st.lists(st.integers(-9, 9), min_size=1, max_size=3), SEED)
def test_concat(image: tuple[Tensor, int], values: list[int], seed: int) -> None:
    # the branches are the image with borders of other values, and so of other types
    x, lanes = image
    tensors, operators, nodes, links = [], [], [], list[Link]()
    for i, value in enumerate(values):
        pad = Pad(f"pad{i}", ("x",), f"y{i}", (0, 1, 0, 2), value)
        operators.append(pad)
        tensors.append(pad.infer(x))
        nodes.append(PadNode(pad.name, pad, image_of(x), stream_of(x, lanes), stream_of(tensors[-1], lanes)))
        links += [Link("", pad.name, 0, 3 + i), Link(pad.name, "concat", i, seed % 4)]
    concat = Concat("concat", tuple(t.name for t in tensors), "z")
    z = concat.infer(*tensors)
    channels = tuple(t.shape[-1] for t in tensors)
    node = ConcatNode("concat", concat, channels, tuple(stream_of(t, lanes) for t in tensors), stream_of(z, lanes))
    check(pipeline_of(x, (*operators, concat), (*nodes, node), (*links, Link("concat", ""))), seed)


@relaxed
@given(st.integers(1, 9), st.integers(1, 9), int_types(5), SEED)
def test_topk(size: int, k: int, kind: IntType, seed: int) -> None:
    x = Tensor("x", (size,), kind)
    topk = TopK("topk", ("x",), "y", min(k, size))
    y = topk.infer(x)
    pipeline = pipeline_of(x, (topk,), (TopKNode("topk", topk, stream_of(x, 1), stream_of(y, 1)),))
    check(pipeline, seed)
    assert check(pipeline)[: topk.k] == list(range(size - 1 + TOPK, size - 1 + TOPK + topk.k))


@relaxed
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 8), int_types(5), SEED)
def test_repack_as_a_node(size: int, before: int, after: int, kind: IntType, seed: int) -> None:
    x = Tensor("x", (size,), kind)
    nodes = (
        RepackNode("there", stream_of(x, before), stream_of(x, after)),
        RepackNode("back", stream_of(x, after), stream_of(x, before)),
    )
    links = (Link("", "there"), Link("there", "back", 0, 1 + seed % 3), Link("back", ""))
    check(pipeline_of(x, (), nodes, links), seed)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_what_cannot_be_built_says_why() -> None:
    x = Tensor("x", (2, 2, 4), IntType(0, 3))
    pad, up = Pad("pad", ("x",), "y", (1, 1, 1, 1)), Upsample("up", ("x",), "y", (2, 2))
    with pytest.raises(GraphError, match=r"^border: source and sink must have the same lanes, which divide the chan"):
        PadUnit(PadNode("border", pad, image_of(x), stream_of(x, 3), stream_of(pad.infer(x), 3)))
    with pytest.raises(GraphError, match=r"^large: source and sink must have the same lanes, which divide the chan"):
        UpsampleUnit(UpsampleNode("large", up, image_of(x), stream_of(x, 2), stream_of(up.infer(x), 1)))
    concat = Concat("concat", ("x", "x"), "y")
    with pytest.raises(
        GraphError, match=r"^both: all its streams must have the same lanes, which divide their channels"
    ):
        y = concat.infer(x, x)
        ConcatUnit(ConcatNode("both", concat, (4, 4), (stream_of(x, 4), stream_of(x, 2)), stream_of(y, 4)))
    scores = Tensor("x", (4,), IntType(0, 3))
    topk = TopK("topk", ("x",), "y", 2)
    with pytest.raises(GraphError, match=r"^top: source and sink must have one lane$"):
        TopKUnit(TopKNode("top", topk, stream_of(scores, 2), stream_of(topk.infer(scores), 1)))
    gc.collect()  # while the filter of warnings holds
