"""Random networks all the way from a file to gateware, with and without pins: equal outputs in the cycles foretold."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, event, given, reject, settings
from hypothesis import strategies as st
from image_networks import Writer
from onnx_images import REFUSALS, image_networks
from onnx_networks import Network
from pipelines import check

from accel.dataflow.budget import Budget
from accel.dataflow.build import build, is_chain
from accel.dataflow.options import keys_of
from accel.dataflow.parts import Part, parts
from accel.dataflow.pins import Pinned
from accel.dataflow.pipeline import ConvNode
from accel.dataflow.tokens import FRAMES
from accel.frontends import FrontendError, load
from accel.graph import Conv, Graph, IntType, MaxPool, SumPool, Tensor
from accel.passes import lower

ROOM = Budget(12_000, 24_000, 30, 40, name="room")
PLENTY = Budget(10**6, 10**6, 1000, 1000, name="plenty")
#: What the random networks have to reach, each at least once in the slow test.
KINDS = {
    *("Add", "ArgMax", "Concat", "Conv", "Dense", "MaxPool", "Pad", "Requantize", "SumPool", "Table", "Threshold"),
    *("Upsample", "Conv with a stride", "Conv with pads", "MaxPool with a stride", "MaxPool with pads"),
    *(
        f"{kind} of {what}"
        for kind in ("Conv", "MaxPool", "SumPool")
        for what in ("an odd image", "a pixel", "a channel")
    ),
    *("SumPool with pads", "a branch", "a depthwise Conv", "a FIFO", "pins"),
}


def kinds(graph: Graph) -> set[str]:
    """What of ``KINDS`` a lowered graph has."""
    read = [name for op in graph.operators for name in op.inputs]
    found = {type(op).__name__ for op in graph.operators} | ({"a branch"} if len(set(read)) < len(read) else set())
    for op in graph.operators:
        if isinstance(op, Conv | MaxPool | SumPool):
            height, width, channels = graph.tensors[op.inputs[0]].shape
            properties = {
                "with a stride": op.window.stride != (1, 1),
                "with pads": any(op.window.pads),
                "of an odd image": height % 2 or width % 2,
                "of a pixel": height * width == 1,
                "of a channel": channels == 1,
            }
            found |= {f"{type(op).__name__} {name}" for name, holds in properties.items() if holds}
            found |= {"a depthwise Conv"} if isinstance(op, Conv) and op.is_depthwise else set()
    return found


def some_pins(part: Part, rng: random.Random) -> dict[str, object]:
    """Some choices of a part; no array has more neurons or inputs at a time than its layers have."""
    keys = keys_of(part)
    if part.layers:
        del keys["lanes"]
        most = {"pe": max(layer.outputs for layer in part.layers), "simd": max(layer.inputs for layer in part.layers)}
        keys |= {key: range(1, min(n, 16) + 1) for key, n in most.items()} | {"drain": range(1, 3)}
    pins = {key: rng.choice(values) for key, values in keys.items() if rng.random() < 0.4}
    if "drain" in pins and pins.get("pe", 0) % pins["drain"]:
        del pins["drain"]
    return pins


def goes_all_the_way(path: Path, network: tuple[Network, str], seed: int) -> set[str]:
    """Holds the gateware of a file to its graph; with an odd seed some choices are pinned, and some have an ArgMax.

    Returns what the network has of ``KINDS``.
    """
    net, output = network
    try:
        graph = lower(load(net.save(path, output), head="argmax" if seed % 4 > 1 else None))
    except FrontendError as error:
        assert REFUSALS.search(str(error))
        reject()
    if not graph.operators:
        reject()
    rng = random.Random(seed)
    some = [part for part in parts(graph) if part.layers or not is_chain(graph)] if seed % 2 else []
    pins = {part.name: some_pins(part, rng) for part in some}
    built = build(graph, budget=PLENTY if pins else ROOM, pins=Pinned(pins))
    beats = built.pipeline.sink.beats
    ends = check(built.pipeline, frames=FRAMES)[beats - 1 :: beats]
    assert (ends[0] + 1, ends[-1] - ends[-2]) == (built.latency, built.interval)
    found = kinds(graph) | ({"pins"} if any(pins.values()) else set())
    found |= {"a FIFO"} if any(link.depth for link in built.pipeline.links) else set()
    for kind in found & KINDS:
        event(kind)
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks") / "network.onnx"


SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(SETTINGS, max_examples=15)
@given(image_networks(), st.integers(0, 1 << 30))
def test_random_networks_from_file_to_gateware(path: Path, network: tuple[Network, str], seed: int) -> None:
    goes_all_the_way(path, network, seed)


@pytest.mark.slow
def test_many_random_networks_from_file_to_gateware(path: Path) -> None:
    """The same of many, the same ones each time, with everything among them that is to be reached."""
    reached = set[str]()

    @settings(SETTINGS, max_examples=150, derandomize=True, database=None, phases=[Phase.generate])
    @given(image_networks(), st.integers(0, 1 << 30))
    def each(network: tuple[Network, str], seed: int) -> None:
        reached.update(goes_all_the_way(path, network, seed))

    each()
    assert reached >= KINDS


@pytest.mark.parametrize("pe", [1, 2, 3, 4, 5])
def test_any_number_of_neurons_at_a_time_can_be_pinned(pe: int) -> None:
    """Of five neurons with a single step each, two to four at a time wait for their drain, whose width divides both."""
    net = Writer(Tensor("x", (3, 3, 2), IntType(0, 3)), IntType(0, 15), IntType(-7, 7))
    graph = net.graph("one", net.conv("x", "conv", 5, 1))
    built = build(graph, budget=PLENTY, pins={"conv": {"pe": pe, "simd": 2, "taps": 1}})
    node = built.pipeline.node("conv")
    assert isinstance(node, ConvNode) and (node.pe, node.drain) == (pe, 5 if pe == 5 else 1)
    assert check(built.pipeline)[built.pipeline.sink.beats - 1] + 1 == built.latency
