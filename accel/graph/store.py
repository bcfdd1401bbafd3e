"""Graphs on disk: one .npz file with the arrays and a JSON text of everything else. Nothing in it is executed."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from accel.graph.add import Add
from accel.graph.argmax import ArgMax
from accel.graph.concat import Concat
from accel.graph.conv import Conv
from accel.graph.dense import Dense
from accel.graph.graph import Affine, Graph, GraphError, Operator, Tensor
from accel.graph.pool import MaxPool, SumPool
from accel.graph.requantize import Requantize
from accel.graph.resize import Pad, Upsample
from accel.graph.table import Table
from accel.graph.threshold import Threshold
from accel.graph.topk import TopK
from accel.graph.types import IntType
from accel.graph.window import Window

SCHEMA = 1
KINDS = (Add, ArgMax, Concat, Conv, Dense, MaxPool, Pad, Requantize, SumPool, Table, Threshold, TopK, Upsample)
OPERATORS: dict[str, Any] = {kind.__name__: kind for kind in KINDS}
STRUCTURE = "structure"


def save(graph: Graph, path: str | Path) -> None:
    """Writes a lowered graph to ``path``; the same graph gives the same bytes. Raises GraphError for other graphs."""
    arrays: dict[str, np.ndarray] = {}
    structure = {
        "schema": SCHEMA,
        "name": graph.name,
        "input": _tensor_out(graph.input),
        "output": graph.output,
        "operators": [_operator_out(op, arrays) for op in graph.operators],
        "head": graph.head,
        "output_affine": _affine_out(graph.output_affine),
    }
    text = np.frombuffer(json.dumps(structure, sort_keys=True).encode(), dtype=np.uint8)
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{STRUCTURE: text}, **arrays)


def load(path: str | Path) -> Graph:
    """The graph that ``save`` wrote. Raises GraphError when the file is none of ours, OSError when unreadable."""
    path = Path(path)
    path.stat()
    try:
        with np.load(path, allow_pickle=False) as file:
            structure = json.loads(file[STRUCTURE].tobytes())
            if structure["schema"] != SCHEMA:
                raise GraphError(f"schema {structure['schema']!r} instead of {SCHEMA}")
            return Graph(
                name=structure["name"],
                input=_tensor_in(structure["input"]),
                output=structure["output"],
                operators=tuple(_operator_in(each, file) for each in structure["operators"]),
                head=structure["head"],
                output_affine=_affine_in(structure["output_affine"]),
            )
    except (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError) as error:
        raise GraphError(f"{path}: not a graph that Headrace saved ({error}); compile the model again") from error
    except (NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise GraphError(f"{path}: damaged ({error}); compile the model again") from error


def _operator_out(op: Operator, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if type(op).__name__ not in OPERATORS:
        raise GraphError(f"{op.name}: {type(op).__name__} cannot be saved; lower the graph first (accel.passes.lower)")
    result: dict[str, Any] = {"kind": type(op).__name__}
    for each in fields(op):  # type: ignore[arg-type]
        value = getattr(op, each.name)
        if isinstance(value, np.ndarray) and value.dtype == object:
            value = {"integers": [f"{int(v):x}" for v in value]}
        elif isinstance(value, np.ndarray):
            key = f"a{len(arrays)}"
            arrays[key] = value.astype(_narrowest(value))
            value = {"array": key}
        elif isinstance(value, IntType):
            value = _type_out(value)
        elif isinstance(value, Window):
            value = asdict(value)
        result[each.name] = value
    return result


def _operator_in(structure: dict[str, Any], file: Any) -> Operator:
    kind = OPERATORS[structure["kind"]]
    arguments: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        value = structure[each.name]
        if isinstance(value, dict) and "array" in value:
            array = file[value["array"]]
            value = array if array.dtype == bool else array.astype(np.int64)
        elif isinstance(value, dict) and "integers" in value:
            value = np.array([int(v, 16) for v in value["integers"]], dtype=object)
        elif each.type == "IntType":
            value = IntType(*value)
        elif each.type == "Window":
            value = Window(**{key: tuple(numbers) for key, numbers in value.items()})
        elif isinstance(value, list):
            value = tuple(value)
        arguments[each.name] = value
    return kind(**arguments)


def _narrowest(array: np.ndarray) -> np.dtype:
    if array.dtype == bool:
        return array.dtype
    return np.result_type(np.int8, *(np.min_scalar_type(int(v)) for v in (array.min(initial=0), array.max(initial=0))))


def _type_out(kind: IntType) -> list[int]:
    return [int(kind.lo), int(kind.hi), kind.step]


def _affine_out(affine: Affine) -> dict[str, list[str]]:
    return {"scale": [*map(_fraction_out, affine.scale)], "offset": [*map(_fraction_out, affine.offset)]}


def _affine_in(structure: dict[str, list[str]]) -> Affine:
    return Affine(tuple(map(_fraction_in, structure["scale"])), tuple(map(_fraction_in, structure["offset"])))


def _fraction_out(value: Fraction) -> str:
    return f"{value.numerator:x}/{value.denominator:x}"


def _fraction_in(text: str) -> Fraction:
    numerator, denominator = text.split("/")
    return Fraction(int(numerator, 16), int(denominator, 16))


def _tensor_out(tensor: Tensor) -> dict[str, Any]:
    affine = _affine_out(tensor.affine) if tensor.affine else None
    return {"name": tensor.name, "shape": list(tensor.shape), "type": _type_out(tensor.type), "affine": affine}


def _tensor_in(structure: dict[str, Any]) -> Tensor:
    affine = _affine_in(structure["affine"]) if structure["affine"] else None
    return Tensor(structure["name"], tuple(structure["shape"]), IntType(*structure["type"]), affine)
