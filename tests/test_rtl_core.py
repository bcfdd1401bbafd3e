"""Random small networks: the gateware gives what the graph gives, in as many cycles as the schedule says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import (
    PAUSES,
    Draw,
    activations,
    check,
    int_types,
    pipeline_of,
    random_requantize,
    random_threshold,
    simulate,
    stream_of,
    values_of,
)

from accel.dataflow.pipeline import (
    Activation,
    AddNode,
    ArgMaxNode,
    ArrayNode,
    ConcatNode,
    ConvNode,
    Image,
    Layer,
    Link,
    Node,
    Pipeline,
    RepackNode,
    Stream,
    TableNode,
)
from accel.dataflow.timing import pipeline_cycles
from accel.dataflow.tokens import measure
from accel.graph import (
    Add,
    ArgMax,
    Concat,
    Conv,
    Dense,
    Graph,
    GraphError,
    IntType,
    Operator,
    Table,
    Tensor,
    Threshold,
    Window,
)
from accel.rtl.constants import RequantizeImage
from accel.rtl.core import Core, fifo_name
from accel.rtl.images import ArrayPlan, images
from accel.rtl.verilog import to_verilog


@st.composite
def pipelines(draw: Draw) -> Pipeline:
    """One to three arrays of one to three layers, tables and thresholds between them, at times ArgMax at the end."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    size, lane = st.integers(1, 14), st.sampled_from([1, 2, 4, 4, 3])
    x = Tensor("x", (draw(size),), draw(int_types(16)))
    start, operators, nodes = x, list[Operator](), list[Node]()
    source = Stream(x.size, x.type, draw(lane))

    for n in range(draw(st.integers(1, 2))):
        layers = list[Layer]()
        weight_type = draw(int_types(16))
        for i in range(draw(st.integers(1, 3))):
            name = f"n{n}l{i}"
            if draw(st.booleans()):
                weight_type = draw(int_types(16))
            dense = Dense(
                f"{name}d", (x.name,), f"{name}a", values_of(weight_type, rng, (draw(size), x.size)), weight_type
            )
            operators.append(dense)
            x = dense.infer(x)
            kind = draw(st.sampled_from(["threshold", "threshold", "search", "requantize", "none"]))
            activation: Activation | None = None
            if kind == "threshold":
                activation = random_threshold(f"{name}t", x, draw(int_types(4)), rng, x.size)
            elif kind == "search":
                lo = draw(st.integers(-40, 40))
                out = IntType(lo, lo + draw(st.integers(16, 70)))
                activation = random_threshold(f"{name}t", x, out, rng, x.size)
            elif kind == "requantize":
                out = draw(int_types(16).filter(lambda t: t.step == 1))
                activation = random_requantize(f"{name}r", x, out, rng)
            if activation is not None:
                operators.append(activation)
                x = activation.infer(x)
            layers.append(Layer(dense, activation))
        drain = draw(st.integers(1, 4))
        sink = Stream(x.size, x.type, draw(lane))
        nodes.append(
            ArrayNode(
                f"array{n}",
                tuple(layers),
                source,
                sink,
                pe=drain * draw(st.integers(1, 4)),
                simd=draw(st.integers(1, 7)),
                drain=drain,
                multiplier=draw(st.sampled_from(["dsp", "dsp18", "lut"])),
                memory=draw(st.sampled_from(["bram", "lut"])),
            )
        )
        source = sink
        kind = draw(st.sampled_from(["none", "table", "threshold"]))
        function: Table | Threshold
        if kind == "table" and x.type.levels <= 64:
            out = draw(int_types(6))
            rows = draw(st.sampled_from([1, x.size]))
            values = values_of(out, rng, (rows, x.type.levels))
            function = Table(f"n{n}f", (x.name,), f"n{n}y", values, x.type, out)
        elif kind == "threshold":
            function = random_threshold(f"n{n}f", x, draw(int_types(5)), rng, x.size)
        else:
            continue
        operators.append(function)
        x = function.infer(x)
        source = Stream(x.size, x.type, source.lanes)
        nodes.append(TableNode(f"table{n}", function, sink, source))

    if draw(st.booleans()):
        argmax = ArgMax("argmax", (x.name,), "index")
        operators.append(argmax)
        x = argmax.infer(x)
        nodes.append(ArgMaxNode("argmax", argmax, source, Stream(1, x.type, draw(st.sampled_from([1, 4])))))
    return Pipeline(Graph("random", start, x.name, tuple(operators)), tuple(nodes))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(pipelines(), st.integers(0, 1 << 30), st.sampled_from(PAUSES), st.booleans())
def test_random_networks_give_what_the_graph_gives(
    pipeline: Pipeline, seed: int, pauses: tuple[float, float], block: bool
) -> None:
    x = values_of(pipeline.source.type, np.random.default_rng(seed), (3, pipeline.source.elements))
    with pytest.MonkeyPatch.context() as patch:
        if block:  # as is otherwise only done with thousands of elements
            patch.setattr("accel.rtl.buffer.in_block_ram", lambda depth, width: True)
        outputs, times = simulate(pipeline, x, seed=seed, pauses=pauses, clear=seed % 3 * (seed % 37))
    np.testing.assert_array_equal(outputs, pipeline.graph.run(x))
    if pauses == (0, 0) and seed % 3 * (seed % 37) == 0:
        assert times[pipeline.sink.beats - 1] + 1 == pipeline_cycles(pipeline)


