"""Reading ONNX: random networks against rational arithmetic, what each operator means, heads, encodings."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_graphs import assert_same, real, samples
from onnx_networks import NUMBERS, Network, evaluate, fractions, networks, quantizer, weights

from accel.frontends import Encoding, load
from accel.graph import Activation, Affine, ArgMax, Dense, Graph, IntType, Requantize
from accel.passes import lower

U2 = {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"}
I4 = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frontends") / "network.onnx"


def kinds(graph: Graph) -> list[type]:
    return [type(op) for op in graph.operators]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), seed=st.integers(0, 2**32 - 1))
def test_random_networks(path: Path, network: tuple[Network, str], seed: int) -> None:
    net, output = network
    assert_same(net, output, load(net.save(path, output)), seed)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_random_encodings(path: Path, draw: st.DataObject, seed: int) -> None:
    """Integers on the wire that are not those of the first quantizer, or of none."""
    net = Network((1, 3))
    x = net.add("Mul", "x", np.float32(2.0))
    x = net.add("Add", x, np.float32(draw.draw(NUMBERS)))
    if draw.draw(st.booleans()):
        x = quantizer(draw.draw, net, x)
    x = net.add("MatMul", x, weights(draw.draw, net, 3, 2))
    kind = draw.draw(st.sampled_from([IntType(0, 255), IntType(-8, 7), IntType.bipolar(), IntType(-32768, 32767)]))
    scale, offset = draw.draw(st.sampled_from([Fraction(1, 255), Fraction(1, 2)])), draw.draw(st.fractions(-1, 1))
    graph = load(net.save(path, x), encoding=Encoding(kind, scale, offset))
    assert graph.input.type == kind
    assert graph.input.affine == Affine((scale,), (offset,))
    assert_same(net, x, graph, seed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_argmax_ranks_exactly(path: Path, draw: st.DataObject, seed: int) -> None:
    """Also where channels have offsets between the steps of one score, falling scores, scales, and ties."""
    net = Network((1, 4))
    x = net.add("Quant", "x", 0.5, 0.0, 3.0, **I4)
    x = net.add("MatMul", x, weights(draw.draw, net, 4, 5))
    x = net.add("Add", x, np.array(draw.draw(st.lists(NUMBERS, min_size=5, max_size=5)), dtype=np.float32))
    x = net.add("Mul", x, np.float32(draw.draw(st.sampled_from([1.0, -0.3, 0.7]))))
    if draw.draw(st.booleans()):
        factors = st.lists(st.sampled_from([1.0, -0.5, 2.0, 0.25]), min_size=5, max_size=5)
        x = net.add("Mul", x, np.array(draw.draw(factors), dtype=np.float32))
    scores = load(net.save(path, x))
    net.add("ArgMax", x, axis=1, keepdims=0)
    try:
        graph = load(net.save(path, "ArgMax_" + str(len(net.nodes) - 1) + "_out"))
    except ValueError as error:  # scales without a common measure
        assert "ranks channels whose scales need more than 32 bits to compare" in str(error)
        return
    assert (graph.head, graph.operators[-1].__class__, graph.tensors[graph.output].shape) == ("argmax", ArgMax, (1,))
    q = samples(scores, seed, 60)
    for values, (best,) in zip(scores.run(q), graph.run(q), strict=True):
        numbers = real(values, scores.output_affine).tolist()
        assert best == numbers.index(max(numbers))


def test_constant_subgraphs_and_layout(path: Path) -> None:
    """The reshape of the TFC models, with other detours, and a transposition that goes into the weights."""
    net = Network(("batch", 2, 3))
    q = net.add("Quant", "x", 0.5, 0.0, 4.0, **I4)
    batch = net.add("Gather", net.add("Shape", q), np.array(0), axis=0)
    size = net.add("Div", net.add("Mul", np.array([4]), np.array([3])), np.array([2]))
    size = net.add("Sub", net.add("Cast", size, to=7), np.array([0]))
    shape = net.add("Concat", net.add("Unsqueeze", batch, np.array([0])), size, axis=0)
    turned = net.add("Transpose", net.add("Identity", q), perm=[0, 2, 1])
    flat = net.add("Reshape", turned, shape)
    flat = net.add("Squeeze", net.add("Unsqueeze", flat, np.array([1, -1])), np.array([1, 3]))
    flat = net.add("Cast", net.add("Dropout", flat), to=1)
    w = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]], dtype=np.float32)
    output = net.add("Gemm", flat, w, transB=1)
    graph = load(net.save(path, output), name="named")
    (dense,) = graph.operators
    assert isinstance(dense, Dense)
    assert dense.weights.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [1, 3, 5, 2, 4, 6]]
    assert (graph.name, graph.input.name, graph.input.shape, graph.input.type) == ("named", "x", (6,), IntType(-8, 7))
    assert graph.output_affine == Affine((Fraction(1, 2),), (Fraction(0),))


def quantized(net: Network, kind: str) -> str:
    """A first quantizer of the integers 0..3, in one form or another."""
    if kind == "Quant":
        return net.add("Quant", "x", 1.0, 0.0, 2.0, **U2)
    q = net.add("QuantizeLinear", "x", np.float32(1), np.uint8(0)) if kind == "QCDQ" else "x"
    return net.add("DequantizeLinear", net.add("Clip", q, np.uint8(0), np.uint8(3)), np.float32(1), np.uint8(0))


@pytest.mark.parametrize("kind", ["Quant", "QCDQ", "integer input"])
def test_the_wire_carries_the_first_quantizer(path: Path, kind: str) -> None:
    net = Network((1, 2))
    x = net.add("MatMul", quantized(net, kind), np.eye(2, dtype=np.float32))
    graph = load(net.save(path, x, kind=2 if kind == "integer input" else 1))
    expected = IntType(0, 255) if kind == "integer input" else IntType(0, 3)
    assert (graph.input.type, graph.input.affine) == (expected, Affine())
    assert kinds(graph) == ([Activation, Dense] if kind == "integer input" else [Dense])


@pytest.mark.parametrize(
    ("clip", "levels"),
    [
        (lambda net: net.add("Relu", "x"), IntType(-1, 7)),
        (lambda net: net.add("Clip", "x", np.float32(-2), np.float32(1.3)), IntType(-5, 2)),
        (lambda net: net.add("Clip", net.add("Relu", "x"), np.float32(-2), np.float32(1.3)), IntType(-1, 2)),
        (lambda net: net.add("Mul", net.add("Relu", "x"), np.float32(-3)), IntType(-8, -1)),
    ],
)
def test_a_clip_before_the_first_quantizer(path: Path, clip: Callable[[Network], str], levels: IntType) -> None:
    """It leaves fewer levels on the wire, or is computed of what the wire is said to carry."""
    net = Network((1, 2))
    x = net.add("Quant", clip(net), 0.5, -1.0, 4.0, **I4)
    x = net.add("MatMul", x, np.array([[1, 2], [3, -4]], dtype=np.float32))
    graph, model = load(net.save(path, x)), net.model(x)
    assert (graph.input.type, kinds(graph)) == (levels, [Dense])
    assert graph.input.affine is not None
    (scale,), (offset,) = graph.input.affine.scale, graph.input.affine.offset
    for eighths in range(-64, 64):
        reals = fractions([[eighths / 8, -eighths / 8]])
        q = [min(max(round((v - offset) / scale), levels.lo), levels.hi) for v in reals.flat]
        assert (real(graph.run(np.array([q])), graph.output_affine) == evaluate(model, reals)).all()
    wire = Encoding(IntType(-128, 127), Fraction(1, 16))
    assert_same(net, x, load(path, encoding=wire), count=20)


def test_what_comes_before_the_first_quantizer_is_part_of_the_meaning(path: Path) -> None:
    """An image normalized by channel in the file: the wire's integers mean the file's input, not its multiples."""
    net = Network((1, 2, 1, 2))
    x = net.add("Mul", net.add("Sub", "x", np.array([[[0.5]], [[0.25]]])), np.array([[[4.0]], [[2.0]]]))
    x = net.add("Conv", net.add("Quant", x, 0.5, 1.0, 4.0, **I4), np.ones((1, 2, 1, 1)))
    graph = load(net.save(path, x))
    eighth, quarter = Fraction(1, 8), Fraction(1, 4)
    assert graph.input.affine == Affine((eighth, quarter), (Fraction(3, 8), Fraction(0)))
    assert_same(net, x, graph, count=16)


def test_relu_and_clip_on_the_grid(path: Path) -> None:
    """A ReLU behind an unsigned quantizer is nothing; one on accumulators without a quantizer is integers as well."""
    net = Network((1, 2))
    x = net.add("Relu", net.add("Quant", "x", 0.5, 0.0, 2.0, **U2))
    x = net.add("MatMul", x, np.array([[1, -1], [2, -3]], dtype=np.float32))
    x = net.add("Relu", net.add("Add", x, np.array([1.0, -0.5], dtype=np.float32)))
    graph = load(net.save(path, x))
    assert kinds(graph) == [Dense, Activation]
    assert graph.tensors[graph.output].type == IntType(-2, 9)
    assert graph.output_affine == Affine((Fraction(1, 2),), (Fraction(1), Fraction(-1, 2)))
    assert_same(net, x, graph, count=16)


def test_batch_normalization_decides_ties_by_the_true_root(path: Path) -> None:
    """``(x - 1) / sqrt(v)`` meets the tie of the rounding in a rational root, next to it in others, and at x = 1."""
    net = Network((1, 3))
    x = net.add("Quant", "x", 1.0, 0.0, 4.0, **I4)
    x = net.add("MatMul", x, np.eye(3, dtype=np.float32))
    one, variance = (
        np.ones(3, dtype=np.float32),
        np.array([4.0, np.nextafter(np.float32(4), 5), 3.9999998], dtype=np.float32),
    )
    x = net.add("BatchNormalization", x, one, 0 * one, one, variance, epsilon=0.0)
    x = net.add("Quant", x, 1.0, 0.0, 4.0, signed=1, narrow=0, rounding_mode="HALF_UP")
    graph = load(net.save(path, x))
    assert graph.run(np.array([[2, 2, 2], [1, 1, 1], [0, 0, 0]])).tolist() == [[1, 0, 1], [0, 0, 0], [-1, 0, -1]]


def test_trunc_version_2(path: Path) -> None:
    """Six inputs: the output's scale tells how many bits go, and it saturates."""
    net = Network((1, 1))
    x = net.add("Quant", "x", 0.5, 0.0, 6.0, **I4)
    x = net.add("Trunc", x, 0.5, 0.0, 6.0, 2.0, 3.0, rounding_mode="FLOOR", signed=1, narrow=1)
    x = net.add("MatMul", x, np.ones((1, 1), dtype=np.float32))
    graph = load(net.save(path, x))
    assert graph.output_affine == Affine((Fraction(2),), (Fraction(0),))
    q = np.array([[-32], [-5], [-4], [-1], [0], [3], [4], [31]])
    assert graph.run(q).ravel().tolist() == [-3, -2, -1, -1, 0, 0, 1, 3]


