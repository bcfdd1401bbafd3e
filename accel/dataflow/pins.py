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

from accel.dataflow.candidates import Pins, among, check_pins
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
DEPTHS, PORTS = range(1 << 20), range(1 << 10)
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
        content = yaml.load(path.read_text(), Loader)
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise GraphError(f"{path}: is no YAML: {error}") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or set(content) - {"nodes", "fifos"}:
        raise GraphError(f"{path}: must have the keys nodes and fifos, and no others")
    nodes = {} if content.get("nodes") is None else content["nodes"]
    fifos = [] if content.get("fifos") is None else content["fifos"]
    for name, wishes in nodes.items() if isinstance(nodes, dict) else [("nodes", None)]:
        if not isinstance(wishes, dict):
            raise GraphError(f"{path}: {name} must map names to values")
    if not isinstance(fifos, list):
        raise GraphError(f"{path}: fifos must be a list, not {fifos!r}")
    places: dict[Place, int] = {}
    for entry in fifos:
        keys = set(entry) if isinstance(entry, dict) else set()
        if not {"from", "to", "depth"} <= keys or keys - {"from", "to", "depth", "port"}:
            raise GraphError(f"{path}: a FIFO has from, to, depth and maybe port, not {entry}")
        where = f"{path}: FIFO from {entry['from']} to {entry['to']}"
        for key, values in (("depth", DEPTHS), ("port", PORTS)):
            if not among(value := entry.get(key, 0), values):
                raise GraphError(f"{where}: {key} must be {listed(values)}, not {value!r}")
        ends = [{INPUT: "", OUTPUT: ""}.get(str(entry[end]), str(entry[end])) for end in ("from", "to")]
        place = (*ends, entry.get("port", 0))
        if place in places:
            raise GraphError(f"{where}: port {place[2]} has two depths, {places[place]} and {entry['depth']}")
        places[place] = entry["depth"]
    return Pinned({str(name): dict(wishes) for name, wishes in nodes.items()}, places, str(path))


class Loader(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error; the last one would count, and nobody would know."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def write(pipeline: Pipeline) -> str:
    """All choices of a pipeline as such a file."""
    nodes: dict[str, dict[str, object]] = {}
    # what `accel.dataflow.folding` made: arrays with names of their own, and what is between them has no choices
    chain = any(isinstance(node, ArrayNode) and node.name != node.layers[0].dense.name for node in pipeline.nodes)
    for node in pipeline.nodes:
        if isinstance(node, ArrayNode) and chain:
            nodes |= {layer.dense.name: chosen(node) | {"array": node.name} for layer in node.layers}
        elif isinstance(node, ArrayNode):
            nodes[node.name] = chosen(node) | {"lanes": node.source.lanes}
        elif not chain and not isinstance(node, RepackNode):
            nodes[node.name] = chosen(node)
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
            if key == "array" and known[name].layers:
                raise GraphError(
                    f"{pins.where}: {name}: array is no choice here: with the objective area, or where lanes are "
                    "given, all dense layers of a chain share one array"
                )
            if key not in keys:
                raise GraphError(f"{pins.where}: {name}: there is no choice {key!r}; there are {', '.join(keys)}")
            if not among(value, keys[key]):
                raise GraphError(f"{pins.where}: {name}: {key} must be {listed(keys[key])}, not {value!r}")
        pe, drain = wishes.get("pe"), wishes.get("drain")
        if isinstance(pe, int) and isinstance(drain, int) and pe % drain:
            raise GraphError(f"{pins.where}: {name}: pe {pe} must be a multiple of drain {drain}")


def of_parts(pins: Pinned) -> bool:
    """Whether these are choices of parts even of a chain of dense layers, as those of the least area are."""
    return any("lanes" in wishes for wishes in pins.nodes.values())


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
