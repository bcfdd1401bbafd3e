"""Arrangement: each rule on a small graph, what it must leave alone, and random images lowered."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from onnx_graphs import samples
from onnx_images import image_networks
from onnx_networks import Network

from accel import frontends
from accel.graph import (
    Activation,
    Add,
    Concat,
    Conv,
    Graph,
    GraphError,
    IntType,
    MaxPool,
    Operator,
    Pad,
    SumPool,
    Tensor,
    Upsample,
    Window,
)
from accel.graph.steps import Clip, Linear, Round, rationals
from accel.passes import lower
from accel.passes.arrange import arrange

I4, U2 = IntType(-8, 7), IntType(0, 3)
PAIR = Window((2, 2), (2, 2))


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-4, 4, shape)


def conv(source: str, name: str = "conv", window: Window = Window((2, 2)), pad_value: int = 0) -> Conv:
    return Conv(name, (source,), name, weights(3, *window.kernel, 3), IntType(-4, 3), window, 1, pad_value)


def activation(source: str, name: str = "act", scales: tuple[int, ...] = (1, 2, 3)) -> Activation:
    offsets = [Fraction(n, 3) for n in range(len(scales))]
    steps = (
        Linear(rationals([Fraction(s, 9) for s in scales]), rationals(offsets)),
        Round(),
        Clip(rationals([0]), rationals([3])),
    )
    return Activation(name, (source,), name, steps, U2)


def graph(*operators: Operator, output: str = "") -> Graph:
    return Graph("g", Tensor("x", (5, 4, 3), I4), output or operators[-1].output, operators)


def check(before: Graph, expected: list[type[Operator]]) -> Graph:
    """The arranged graph, which has these operators and computes the same."""
    after = arrange(before)
    assert [type(op) for op in after.operators] == expected
    x = samples(before, 0, 20)
    assert (before.run(x) == after.run(x)).all()
    assert after.tensors[after.output].shape == before.tensors[before.output].shape
    return after


def pad(value: int, source: str = "x") -> Pad:
    return Pad("pad", (source,), "pad", (1, 0, 2, 1), value)


@pytest.mark.parametrize("value", [0, -3, 9])
def test_padding_goes_into_convolutions_and_sums(value: int) -> None:
    after = check(graph(pad(value), conv("pad")), [Conv])
    assert isinstance(after.operators[0], Conv)
    assert (after.operators[0].window.pads, after.operators[0].pad_value) == ((1, 0, 2, 1), value)
    after = check(graph(pad(value), SumPool("sum", ("pad",), "sum", PAIR)), [SumPool])
    own = Window((2, 2), pads=(0, 1, 0, 0))
    check(graph(pad(value), conv("pad", window=own, pad_value=value)), [Conv])
    check(graph(pad(value), conv("pad", window=own, pad_value=value + 1)), [Pad, Conv])


def test_padding_goes_into_largest_only_where_it_is_none() -> None:
    pool = MaxPool("max", ("pad",), "max", Window((3, 2)))
    check(graph(pad(-8), pool), [MaxPool])
    check(graph(pad(-9), pool), [MaxPool])
    check(graph(pad(-7), pool), [Pad, MaxPool])
    check(graph(pad(-8), MaxPool("max", ("pad",), "max", Window((1, 1)))), [Pad, MaxPool])


def test_padding_that_others_read_stays_for_them() -> None:
    both = (pad(0), conv("pad"), MaxPool("max", ("pad",), "max", Window((2, 2))), Add("sum", ("conv", "max"), "sum"))
    check(graph(*both), [Pad, Conv, MaxPool, Add])


def test_signs_go_into_weights() -> None:
    sign = Activation("sign", ("conv",), "sign", (Linear(rationals([1, -1, -1]), rationals([0])),), IntType(-999, 999))
    after = check(graph(conv("x"), sign, MaxPool("max", ("sign",), "max", PAIR)), [Conv, MaxPool])
    assert isinstance(after.operators[0], Conv)
    assert (after.operators[0].weights[1] == -weights(3, 2, 2, 3)[1]).all()
    read_twice = graph(conv("x"), sign, Add("sum", ("conv", "sign"), "sum"))
    check(read_twice, [Conv, Activation, Add])
    third = Activation("sign", ("conv",), "sign", (Linear(rationals([3]), rationals([0])),), IntType(-999, 999))
    check(graph(conv("x"), third), [Conv, Activation])


def test_activations_come_before_what_moves_pixels() -> None:
    pool, up = MaxPool("max", ("conv",), "max", PAIR), Upsample("up", ("max",), "up", (2, 3))
    after = check(
        graph(conv("x"), pool, up, activation("up"), conv("act", "last")), [Conv, Activation, MaxPool, Upsample, Conv]
    )
    assert after.tensors["max"].type == U2
    check(graph(conv("x"), pool, activation("max", scales=(1, -2, 3))), [Conv, MaxPool, Activation])
    check(
        graph(conv("x"), Upsample("up", ("conv",), "up", (1, 2)), activation("up", scales=(-1, 1, 2))),
        [Conv, Activation, Upsample],
    )
    first = MaxPool("max", ("x",), "max", PAIR)
    check(graph(first, activation("max")), [MaxPool, Activation])
    check(
        graph(conv("x"), pool, activation("max"), Add("sum", ("act", "max"), "sum")), [Conv, MaxPool, Activation, Add]
    )


def test_activations_come_before_concatenations_of_accumulators() -> None:
    two = (conv("x"), conv("x", "other"), Concat("cat", ("conv", "other"), "cat"))
    after = check(
        graph(*two, activation("cat", scales=(1, 2, 3, -4, 5, 6))), [Conv, Conv, Activation, Activation, Concat]
    )
    assert after.tensors[after.output].type == U2
    same = Concat("cat", ("x", "x"), "cat")
    check(graph(same, activation("cat", scales=(1,))), [Concat, Activation])


REFUSED = "too many levels"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(network=image_networks(), seed=st.integers(0, 2**32 - 1))
def test_random_images_are_lowered(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[Network, str], seed: int
) -> None:
    """The lowered graph has no activations and computes the same on random inputs."""
    net, output = network
    try:
        before = frontends.load(net.save(tmp_path_factory.getbasetemp() / "image.onnx", output))
    except frontends.FrontendError:
        reject()  # tests/test_frontends_images.py has the reasons
    try:
        after = lower(before)
    except GraphError as error:
        assert REFUSED in str(error)
        reject()
    assert not any(isinstance(op, Activation) for op in after.operators)
    x = samples(before, seed, 20)
    assert (before.run(x) == after.run(x)).all()
