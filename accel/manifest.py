"""The manifest of a compiled model: what the SoC, the firmware and the host need to know about it.

`docs/contracts.md` ("The compiled model") shows the file. Everything in it is checked when it is read, so that nobody
above has to: a field that is missing, unknown, of a wrong type or out of range is a `ManifestError` that names the file
and the field.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from accel.graph import Affine, GraphError, IntType, Quantizer
from accel.graph.graph import HEADS

SCHEMA = 1
FILE_NAME = "manifest.json"
WIRES = {
    "int8": IntType(-128, 127),
    "uint8": IntType(0, 255),
    "int16": IntType(-32768, 32767),
    "uint16": IntType(0, 65535),
}
FLOAT32 = "float32"
"""The wire of real numbers, which the device quantizes to the accelerator's input (`accel.graph.Quantizer`)."""
KINDS = ("array", "conv", "depthwise", "pool", "add", "concat", "pad", "upsample", "table", "argmax", "topk", "repack")


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names the file and the field."""


@dataclass(frozen=True)
class Input:
    """The accelerator's input: ``elements`` values of ``type``, ``bytes`` in memory, ``lanes`` a beat of the stream.

    ``real = scale[c] * q + offset[c]``, or one for all; left empty, they are those of the wire.
    """

    shape: tuple[int, ...]
    elements: int
    bytes: int
    lanes: int
    type: IntType
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    @property
    def quantizer(self) -> Quantizer:
        """What the device does to numbers of a float32 wire. Raises GraphError."""
        meaning = Affine(tuple(map(Fraction, self.scale)), tuple(map(Fraction, self.offset)))
        return Quantizer.of(meaning, self.type)


@dataclass(frozen=True)
class Output:
    """The accelerator's output, ``bytes`` in memory; ``real = scale[c] * q + offset[c]``, or one for all."""

    shape: tuple[int, ...]
    elements: int
    bytes: int
    lanes: int
    type: IntType
    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class InputEncoding:
    """What the bytes of a sample mean: numbers of type ``wire`` (little-endian), ``real = scale * number + offset``.

    ``wire`` is one of `WIRES` or `FLOAT32`, whose numbers are the reals themselves. Where the channels of a model's own
    input differ, scale and offset here are the first one's; those of all are in `Input`.
    """

    wire: str = "int8"
    scale: float = 1.0
    offset: float = 0.0

    @property
    def reals(self) -> bool:
        """Whether the numbers are real ones, float32."""
        return self.wire == FLOAT32


@dataclass(frozen=True)
class LayerEntry:
    """A dense layer or a convolution and its share of the node's cycles, for tables and drawings.

    ``inputs`` are those of one output: of a convolution all elements of its kernel in the channels of a group;
    ``outputs`` are neurons, channels there. ``kernel`` is (height, width), and empty without one.
    """

    name: str
    inputs: int
    outputs: int
    weight_bits: int
    input_bits: int
    activation: str | None
    macs: int
    steps: int
    kernel: tuple[int, ...] = ()


@dataclass(frozen=True)
class NodeEntry:
    """One hardware node with its estimates; what a node of its kind does not have is None.

    ``cycles`` are what it adds to the latency of a frame, ``steps`` how long a frame keeps it busy at least. ``taps``,
    ``capacity`` (pixels) and ``buffer`` are those of a window, ``lanes`` the elements a beat that leave it, ``shape``
    what it computes (height, width, channels, or just elements). ``packing`` is the part of the weights' block RAM that
    holds weights: its bits over those of the blocks taken.
    """

    node: str
    kind: str
    cycles: int
    lut: int
    ff: int
    bram36: float
    dsp: int
    pe: int | None = None
    simd: int | None = None
    drain: int | None = None
    multiplier: str | None = None
    memory: str | None = None
    layers: tuple[LayerEntry, ...] = ()
    steps: int | None = None
    lanes: int | None = None
    shape: tuple[int, ...] = ()
    taps: int | None = None
    capacity: int | None = None
    buffer: str | None = None
    packing: float | None = None