@dataclass
class Net:
    """A network of images that grows: what it consists of, and where it ends."""

    x: Tensor
    lanes: int
    end: str = ""
    operators: list[Operator] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def add(self, x: Tensor, node: Node, *operators: Operator, depth: int) -> None:
        """A node with one input."""
        self.links.append(Link(self.end, node.name, 0, depth))
        self.nodes.append(node)
        self.operators += operators
        self.x, self.end = x, node.name


@st.composite
def dags(draw: Draw) -> Pipeline:
    """One or two times: a fork, functions or a convolution on its branches, a sum or a concatenation, other lanes."""
    lanes = draw(st.integers(1, 2))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), lanes * draw(st.integers(1, 2)))
    net = Net(start := Tensor("x", shape, draw(int_types(4))), lanes)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    depths = st.sampled_from([0, 0, 1, 2, 3, 5, 17])
    for n in range(draw(st.integers(1, 2))):
        fork, x, beats = net.end, net.x, stream_of(net.x, net.lanes).beats
        ends, tensors, slow = list[str](), list[Tensor](), False
        for branch in range(2):
            net.end, net.x = fork, x
            name = f"n{n}b{branch}"
            if draw(st.integers(0, 3)) == 0:
                slow = True
                convolve(draw, net, name, rng, draw(depths))
            for i in range(draw(st.integers(0, 2))):
                function = draw(activations(f"{name}f{i}", net.x).filter(lambda f: f is not None))
                y = function.infer(net.x)
                node = TableNode(function.name, function, stream_of(net.x, net.lanes), stream_of(y, net.lanes))
                net.add(y, node, function, depth=draw(depths))
            ends.append(net.end)
            tensors.append(net.x)
        # a window sees up to the whole image before it gives anything, a concatenation the other branch's pixel
        least = beats if slow else x.shape[-1] // net.lanes
        join(draw, net, f"n{n}", ends, tensors, depth=least + draw(depths))
        if draw(st.booleans()):
            after = draw(st.sampled_from([k for k in (1, 2, 4) if net.x.shape[-1] % k == 0]))
            node = RepackNode(f"repack{n}", stream_of(net.x, net.lanes), stream_of(net.x, after))
            net.add(net.x, node, depth=draw(depths))
            net.lanes = after
    net.links.append(Link(net.end, "", 0, draw(depths)))
    return pipeline_of(start, tuple(net.operators), tuple(net.nodes), tuple(net.links))