def _head(net: Network, scores: str, kind: str) -> str:
    match kind:
        case "Softmax":
            return net.add("Softmax", scores, axis=-1)
        case "ArgMax of Softmax":
            return net.add("Squeeze", net.add("ArgMax", net.add("Softmax", scores, axis=1), axis=1), np.array([0]))
        case "TopK":
            return net.add("TopK", scores, np.array([1]), outputs=2)
        case "Top5":
            return net.add("TopK", scores, np.array([5]), outputs=2)
    return scores


@pytest.mark.parametrize(
    ("kind", "head", "expected"),
    [
        ("none", None, "scores"),
        ("none", "argmax", "argmax"),
        ("none", "mse", "mse"),
        ("Softmax", None, "softmax"),
        ("Softmax", "scores", "scores"),
        ("ArgMax of Softmax", None, "argmax"),
        ("ArgMax of Softmax", "softmax", "softmax"),
        ("TopK", None, "argmax"),
        ("Top5", "argmax", "argmax"),
        ("Top5", "softmax", "softmax"),
    ],
)
def test_heads(path: Path, kind: str, head: str | None, expected: str) -> None:
    net = Network((1, 6))
    scores = net.add("MatMul", net.add("Quant", "x", 1.0, 0.0, 2.0, **U2), np.eye(6, dtype=np.float32))
    graph = load(net.save(path, _head(net, scores, kind)), head=head)
    assert graph.head == expected
    assert kinds(graph) == [Dense, *([ArgMax] if expected == "argmax" else [])]