@dataclass(frozen=True)
class LinkEntry:
    """From a node to input ``port`` of a node (empty: the accelerator's input and output): ``lanes`` elements of
    ``width`` bits a beat, ``depth`` beats of FIFO between, and what that takes of the device.
    """

    producer: str
    consumer: str
    port: int
    lanes: int
    width: int
    depth: int
    lut: int = 0
    ff: int = 0
    bram36: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """The whole core before synthesis. ``cycles``: from the first input beat to the last output beat, both included;
    ``interval``: between frames that follow each other.
    """

    cycles: int
    lut: int
    ff: int
    bram36: float
    dsp: int
    interval: int | None = None


@dataclass(frozen=True)
class BudgetEntry:
    """What the accelerator was allowed, and the resource that kept it from being faster (None: nothing did).

    Of the least area at a rate: what kept it from being smaller, a resource or "rate".
    """

    board: str
    lut: int
    ff: int
    bram36: float
    dsp: int
    binding: str | None = None


@dataclass(frozen=True)
class Memory:
    """The window of addresses, in bytes, in which the accelerator's DMA may read and write."""

    base: int
    size: int


@dataclass(frozen=True)
class Manifest:
    """See the module. ``hash``: 8 hexadecimal digits, as the gateware and the firmware compare it."""

    name: str
    task: str
    hash: str
    input: Input
    output: Output
    head: str
    input_encoding: InputEncoding
    pipeline: tuple[NodeEntry, ...]
    estimate: Estimate
    budget: BudgetEntry
    memory: Memory
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    links: tuple[LinkEntry, ...] = ()
    schema: int = SCHEMA

    @property
    def hash_value(self) -> int:
        """The hash as the 32-bit number in the register HASH."""
        return int(self.hash, 16)

    def validate(self, where: str = "manifest") -> None:
        """Raise `ManifestError` where fields contradict each other or the contract."""

        def need(condition: bool, message: str) -> None:
            if not condition:
                raise ManifestError(f"{where}: {message}")

        need(self.schema == SCHEMA, f"schema must be {SCHEMA}, not {self.schema}; compile the model again")
        need(bool(re.fullmatch(r"[0-9a-f]{8}", self.hash)), f"hash must be 8 hexadecimal digits, not {self.hash!r}")
        need(self.head in HEADS, f"head must be one of {', '.join(HEADS)}, not {self.head!r}")
        wire = self.input_encoding.wire
        need(
            wire in WIRES or wire == FLOAT32,
            f"input_encoding.wire must be one of {', '.join((*WIRES, FLOAT32))}, not {wire!r}",
        )
        if self.input_encoding.reals:
            need(bool(self.input.scale and self.input.offset), "input.scale and input.offset must say how to quantize")
            try:
                _ = self.input.quantizer
            except GraphError as error:
                raise ManifestError(f"{where}: input: {error}") from None
            said = (self.input_encoding.scale, self.input_encoding.offset)
            need(said == (1.0, 0.0), f"input_encoding: float32 numbers have scale 1 and offset 0, not {said}")
        for label, port in (("input", self.input), ("output", self.output)):
            size = 1
            for n in port.shape:
                size *= n
            need(size == port.elements > 0, f"{label}.elements must be {size}, as its shape says, not {port.elements}")
            need(port.lanes > 0, f"{label}.lanes must be positive, not {port.lanes}")
        element, result = input_bytes(self.input.type), output_bytes(self.output.type)
        for label, port, width in (("input", self.input, element), ("output", self.output, result)):
            need(
                port.bytes == port.elements * width,
                f"{label}.bytes must be {port.elements * width} ({width} an element), not {port.bytes}",
            )
        for side, channels, values in (
            ("input.scale", self.input.shape[-1], self.input.scale or (1.0,)),
            ("input.offset", self.input.shape[-1], self.input.offset or (0.0,)),
            ("output.scale", self.output.shape[-1], self.output.scale),
            ("output.offset", self.output.shape[-1], self.output.offset),
        ):
            need(len(values) in (1, channels), f"{side} must have 1 or {channels} numbers, not {len(values)}")
        need(bool(self.pipeline), "pipeline must have at least one node")
        for node in self.pipeline:
            need(node.kind in KINDS, f"pipeline node {node.node}: unknown kind {node.kind!r}")
        names = {"", *(node.node for node in self.pipeline)}
        for link in self.links:
            ends = (link.producer, link.consumer)
            need(names.issuperset(ends), f"links: {' to '.join(map(repr, ends))} joins no nodes of the pipeline")
            need(link.depth >= 0, f"links: the depth to {link.consumer!r} must not be negative, not {link.depth}")
        need(self.memory.base % 4 == 0, f"memory.base must be a multiple of 4, not {self.memory.base}")
        need(self.memory.size > 0, f"memory.size must be positive, not {self.memory.size}")

    def save(self, folder: Path | str) -> Path:
        """Write ``manifest.json`` into ``folder`` and return its path."""
        path = Path(folder) / FILE_NAME
        self.validate(str(path))
        data = {"schema": self.schema} | asdict(self)
        path.write_text(json.dumps(data, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: Path | str) -> Manifest:
        """Read ``manifest.json``, or the one in a folder. Raises `ManifestError`."""
        path = Path(path)
        if path.is_dir():
            path = path / FILE_NAME
        try:
            data = json.loads(path.read_text())
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read ({error.strerror}); compile the model first") from error
        except ValueError as error:
            raise ManifestError(f"{path}: not a JSON file ({error})") from error
        if isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA:
            raise ManifestError(f"{path}: schema must be {SCHEMA}, not {data['schema']!r}; compile the model again")
        manifest = _read(cls, data, str(path), "")
        assert isinstance(manifest, cls)
        manifest.validate(str(path))
        return manifest


def input_bytes(kind: IntType) -> int:
    """Bytes of one input element in memory: 1 for types that fit 8 bits (bipolar as -1 or 1), else 2."""
    width = 2 if kind.is_bipolar else kind.width
    if width > 16:
        raise ManifestError(f"an input of type {kind} has {width} bits; at most 16 fit the accelerator's input stream")
    return 1 if width <= 8 else 2


def output_bytes(kind: IntType) -> int:
    """Bytes of one output element in memory: 1 for types that fit 8 bits (bipolar as -1 or 1), else a word of 4."""
    return 1 if (2 if kind.is_bipolar else kind.width) <= 8 else 4


def _read(kind: Any, data: Any, file: str, where: str) -> Any:
    """``data`` from JSON as an instance of ``kind`` (a dataclass, tuple, dict, union or plain type), strictly."""
    label = f"{file}: {where or 'the file'}"
    origin, parameters = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        if not isinstance(data, dict):
            raise ManifestError(f"{label} must be an object, not {data!r}")
        hints = get_type_hints(kind)
        prefix = f"{where}." if where else ""
        if unknown := sorted(set(data) - set(hints)):
            raise ManifestError(f"{file}: unknown field {prefix}{unknown[0]}")
        values = {}
        for f in fields(kind):
            if f.name in data:
                values[f.name] = _read(hints[f.name], data[f.name], file, prefix + f.name)
        try:
            return kind(**values)  # type: ignore[operator]
        except TypeError:
            required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
            missing = next(name for name in required if name not in values)
            raise ManifestError(f"{file}: field {prefix}{missing} is missing") from None
        except ValueError as error:
            raise ManifestError(f"{label}: {error}") from None
    if origin is UnionType:
        if data is None and type(None) in parameters:
            return None
        return _read(next(p for p in parameters if p is not type(None)), data, file, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ManifestError(f"{label} must be a list, not {data!r}")
        return tuple(_read(parameters[0], item, file, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise ManifestError(f"{label} must be an object, not {data!r}")
        return {key: _read(parameters[1], item, file, f"{where}.{key}") for key, item in data.items()}
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or isinstance(data, bool):
        raise ManifestError(f"{label} must be {kind.__name__}, not {data!r}")
    return data
