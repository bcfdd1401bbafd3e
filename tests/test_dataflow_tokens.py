"""The token simulation: the same cycles as the gateware, frame after frame; and pipelines that stop are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_networks import Writer

from accel.dataflow.assemble import assemble
from accel.dataflow.budget import Budget
from accel.dataflow.build import input_lanes
from accel.dataflow.options import options
from accel.dataflow.parts import Part, parts
from accel.dataflow.pipeline import Node, Pipeline
from accel.dataflow.tokens import measure
from accel.graph import Add, ArgMax, Concat, Graph, IntType, MaxPool, Pad, SumPool, Tensor, TopK, Upsample, Window
from accel.rtl.simulate import Simulator

PLENTY = Budget(10**6, 10**6, 1000, 1000)


def writer(shape: tuple[int, int, int] = (7, 6, 4), *, levels: int = 15) -> Writer:
    return Writer(Tensor("x", shape, IntType(0, 15)), IntType(0, levels), IntType(-7, 7))


def folded(graph: Graph, seed: int) -> Pipeline:
    """Any of the smaller options of each part, and any capacity of its line buffer."""
    rng = np.random.default_rng(seed)

    def pick(part: Part) -> Node:
        found = sorted(options(part, budget=PLENTY, wishes={}), key=lambda option: option.cost.lut)
        found = found[: -(-len(found) // 4)]
        node = found[rng.integers(len(found))].node
        return replace(node, capacity=0) if hasattr(node, "capacity") and rng.random() < 0.3 else node

    some = parts(graph)
    return assemble(graph, some, [pick(part) for part in some], lanes=input_lanes(graph.input.type), output_lanes=4)


def chained() -> Graph:
    """Convolutions of several shapes in a row, with what does not join anything between them."""
    net = writer()
    x = net.conv("x", "conv0", 6, 3)
    x = net.add(Pad("pad", (x,), "pad.y", (1, 0, 1, 2)))
    x = net.conv(x, "depth", 6, 3, stride=2, depthwise=True)
    x = net.add(Upsample("up", (x,), "up.y", (2, 3)))
    x = net.add(MaxPool("pool", (x,), "pool.y", Window((3, 3), (2, 2), pads=(1, 1, 0, 0))))
    x = net.conv(x, "point", 8, 1)
    x = net.activate(net.add(SumPool("mean", (x,), "mean.y", Window((2, 2), (2, 2)))), "mean.act")
    x = net.dense(x, "dense0", 12)
    return net.graph("chained", net.dense(x, "dense1", 5, active=False))


def branched() -> Graph:
    """A skip branch, a branch that is concatenated, and the best of what comes out."""
    net = writer((6, 6, 4))
    x = net.conv("x", "conv0", 4, 3)
    y = net.conv(x, "conv1", 4, 3)
    y = net.conv(y, "conv2", 4, 3)
    x = net.activate(net.add(Add("add", (x, y), "add.y", (3, -5))), "add.act")
    z = net.conv(x, "conv3", 2, 1)
    x = net.add(Concat("concat", (x, z), "concat.y"))
    x = net.dense(x, "dense", 9, active=False)
    return net.graph("branched", net.add(TopK("best", (x,), "best.y", 3)))


def ended() -> Graph:
    net = writer((5, 4, 3), levels=63)
    x = net.conv("x", "conv0", 4, 2, pads=(0, 0, 0, 0))
    x = net.dense(x, "dense", 6, active=False)
    return net.graph("ended", net.add(ArgMax("class", (x,), "class.y")))


@pytest.mark.parametrize(
    ("graph", "seed"),
    [pytest.param(chained(), 1, marks=pytest.mark.slow), (branched(), 2), (ended(), 3)],
    ids=["chained", "branched", "ended"],
)
def test_same_cycles_as_the_gateware(tmp_path: Path, graph: Graph, seed: int) -> None:
    found = folded(graph, seed)
    rng = np.random.default_rng(seed)
    depths = {link: int(rng.integers(0, 4)) for link in found.links}
    depths |= {link: found.stream(link).beats for link in found.links if link.consumer in ("add", "concat")}
    found = found.with_depths(depths)
    expected = measure(found)
    x = rng.integers(0, 16, (4, *graph.input.shape))
    result = Simulator(found, tmp_path).run(x.reshape(4, -1))
    assert np.array_equal(result.outputs, graph.run(x).reshape(4, -1))
    assert result.last[0] - result.first[0] + 1 == expected.latency
    assert result.last[2] - result.last[1] == expected.interval