def convolve(draw: Draw, net: Net, name: str, rng: np.random.Generator, depth: int) -> None:
    """A convolution that leaves the shape as it is, with an activation."""
    height, width, channels = net.x.shape
    kernel = draw(st.sampled_from([1, 3]))
    weights = rng.integers(-2, 2, (channels, kernel, kernel, channels))
    window = Window((kernel, kernel), pads=(kernel // 2,) * 4)
    # what surrounds an image has to be one of its values
    conv = Conv(f"{name}c", (net.x.name,), f"{name}a", weights, IntType(-2, 1), window, 1, net.x.type.lo)
    sums = conv.infer(net.x)
    activation = draw(activations(f"{name}r", sums).filter(lambda f: f is not None))
    y = activation.infer(sums)
    image, source, sink = Image(height, width, channels), stream_of(net.x, net.lanes), stream_of(y, net.lanes)
    node = ConvNode(conv.name, conv, activation, image, source, sink, pe=net.lanes, simd=net.lanes, drain=net.lanes)
    net.add(y, node, conv, activation, depth=depth)


def join(draw: Draw, net: Net, name: str, ends: list[str], tensors: list[Tensor], *, depth: int) -> None:
    """A sum or a concatenation of two branches, with a FIFO before each of its inputs."""
    streams = [stream_of(t, net.lanes) for t in tensors]
    names = tuple(t.name for t in tensors)
    if draw(st.booleans()):
        add = Add(f"{name}add", names, f"{name}sum", (draw(st.integers(-3, 3)), draw(st.integers(1, 9))))
        sums = add.infer(*tensors)
        activation = draw(activations(f"{name}s", sums))
        net.operators += [add, activation] if activation else [add]
        net.x = activation.infer(sums) if activation else sums
        sink = stream_of(net.x, net.lanes)
        net.nodes.append(AddNode(add.name, add, activation, net.x.shape[-1], streams[0], streams[1], sink))
    else:
        concat = Concat(f"{name}concat", names, f"{name}both")
        net.operators.append(concat)
        net.x = concat.infer(*tensors)
        channels = tuple(t.shape[-1] for t in tensors)
        net.nodes.append(ConcatNode(concat.name, concat, channels, tuple(streams), stream_of(net.x, net.lanes)))
    net.end = net.nodes[-1].name
    net.links += [Link(end, net.end, port, depth) for port, end in enumerate(ends)]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(dags(), st.integers(0, 1 << 30))
def test_branches_that_meet_again_give_what_the_graph_gives(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(dags())
def test_branches_that_meet_again_take_the_cycles_foretold(pipeline: Pipeline) -> None:
    ends = check(pipeline, frames=4)[pipeline.sink.beats - 1 :: pipeline.sink.beats]
    foretold = measure(pipeline, frames=4)
    assert (ends[0] + 1, ends[-1] - ends[-2]) == (foretold.latency, foretold.interval)


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 5, 17, 600])
def test_fifos_of_any_depth(depth: int) -> None:
    x = Tensor("x", (3, 4, 2), IntType(-8, 7))
    table = Table("table", ("x",), "y", np.arange(16)[None, ::-1] ** 2, x.type, IntType(0, 225))
    y = table.infer(x)
    add = Add("add", ("x", "y"), "sum", (3, 1))
    nodes = (
        TableNode("table", table, stream_of(x, 1), stream_of(y, 1)),
        AddNode("add", add, None, 2, stream_of(x, 1), stream_of(y, 1), stream_of(add.infer(x, y), 1)),
    )
    shallow = (Link("", "table"), Link("", "add", 0, depth), Link("table", "add", 1), Link("add", ""))
    deep = (
        Link("", "table", 0, depth),
        Link("", "add", 0, 8),
        Link("table", "add", 1, depth),
        Link("add", "", 0, depth),
    )
    for links in (shallow, deep):
        pipeline = pipeline_of(x, (table, add), nodes, links)
        for seed in (3, 41):
            check(pipeline, seed)
        times = check(pipeline)
        if depth > 2:  # nothing holds it up: a beat a cycle
            assert times == list(range(times[0], times[0] + 72))


def test_the_monitor_has_an_entry_a_link() -> None:
    x = Tensor("x", (4,), IntType(0, 3))
    add = Add("add", ("x", "x"), "y")
    node = AddNode("add", add, None, 4, stream_of(x, 2), stream_of(x, 2), stream_of(add.infer(x, x), 2))
    links = (Link("", "add", 0, 3), Link("", "add", 1), Link("add", ""))
    core = Core(pipeline_of(x, (add,), (node,), links))
    assert len(core.monitor) == 3 and fifo_name(links[0]) == "fifo_input_add_0"
    verilog = to_verilog(core, "core")
    assert "fifo_input_add_0" in verilog and "fifo_input_add_1" not in verilog and "fork_input" in verilog


def small(**changes: object) -> ArrayNode:
    """An array of one layer, with some fields changed."""
    dense = Dense("d", ("x",), "y", np.array([[1, -1, 2], [2, 1, 0]]), IntType(-2, 2))
    out = dense.infer(Tensor("x", (3,), IntType(-4, 3)))
    node = ArrayNode("fc", (Layer(dense, None),), Stream(3, IntType(-4, 3), 1), Stream(2, out.type, 1), 4, 2, 2)
    return replace(node, **changes)  # type: ignore[arg-type]


def test_arrays_that_cannot_be_built_say_why() -> None:
    with pytest.raises(GraphError, match=r"^fc: drain must divide pe, but 3 does not divide 4$"):
        ArrayPlan(small(drain=3))
    with pytest.raises(GraphError, match=r"^fc: its last layer gives i5\[-15..13\], but its sink takes u1$"):
        ArrayPlan(small(sink=Stream(2, IntType(0, 1), 1)))


@pytest.mark.parametrize(
    ("multipliers", "constant"), [([4, 4], 4), ([4, 0], None), ([4, 2], None), ([-4, -4], None), ([3, 3], None)]
)
def test_a_multiplier_is_left_out_only_where_all_channels_have_the_same_power_of_two(
    multipliers: list[int], constant: int | None
) -> None:
    image = RequantizeImage(np.array([multipliers]), np.array([[0, 1]]), 3, 12, [None])
    assert image.constant == constant


def test_the_same_pipeline_gives_the_same_verilog_and_images() -> None:
    node = small()
    graph = Graph("g", Tensor("x", (3,), IntType(-4, 3)), "y", (node.layers[0].dense,))
    first, second = (to_verilog(Core(Pipeline(graph, (node,))), "core") for _ in range(2))
    assert first == second
    assert "module core(" in first
    assert "\\input__payload<0> " in first and not re.search(r"\\\S*\[", first)  # Yosys takes it for a bit
    # two input tiles of two, one neuron tile of four; weights of three bits, those of shared multipliers with an offset
    plan = ArrayPlan(node)
    assert (plan.packing.share, plan.packing.chain, plan.packing.field, plan.packing.offset) == (4, 2, 7, 4)
    rows = [[1, -1], [2, 1], [0, 0], [0, 0]], [[2, 0], [0, 0], [0, 0], [0, 0]]
    codes = [[(w + (4 if p < 3 else 0)) & 7 for p, row in enumerate(tile) for w in row] for tile in rows]
    assert images(node)["weights"] == [sum(code << 3 * i for i, code in enumerate(word)) for word in codes]