def test_rank_of_offsets_between_steps(path: Path) -> None:
    """Offsets 0, 1/4 and 1/3 of a step: three ranks, so scores are multiplied by three."""
    net = Network((1, 3))
    x = net.add("MatMul", net.add("Quant", "x", 1.0, 0.0, 2.0, **U2), np.eye(3, dtype=np.float32))
    x = net.add("Div", net.add("Add", x, np.array([0, 1, -2.75], dtype=np.float32)), np.float32(3))
    graph = load(net.save(path, x), head="argmax")
    rank = graph.operators[1]
    assert isinstance(rank, Requantize)
    assert (rank.multiplier.tolist(), rank.bias.tolist(), rank.shift) == ([2, 2, 2], [0, 2, -5], 0)
    assert graph.run(np.array([[1, 0, 3], [2, 0, 3], [0, 0, 3], [1, 0, 0]])).ravel().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nan",), r"^encoding: scale must be a finite number, not 'nan'$"),
        ((float("inf"),), r"^encoding: scale must be a finite number, not inf$"),
        ((Fraction(-1, 2),), r"^encoding: scale must be positive, not -1/2$"),
        ((1, None), r"^encoding: offset must be a finite number, not None$"),
    ],
)
def test_encoding_errors(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoding(IntType(0, 1), *arguments)
    with pytest.raises(ValueError, match=r"^encoding: the wire carries integers of at most 16 bits, not u17$"):
        Encoding(IntType(0, 2**17 - 1), Fraction(1))


def test_levels_that_a_relu_leaves(path: Path) -> None:
    """What a clip before a quantizer rules out is no level of the tensor, so that a multiplier and a shift will do."""
    net = Network((1, 2))
    x = net.add("Relu", net.add("MatMul", net.add("Quant", "x", 1.0, 0.0, 8.0, **I4), np.array([[3, -2], [1, 5.0]])))
    q = net.add("QuantizeLinear", x, np.float32(0.71), np.int8(-3))
    output = net.add("DequantizeLinear", q, np.float32(0.71), np.int8(-3))
    graph = load(net.save(path, output))
    assert graph.tensors[graph.output].type == IntType(-3, 127)
    assert kinds(lower(graph)) == [Dense, Requantize]
    assert_same(net, output, graph, count=100)
