"""The Graph: integer tensors in topological order, with an exact executor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np

from accel.graph.types import IntType

HEADS = ("softmax", "softmax_int8", "scores", "mse", "argmax")


class GraphError(ValueError):
    """A graph that breaks its own rules; names the node and the reason."""


@dataclass(frozen=True)
class Affine:
    """What an integer tensor means at the border: ``real = scale[c] * q + offset[c]``, channel ``c`` innermost.

    Both tuples have length 1 (one for the whole tensor) or the number of channels.
    """

    scale: tuple[Fraction, ...] = (Fraction(1),)
    offset: tuple[Fraction, ...] = (Fraction(0),)


@dataclass(frozen=True)
class Tensor:
    """Shape (without the batch, channels innermost) and integer type of one tensor."""

    name: str
    shape: tuple[int, ...]
    type: IntType
    affine: Affine | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@runtime_checkable
class Operator(Protocol):
    """One node. Operators are frozen dataclasses; each has its own file, which is its exact definition."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def output(self) -> str: ...

    @property
    def infer(self) -> Callable[..., Tensor]:
        """Called with the input tensors: the output tensor, of a type that holds every value. Raises GraphError."""

    @property
    def run(self) -> Callable[..., np.ndarray]:
        """Called with int64 arrays of shape (batch, *shape): the output as such an array."""


@dataclass(frozen=True)
class Graph:
    """A network on integers: one input, one output, operators in topological order.

    ``head`` is what the host or the soft CPU does with the output outside the timed part: ``"softmax"`` and
    ``"scores"`` dequantize it with the output's affine, ``"softmax_int8"`` is TFLite's own, ``"mse"`` compares it with
    the input, ``"argmax"`` means the output already is the index of the class.
    """

    name: str
    input: Tensor
    output: str
    operators: tuple[Operator, ...]
    head: str = "scores"
    output_affine: Affine = Affine()
    tensors: dict[str, Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise GraphError(f"graph {self.name}: head must be one of {', '.join(HEADS)}, not {self.head!r}")
        tensors = {self.input.name: self.input}
        for op in self.operators:
            for needed in op.inputs:
                if needed not in tensors:
                    raise GraphError(f"{op.name}: input {needed!r} is not produced by an earlier node")
            if op.output in tensors:
                raise GraphError(f"{op.name}: output {op.output!r} is produced twice")
            tensors[op.output] = op.infer(*(tensors[n] for n in op.inputs))
        if self.output not in tensors:
            raise GraphError(f"graph {self.name}: output {self.output!r} is not produced by any node")
        object.__setattr__(self, "tensors", tensors)

    def with_operators(self, operators: tuple[Operator, ...], output: str | None = None) -> Graph:
        """The same graph with other operators; types are inferred anew."""
        return replace(self, operators=operators, output=output or self.output)

    def digest(self) -> str:
        """SHA-256 over everything that the graph says, in hexadecimal: the same content, the same digest, anywhere."""
        sha = hashlib.sha256()
        for part in content(self):
            sha.update(part)
        return sha.hexdigest()

    def run(self, x: np.ndarray) -> np.ndarray:
        """The output, int64 of shape (batch, *output shape), for input of shape (batch, *input shape)."""
        return self.run_all(x)[self.output]

    def run_all(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every tensor of one execution by name.

        Raises GraphError on a wrong shape or a value outside the input's type.
        """
        x = np.asarray(x)
        if x.shape[1:] != self.input.shape:
            raise GraphError(f"input {self.input.name}: shape must be (batch, {self.input.shape}), not {x.shape}")
        if not np.issubdtype(x.dtype, np.integer):
            raise GraphError(f"input {self.input.name}: values must be integers, not {x.dtype}")
        if x.size and (int(x.min()) < self.input.type.lo or int(x.max()) > self.input.type.hi):
            raise GraphError(
                f"input {self.input.name}: values must lie within {self.input.type}, not {x.min()}..{x.max()}"
            )
        values = {self.input.name: x.astype(np.int64)}
        for op in self.operators:
            values[op.output] = op.run(*(values[n] for n in op.inputs))
        return values


def content(value: object) -> Iterator[bytes]:
    """Bytes that tell two values apart; arrays as little-endian int64 or, of Fractions, as text."""
    if is_dataclass(value):
        yield type(value).__name__.encode() + b"{"
        for each in fields(value):
            # A field that came later says so, and is left out where it is not used: digests from before stay.
            if each.init and not (each.metadata.get("later") and getattr(value, each.name) is None):
                yield each.name.encode() + b":"
                yield from content(getattr(value, each.name))
        yield b"}"
    elif isinstance(value, tuple):
        yield b"("
        for item in value:
            yield from content(item)
        yield b")"
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield repr(value.shape).encode() + value.astype("<i8").tobytes()
    elif isinstance(value, np.ndarray):
        yield from content((repr(value.shape), *value.ravel().tolist()))
    elif isinstance(value, Fraction):
        yield f"{value.numerator:x}/{value.denominator:x},".encode()  # decimal digits are limited, hexadecimal are not
    elif isinstance(value, (int, np.integer, np.bool_)):
        yield f"{int(value)},".encode()
    else:
        yield repr(value).encode() + b","
