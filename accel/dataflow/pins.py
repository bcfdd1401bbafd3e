"""Pins: a YAML file with what folding chose, or is to choose.

    nodes:
      conv1: {pe: 4, simd: 8, taps: 4, drain: 1, multiplier: dsp, memory: bram, buffer: bram, capacity: 128}
      block0.add: {lanes: 2}
    fifos:
    - {from: conv0, to: block0.add, depth: 130}

Nodes go by the name of their (first) operator. What is left out is chosen. Each compile writes the file with all
choices; given back, it makes the same pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from accel.dataflow.candidates import Pins, check_pins
from accel.dataflow.options import keys_of
from accel.dataflow.parts import Part
from accel.dataflow.pipeline import (
    ArrayNode,
    ConvNode,
    DepthwiseNode,
    Link,
    Node,
    Pipeline,
    PoolNode,
    RepackNode,
    sources,
)
from accel.graph import GraphError

FILE_NAME = "folding.yaml"
INPUT, OUTPUT = "(input)", "(output)"
HEADER = "# What folding chose. Any part of it, changed or not, can be given back: headrace compile --folding FILE\n"
Place = tuple[str, str, int]
"""Of a link: producer, consumer, port."""


@dataclass(frozen=True)
class Pinned:
    """Choices by node, FIFO depths by link; ``where`` is the file they come from, for errors."""

    nodes: Pins = field(default_factory=dict)
    fifos: Mapping[Place, int] = field(default_factory=dict)
    where: str = "pins"


def read(path: Path) -> Pinned:
    """The pins of a file. Raises GraphError that names the file where it is none of this kind."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise GraphError(f"{path}: is no YAML: {error}") from None
    if not isinstance(content, dict) or set(content) - {"nodes", "fifos"}:
        raise GraphError(f"{path}: must have the keys nodes and fifos, and no others")
    nodes, fifos = content.get("nodes") or {}, content.get("fifos") or []
    for name, wishes in nodes.items() if isinstance(nodes, dict) else [("nodes", None)]:
        if not isinstance(wishes, dict):
            raise GraphError(f"{path}: {name} must map names to values")
    places: dict[Place, int] = {}
    for entry in fifos:
        keys = set(entry) if isinstance(entry, dict) else set()
        if not {"from", "to", "depth"} <= keys or keys - {"from", "to", "depth", "port"}:
            raise GraphError(f"{path}: a FIFO has from, to, depth and maybe port, not {entry}")
        depth, port = entry["depth"], entry.get("port", 0)
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0 or not isinstance(port, int):
            raise GraphError(
                f"{path}: FIFO from {entry['from']} to {entry['to']}: depth must be 0 or more, not {depth!r}"
            )
        ends = [{INPUT: "", OUTPUT: ""}.get(str(entry[end]), str(entry[end])) for end in ("from", "to")]
        places[ends[0], ends[1], port] = depth
    return Pinned({str(name): dict(wishes) for name, wishes in nodes.items()}, places, str(path))


def write(pipeline: Pipeline) -> str:
    """All choices of a pipeline as such a file."""
    nodes: dict[str, dict[str, object]] = {}
    for node in pipeline.nodes:
        if isinstance(node, ArrayNode):
            names = [layer.dense.name for layer in node.layers]
            shared = {"array": node.name} if node.name not in names else {"lanes": node.source.lanes}
            for name in names if node.name not in names else names[:1]:
                nodes[name] = chosen(node) | shared
        elif not isinstance(node, RepackNode) and (choices := chosen(node)):
            nodes[node.name] = choices
    fifos = []
    for link in pipeline.links:
        entry: dict[str, object] = {"from": link.producer or INPUT, "to": link.consumer or OUTPUT}
        if link.port:
            entry["port"] = link.port
        fifos.append(entry | {"depth": link.depth})
    text = HEADER
    for key, content in (("nodes", nodes), ("fifos", fifos)):
        text += yaml.safe_dump({key: content}, sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)
    return text


def chosen(node: Node) -> dict[str, object]:
    """What was chosen of a node."""
    if isinstance(node, ConvNode):
        keys: Sequence[str] = ("pe", "simd", "taps", "drain", "multiplier", "memory", "buffer", "capacity")
    elif isinstance(node, DepthwiseNode):
        keys = ("pe", "taps", "drain", "multiplier", "memory", "buffer", "capacity")
    elif isinstance(node, ArrayNode):
        keys = ("pe", "simd", "drain", "multiplier", "memory")
    elif isinstance(node, PoolNode) and node.overlaps:
        return {"lanes": node.source.lanes, "buffer": node.buffer, "capacity": node.capacity}
    else:
        return {"lanes": sources(node)[0].lanes}
    return {key: getattr(node, key) for key in keys}


def check(some: Sequence[Part], pins: Pinned, *, chain: Sequence | None = None) -> None:
    """Whether the pins fit a network of these parts (or a ``chain`` of items). Raises GraphError.

    The message names the file, the node and the legal values.
    """
    if chain is not None:
        try:
            check_pins(chain, pins.nodes)
        except GraphError as error:
            raise GraphError(f"{pins.where}: {error}" if pins.where != "pins" else str(error)) from None
        return
    known = {part.name: part for part in some}
    for name, wishes in pins.nodes.items():
        if name not in known:
            raise GraphError(f"{pins.where}: there is no node {name!r}; there are {', '.join(known)}")
        keys = keys_of(known[name])
        for key, value in wishes.items():
            if key not in keys:
                raise GraphError(f"{pins.where}: {name}: there is no choice {key!r}; there are {', '.join(keys)}")
            if value not in keys[key] or isinstance(value, bool):
                raise GraphError(f"{pins.where}: {name}: {key} must be {listed(keys[key])}, not {value!r}")
        pe, drain = wishes.get("pe"), wishes.get("drain")
        if isinstance(pe, int) and isinstance(drain, int) and pe % drain:
            raise GraphError(f"{pins.where}: {name}: pe {pe} must be a multiple of drain {drain}")


def listed(values: Sequence) -> str:
    """Legal values in words."""
    if isinstance(values, range):
        return f"an integer from {values[0]} to {values[-1]}"
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last


def depths(pipeline: Pipeline, pins: Pinned) -> dict[Link, int]:
    """The pinned depth of each link. Raises GraphError where there is no such link."""
    links = {(link.producer, link.consumer, link.port): link for link in pipeline.links}
    for place in pins.fifos:
        if place not in links:
            there = ", ".join(f"{a or INPUT} to {b or OUTPUT}" for a, b, _ in links)
            raise GraphError(
                f"{pins.where}: there is no link from {place[0] or INPUT} to {place[1] or OUTPUT}, port {place[2]}; "
                f"there are {there}"
            )
    return {links[place]: depth for place, depth in pins.fifos.items()}
