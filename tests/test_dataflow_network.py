"""Networks of images: operators to nodes, the best folding of all, within every budget, and what is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from image_networks import Writer, cnv, mobilenet, resnet8, rn07

from accel.dataflow.budget import RESOURCES, Budget
from accel.dataflow.build import Built, build
from accel.dataflow.cost import RAMB18
from accel.dataflow.folding import FoldingError
from accel.dataflow.network import SLACK, solve
from accel.dataflow.node_cost import roomy
from accel.dataflow.options import options
from accel.dataflow.parts import image_of, parts
from accel.dataflow.pipeline import (
    AddNode,
    ArrayNode,
    ConcatNode,
    ConvNode,
    DepthwiseNode,
    Image,
    PoolNode,
    RepackNode,
    TableNode,
    UpsampleNode,
)
from accel.dataflow.relax import Reckoner, area, relax
from accel.dataflow.windows import least_capacity, needs
from accel.graph import Add, Concat, Dense, Graph, GraphError, IntType, SumPool, Table, Tensor, Upsample, Window

ARTY = Budget(24_000, 124_300, 103.5, 230, name="arty")
SMALL = Budget(6_000, 12_000, 12, 24, name="small")


def small(bits: int = 4) -> Graph:
    """A table, a convolution whose output forks, a depthwise one, branches that meet in two ways, dense layers."""
    level = IntType(0, (1 << bits) - 1)
    net = Writer(Tensor("x", (6, 6, 2), IntType(-8, 7)), level, IntType(-7, 7))
    x = net.add(Table("table", ("x",), "t", np.arange(16)[None] % level.levels, IntType(-8, 7), level))
    x = net.conv(x, "conv", 4, 3)
    y = net.conv(x, "depth", 4, 3, depthwise=True)
    x = net.activate(net.add(Add("add", (x, y), "add.y")), "add.act")
    z = net.add(Upsample("up", (net.conv(x, "half", 2, 1, stride=2, pads=(0, 0, 0, 0)),), "up.y", (2, 2)))
    x = net.add(Concat("concat", (x, z), "concat.y"))
    x = net.activate(net.add(SumPool("mean", (x,), "mean.y", Window((6, 6), (6, 6)))), "mean.act")
    return net.graph("small", net.dense(net.dense(x, "dense0", 8), "dense1", 3, active=False))


def check(built: Built, budget: Budget) -> None:
    assert built.total.fits(budget)
    assert built.interval <= built.latency
    lanes = {stream.lanes for stream in (built.pipeline.source, built.pipeline.sink)}
    assert max(lanes) <= 4


def test_operators_become_nodes_of_their_names() -> None:
    built = build(small(), budget=SMALL)
    check(built, SMALL)
    kinds = {node.name: type(node) for node in built.pipeline.nodes if not isinstance(node, RepackNode)}
    assert kinds == {
        "table": TableNode, "conv": ConvNode, "depth": DepthwiseNode, "add": AddNode, "half": ConvNode,
        "up": UpsampleNode, "concat": ConcatNode, "mean": PoolNode, "dense0": ArrayNode,
    }  # fmt: skip
    forks = [name for name in ("", *(n.name for n in built.pipeline.nodes)) if len(built.pipeline.outputs(name)) > 1]
    assert [name.split(".x")[0] for name in forks] == ["conv", "add"] and built.pipeline.source.lanes == 4
    array = built.pipeline.node("dense0")
    assert isinstance(array, ArrayNode) and [layer.dense.name for layer in array.layers] == ["dense0", "dense1"]
    for node in built.pipeline.nodes:
        if isinstance(node, RepackNode):
            assert node.name.rsplit(".x", 1)[1].split("_")[0] == str(node.sink.lanes) and node.source != node.sink
    again = build(small(), budget=SMALL)
    assert again.costs == built.costs and again.pipeline.links == built.pipeline.links
    assert image_of(Tensor("v", (5,), IntType(0, 1))) == Image(1, 1, 5)
    assert image_of(Tensor("v", (3, 5), IntType(0, 1))) == Image(1, 3, 5)


def test_no_folding_of_all_is_better() -> None:
    """Against every combination of options, as the model reckons."""
    net = Writer(Tensor("x", (5, 5, 2), IntType(0, 15)), IntType(0, 15), IntType(-7, 7))
    x = net.conv("x", "first", 2, 3)
    graph = net.graph("two", net.conv(x, "second", 3, 2, pads=(0, 0, 0, 0)))
    some = parts(graph)
    for budget in (SMALL, replace(SMALL, dsp=3, lut=1200), replace(SMALL, bram36=1, lut=1500), replace(SMALL, lut=700)):
        choices = [options(part, budget=budget, wishes={}) for part in some]
        reckoner = Reckoner(some, 13)
        fitting = [
            both
            for both in itertools.product(*choices)
            if all(sum(getattr(o.cost, r) for o in both) <= getattr(budget, r) for r in RESOURCES)
        ]
        found = solve(reckoner, choices, budget)
        assert (found is None) == (not fitting)
        if found is None:
            continue
        least = min(map(reckoner.end, fitting))
        assert reckoner.end(found) <= least * (1 + SLACK) + 1
        smallest = min(sum(area(o.cost) for o in both) for both in fitting if reckoner.end(both) <= 2 * least)
        small = solve(reckoner, choices, budget, within=2 * least, known=found)
        assert small is not None and sum(area(o.cost) for o in small) <= smallest * (1 + SLACK) + 1
        # no folding is below the bound, nor nearer to it than its options say
        for within, value in ((None, reckoner.end), (2 * least, lambda both: sum(area(o.cost) for o in both))):
            relaxed = relax(reckoner, choices, budget, within=within)
            assert relaxed is not None
            above = [
                {id(o): extra for o, extra in zip(*pair, strict=True)}
                for pair in zip(choices, relaxed.above, strict=True)
            ]
            for both in fitting:
                if within is None or reckoner.end(both) <= within:
                    extra = max(each[id(o)] for each, o in zip(above, both, strict=True))
                    assert value(both) >= relaxed.bound + extra - 1e-3  # type: ignore[operator]


def test_less_area_at_a_rate_and_less_time_with_more() -> None:
    fast = build(small(), budget=SMALL)
    slow = build(small(), budget=SMALL, objective="area", rate=2000)
    assert slow.interval <= 2000 < slow.interval + slow.latency
    assert slow.total.lut < fast.total.lut and slow.total.dsp <= fast.total.dsp
    tight = replace(SMALL, lut=3_600, dsp=4, bram36=4)
    check(less := build(small(), budget=tight), tight)
    assert less.latency > fast.latency and less.binding in RESOURCES
    for keywords, message in (
        ({"objective": "area"}, "a rate in cycles a frame belongs to the objective area, and only there"),
        ({"rate": 5}, "a rate in cycles a frame belongs to the objective area, and only there"),
        ({"objective": "area", "rate": 20}, r"\w+: cannot take a frame every 20 cycles within small"),
        ({"budget": replace(SMALL, lut=900)}, r"its smallest folding needs \d+ lut of 900, \d+ of them for \w+;"),
    ):
        with pytest.raises(GraphError, match=message):
            build(small(), **{"budget": SMALL, **keywords})  # type: ignore[arg-type]
    with pytest.raises(FoldingError, match="small does not fit the budget small: "):
        build(small(), budget=replace(SMALL, lut=900))


def test_what_nobody_takes_is_refused() -> None:
    x = Tensor("x", (4, 4, 2), IntType(0, 3))
    one = np.ones((3, 32), dtype=np.int64)
    used, unused = Dense("used", ("x",), "y", one, IntType(0, 1)), Dense("unused", ("x",), "z", one, IntType(0, 1))
    with pytest.raises(GraphError, match="unused: nobody takes its output z; remove what has no effect"):
        build(Graph("g", x, "y", (used, unused)), budget=SMALL)


@pytest.mark.parametrize(
    ("window", "image"),
    [
        (Window((3, 3), pads=(1, 1, 1, 1)), Image(6, 5, 4)),
        (Window((4, 2), (4, 3), (1, 2), (0, 0, 2, 1)), Image(9, 11, 2)),
        (Window((1, 1)), Image(1, 1, 8)),
        (Window((2, 2), (3, 3)), Image(7, 8, 2)),
    ],
)
def test_windows_need_and_let_go(window: Window, image: Image) -> None:
    needed, gone = needs(window, image.height, image.width)
    at = np.arange(image.height * image.width).reshape(1, image.height, image.width, 1)
    seen = window.patches(at, -1).reshape(len(needed), -1)
    last = np.maximum.accumulate(seen.max(axis=1))
    assert (needed == last + 1).all() and gone[-1] == at.size
    for i, row in enumerate(gone[:-1]):
        later = seen[i + 1 :]
        assert row == later[later >= 0].min(initial=at.size)
    before = np.append(0, gone[:-1])
    assert (needed - before).max() <= least_capacity(window, image)
    for buffer, width in (("lut", 24), ("bram", 24), ("bram", 7)):
        room = roomy(buffer, width, 2, window, image, more=1)
        assert least_capacity(window, image) < room <= least_capacity(window, image) + image.height * image.width
    assert all(bits * words <= 36 * 512 for bits, words in RAMB18)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "most"),
    [(rn07, 40_000), (cnv, 20_000), (resnet8, 40_000), (mobilenet, 120_000)],
    ids=["rn07", "cnv", "resnet8", "mobilenet"],
)
def test_networks_of_the_field(graph, most: int) -> None:  # type: ignore[no-untyped-def]
    built = build(graph(), budget=ARTY)
    check(built, ARTY)
    assert built.latency <= most
