"""Lowering: which operator an activation becomes, and that nothing else changes."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_graphs import assert_same
from onnx_networks import Network, networks
from pipelines import check

from accel import frontends
from accel.dataflow.budget import Budget
from accel.dataflow.build import build
from accel.frontends import Encoding
from accel.graph import Activation, Conv, Dense, Graph, GraphError, IntType, Requantize, Table, Tensor, Threshold
from accel.graph.steps import Clip, Linear, Round, rationals
from accel.passes import lower
from accel.passes.breakpoints import breakpoints


def assert_equal_everywhere(graph: Graph, lowered: Graph) -> int:
    """Compares each activation on every reachable input of every channel; returns how many values that were."""
    dense = {op.output: op for op in graph.operators if isinstance(op, (Conv, Dense))}
    replaced = {op.output: op for op in lowered.operators}
    compared = 0
    for op in graph.operators:
        if not isinstance(op, Activation):
            continue
        x = graph.tensors[op.inputs[0]]
        lo, hi = np.full(x.shape[-1], x.type.lo), np.full(x.shape[-1], x.type.hi)
        if x.name in dense:
            source = graph.tensors[dense[x.name].inputs[0]].type
            lo, hi = dense[x.name].minima(source), dense[x.name].maxima(source)
        new = replaced[op.output]
        if (hi.max() + 1 - lo.min()) * lo.size <= 2**21 * x.type.step:
            values = np.arange(lo.min(), hi.max() + 1, x.type.step)[:, None]
        else:  # as neither operator both rises and falls, the sides of its steps are enough
            points = breakpoints(op, lo, hi).points.T
            values = np.concatenate([lo[None], points - 1, points, hi[None]])
        values = np.clip(values, lo, hi)
        assert (new.run(values) == op.run(values)).all(), op.name
        compared += values.size
    return compared


def kinds(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.operators]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from([0, 4, 16, 256]))
def test_random_networks(folder: Path, network: tuple[Network, str], threshold_levels: int) -> None:
    net, output = network
    graph = frontends.load(net.save(folder / "network.onnx", output))
    try:
        lowered = lower(graph, threshold_levels=threshold_levels)
    except GraphError as error:  # of more than 256 levels, what rounds twice, or by sign where it falls, may be no line
        name = str(error).split(":", maxsplit=1)[0]
        (op,) = (op for op in graph.operators if isinstance(op, Activation) and op.name == name)
        modes = [step.mode for step in op.steps if isinstance(step, Round)]
        assert "too many levels" in str(error) and (len(modes) > 1 or modes[0] not in {"FLOOR", "CEIL", "HALF_EVEN"})
        return
    assert_equal_everywhere(graph, lowered)
    assert not any(isinstance(op, Activation) for op in lowered.operators)
    assert (lowered.input, lowered.output, lowered.head) == (graph.input, graph.output, graph.head)
    assert lowered.tensors == graph.tensors


@pytest.mark.parametrize(
    ("model", "encoding", "expected"),
    [
        (
            "kws-w3a3",
            Encoding(IntType(-128, 127), Fraction(float(np.float32(0.33674246)))),
            ["Table", *["Dense", "Threshold"] * 3, "Dense"],
        ),
        ("tfc-w1a1", Encoding(IntType(0, 255), Fraction(1, 255)), ["Table", *["Dense", "Threshold"] * 3, "Dense"]),
        ("ad08", None, [*["Dense", "Requantize"] * 5, "Dense"]),
        ("rn07", Encoding(IntType(0, 255), Fraction(1, 256)), [*["Conv", "Requantize"] * 5, "Dense"]),
    ],
)
def test_real_models(data: Path, model: str, encoding: Encoding | None, expected: list[str]) -> None:
    start = time.perf_counter()
    graph = frontends.load(data / "models" / f"{model}.onnx", encoding=encoding)
    lowered = lower(graph)
    assert time.perf_counter() - start < 30, "loading and lowering takes seconds"
    assert kinds(lowered) == expected
    assert assert_equal_everywhere(graph, lowered) > 10_000
    for op in lowered.operators:
        if isinstance(op, Requantize):  # AD08 and RN07 divide by powers of two and round half to even
            assert (set(op.multiplier.tolist()), op.ties_to_even) == ({1}, True)


def chain(scale: object, offset: object, out: IntType, mode: str = "HALF_EVEN") -> tuple[Linear, Round, Clip]:
    return Linear(rationals(scale), rationals(offset)), Round(mode), Clip(rationals([out.lo]), rationals([out.hi]))


def behind_dense(activation: Activation) -> Graph:
    weights = np.array([[100, -100], [50, 3]])
    dense = Dense("d", ("x",), "a", weights, IntType(-100, 100))
    return Graph("g", Tensor("x", (2,), IntType(-8, 7)), activation.output, (dense, activation))


def test_rule_after_dense() -> None:
    out = IntType(0, 255)
    graph = behind_dense(
        Activation("act", ("a",), "y", chain([Fraction(1, 3), Fraction(-1, 7)], [120], out, "FLOOR"), out)
    )
    assert kinds(lower(graph)) == ["Dense", "Requantize"]
    assert kinds(lower(graph, threshold_levels=256)) == ["Dense", "Threshold"]
    assert kinds(lower(graph, multiplier_bits=3)) == ["Dense", "Threshold"]
    with pytest.raises(
        GraphError,
        match=r"^act: an activation from i12\[-1500\.\.1500\] to u8 has too many levels for thresholds or a table, "
        r"and is not a multiplication by at most 4 bits; quantize its output to at most 255 levels, or with a scale "
        r"that is a power of two times that of its input$",
    ):
        lower(graph, multiplier_bits=3, most_threshold_levels=255, most_multiplier_bits=4)
    last = {"multiplier_bits": 3, "most_threshold_levels": 255}
    assert kinds(lower(graph, **last)) == ["Dense", "Requantize"]
    for options in ({}, {"threshold_levels": 256}, last):
        assert_equal_everywhere(graph, lower(graph, **options))


@pytest.mark.parametrize(
    ("weight", "level", "out", "scale", "mode"),
    [
        (16, 16, 16, 65536.0, "ROUND"),  # sums of 64 bits and more, which are only shifted
        (16, 16, 16, 65536.0, "FLOOR"),
        (15, 16, 16, 32768.0, "ROUND"),
        (16, 16, 16, 70001.3, "ROUND"),  # products of 72 bits
        (14, 14, 14, 17000.123, "ROUND"),
        (16, 16, 12, 2.0**20 + 0.5, "ROUND"),
        (16, 8, 16, 70.01, "ROUND"),
        (8, 8, 9, 100.0, "ROUND"),  # ties to even that no multiplier meets exactly
        (8, 8, 10, 100.0, "ROUND"),
        (12, 12, 12, 3000.0, "ROUND"),
        (16, 16, 12, 3000000.0, "ROUND"),  # both
        (16, 16, 12, 2.0**20 + 2, "HALF_UP"),  # two lines
    ],
)
def test_up_to_16_bits_from_file_to_gateware(
    folder: Path, *, weight: int, level: int, out: int, scale: float, mode: str
) -> None:
    """A convolution of two channels by 2 x 2: the gateware gives what the file says, at all steps in arithmetic."""
    rng, rounding = np.random.default_rng(weight + level + out), {"signed": 1, "narrow": 0, "rounding_mode": mode}
    net = Network((1, 2, 3, 3))
    x = net.add("Quant", "x", 1.0, 0.0, float(level), **rounding)
    bound = 1 << (weight - 1)
    y = net.add("Conv", x, net.constant(rng.integers(-bound, bound, (2, 2, 2, 2)).astype(np.float32)))
    y = net.add("Quant", y, scale, 0.0, float(out), **rounding)
    graph = frontends.load(net.save(folder / "wide.onnx", y))
    assert_same(net, y, graph, count=1)
    lowered = lower(graph)
    assert kinds(lowered) == ["Conv", "Requantize"]
    assert_equal_everywhere(graph, lowered)
    room = Budget(lut=10**5, ff=10**5, bram36=100, dsp=200, name="room")
    check(build(lowered, budget=room).pipeline, frames=2)


def test_what_needs_a_wider_multiplier_says_so() -> None:
    out = IntType(-(1 << 9), (1 << 9) - 1)
    line = Activation("act", ("x",), "y", chain([Fraction(1, 3**22)], [Fraction(1, 7)], out, "FLOOR"), out)
    wide = 1 << 45
    graph = Graph("g", Tensor("x", (1,), IntType(-wide, wide)), "y", (line,))
    with pytest.raises(
        GraphError, match=r"^act: an activation from i47.* to i10 .*, and is not a multiplication by at most 40 bits; "
    ):
        lower(graph, most_multiplier_bits=40)
    assert_equal_everywhere(graph, lower(graph))


def test_rule_at_the_input() -> None:
    def at_input(x: IntType, out: IntType, scale: object) -> Graph:
        activation = Activation("act", ("x",), "y", chain(scale, [1], out), out)
        return Graph("g", Tensor("x", (3,), x), "y", (activation,))

    i8, i12, u3, u12 = IntType(-128, 127), IntType(-2048, 2047), IntType(0, 7), IntType(0, 4095)
    third = [Fraction(1, 3)]
    several = [Fraction(1, 3), Fraction(-1, 5), Fraction(1, 7)]
    for graph, expected, options in (
        (at_input(i8, u3, third), Table, {}),
        (at_input(i8, u3, several), Threshold, {}),
        (at_input(i12, u3, third), Threshold, {}),
        (at_input(i12, u12, third), Requantize, {}),
        (at_input(i12, u12, several), Table, {"multiplier_bits": 2}),
        (at_input(i12, u12, third), Table, {"table_levels": 4096}),
    ):
        lowered = lower(graph, **options)
        assert [type(op) for op in lowered.operators] == [expected]
        assert_equal_everywhere(graph, lowered)
