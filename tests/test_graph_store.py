"""Graphs on disk and their digests."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.graph import (
    Activation,
    Affine,
    ArgMax,
    Dense,
    Graph,
    GraphError,
    IntType,
    Requantize,
    Table,
    Tensor,
    Threshold,
    load,
    save,
)
from accel.graph.steps import Linear, rationals


def example() -> Graph:
    """Every operator once."""
    rng = np.random.default_rng(7)
    i4, u2 = IntType(-8, 7), IntType(0, 3)
    return Graph(
        name="example",
        input=Tensor("x", (4,), i4, Affine((Fraction(1, 3),), (Fraction(-2),))),
        operators=(
            Table("t", ("x",), "x2", rng.integers(0, 4, (1, 16)), i4, u2),
            Dense("d", ("x2",), "a", rng.integers(-40000, 40000, (3, 4)), IntType(-40000, 40000)),
            Threshold(
                "th", ("a",), "b", np.array([[-5], [2**40], [0]]), np.array([True, False, True]), IntType.bipolar()
            ),
            Dense("e", ("b",), "c", np.array([[1, -1, 1], [-1, -1, 1]]), IntType.bipolar()),
            Requantize("r", ("c",), "q", np.array([3, -5]), np.array([1, 2]), 1, i4, True),
            ArgMax("am", ("q",), "y"),
        ),
        output="y",
        head="argmax",
        output_affine=Affine((Fraction(10**5000 + 1, 3),), (Fraction(0),)),
    )


def test_round_trip(tmp_path: Path) -> None:
    graph = example()
    save(graph, tmp_path / "graph.npz")
    again = load(tmp_path / "graph.npz")
    assert again.digest() == graph.digest()
    assert (again.name, again.input, again.output, again.head, again.output_affine) == (
        *(graph.name, graph.input, graph.output, graph.head),
        graph.output_affine,
    )
    assert [type(op) for op in again.operators] == [type(op) for op in graph.operators]
    assert again.tensors == graph.tensors
    x = np.random.default_rng(0).integers(-8, 8, (50, 4))
    for name, values in graph.run_all(x).items():
        assert (again.run_all(x)[name] == values).all()
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "graph.npz").read_bytes()


def test_integers_of_any_width(tmp_path: Path) -> None:
    wide = [np.array([number], dtype=object) for number in (-(2**50), 2**80)]
    op = Requantize("r", ("x",), "y", *wide, 80, IntType(-9, 9), True, near=60)
    graph = Graph("g", Tensor("x", (1,), IntType(-(2**30), 2**30)), "y", (op,))
    save(graph, tmp_path / "graph.npz")
    again = load(tmp_path / "graph.npz")
    assert again.digest() == graph.digest() != replace(graph, operators=(replace(op, near=61),)).digest()
    x = np.array([[-(2**30)], [2**30], [-7], [-(2**11)]])
    assert again.run(x).tolist() == graph.run(x).tolist() == [[2], [0], [0], [1]]


def test_digest_tells_graphs_apart() -> None:
    """The value is written down, as it must be the same on every machine and in every later version."""
    graph = example()
    assert graph.digest() == "e9f8b512e1f51346958a1174a7e2bbf8d24d76567dbcad1a70e8fafdbc34d9bd"
    dense = graph.operators[1]
    assert isinstance(dense, Dense)
    weights = dense.weights.copy()
    weights[0, 0] += 1
    changes = [
        replace(graph, name="other"),
        replace(graph, head="scores"),
        replace(graph, input=replace(graph.input, affine=None)),
        graph.with_operators((graph.operators[0], replace(dense, weights=weights), *graph.operators[2:])),
        graph.with_operators(
            (graph.operators[0], replace(dense, weights=dense.weights.astype(np.int32)), *graph.operators[2:])
        ),
    ]
    assert [each.digest() != graph.digest() for each in changes] == [True, True, True, True, False]


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "graph.npz"
    step = Activation("act", ("x",), "y", (Linear(rationals([1]), rationals([0])),), IntType(0, 1))
    graph = Graph("g", Tensor("x", (2,), IntType(0, 1)), "y", (step,))
    with pytest.raises(
        GraphError, match=r"^act: Activation cannot be saved; lower the graph first \(accel.passes.lower\)$"
    ):
        save(graph, path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.npz")
    save(example(), path)
    with np.load(path) as file:
        parts = dict(file)
    structure = json.loads(parts["structure"].tobytes())
    structure["schema"] = 2
    parts["structure"] = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    np.savez(path, **parts)
    with pytest.raises(
        GraphError, match=r"not a graph that Headrace saved \(schema 2 instead of 1\); compile the model again$"
    ):
        load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("structure.npy", b"nothing")
    with pytest.raises(GraphError, match=r"graph.npz: .*; compile the model again$"):
        load(path)


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_no_damage_crashes_it(draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    save(example(), path)
    content = bytearray(path.read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path.write_bytes(content[: draw.draw(st.integers(0, len(content)))])
    try:
        assert load(path).name
    except GraphError as error:
        assert str(error).startswith(str(path)) and str(error).endswith("; compile the model again")
