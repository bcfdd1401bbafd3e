"""A pipeline as plain data, operators by their names in the graph: written, and read back."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from accel.dataflow.pipeline import Link, Node, Pipeline
from accel.graph import Graph, GraphError, Operator

FILE_NAME = "pipeline.json"


def kind_of(node: Node) -> str:
    """The word for a node in names and tables: array, conv, depthwise, pool, add, …"""
    return type(node).__name__.removesuffix("Node").lower()


KINDS: dict[str, type] = {cls.__name__.removesuffix("Node").lower(): cls for cls in get_args(Node)}


def to_data(pipeline: Pipeline) -> dict[str, Any]:
    """Nodes and links, of which together with the graph the pipeline can be made again."""
    operators = {id(op) for op in pipeline.graph.operators}

    def plain(value: Any) -> Any:
        if id(value) in operators:
            return value.name
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        if isinstance(value, Operator):
            raise GraphError(f"graph {pipeline.graph.name}: {value.name} is none of its operators")
        if is_dataclass(value):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        if value is None or isinstance(value, int | str):
            return value
        raise GraphError(f"graph {pipeline.graph.name}: a {type(value).__name__} is no part of a pipeline")

    return {
        "nodes": [{"kind": kind_of(node)} | plain(node) for node in pipeline.nodes],
        "links": [plain(link) for link in pipeline.links],
    }


def from_data(graph: Graph, data: dict[str, Any]) -> Pipeline:
    """The pipeline that `to_data` wrote; ``graph`` is the one it had. Raises GraphError where the two do not agree."""
    operators = {op.name: op for op in graph.operators}

    def made(kind: Any, value: Any) -> Any:
        origin, parameters = get_origin(kind), get_args(kind)
        if origin is tuple:
            each = [parameters[0]] * len(value) if parameters[-1] is ... else parameters
            return tuple(made(k, v) for k, v in zip(each, value, strict=True))
        if origin is UnionType and value is None:
            return None
        options = parameters if origin is UnionType else (kind,)
        if isinstance(value, str) and str not in options:
            operator = operators.get(value)
            if not isinstance(operator, options):
                raise GraphError(f"graph {graph.name}: has no operator {value!r} that a node could compute")
            return operator
        if is_dataclass(kind):
            hints = get_type_hints(kind)
            return kind(**{name: made(hints[name], each) for name, each in value.items()})  # type: ignore[operator]
        return value

    try:
        nodes = [made(KINDS[node["kind"]], {k: v for k, v in node.items() if k != "kind"}) for node in data["nodes"]]
        return Pipeline(graph, tuple(nodes), tuple(made(Link, link) for link in data["links"]))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, GraphError):
            raise
        raise GraphError(f"graph {graph.name}: the pipeline is not one of this version ({error})") from None


def save(pipeline: Pipeline, path: Path) -> None:
    """Write a pipeline without its graph."""
    path.write_text(json.dumps(to_data(pipeline), indent=1) + "\n")


def load(graph: Graph, path: Path) -> Pipeline:
    """Read a pipeline of ``graph``. Raises GraphError."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise GraphError(f"{path}: cannot be read ({error}); compile the model again") from None
    return from_data(graph, data)
