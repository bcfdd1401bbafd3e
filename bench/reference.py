"""The exact reference of a compiled model: what the device must answer, digit for digit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accel.graph import Graph, GraphError, load
from accel.graph.head import results
from accel.manifest import Manifest
from bench.errors import BenchError
from bench.samples import wire_type

GRAPH = "graph.npz"


@dataclass(frozen=True)
class Expected:
    """For one input: the output's integers (``scores%``), and the decimals that are printed (``m-results-[…]``)."""

    integers: tuple[int, ...]
    results: tuple[str, ...]


Reference = Callable[[Sequence[bytes]], list[Expected]]
"""From inputs as they go over the wire to what the device must answer to each. Raises `BenchError`."""


def load_reference(model_dir: Path, manifest: Manifest) -> Reference:
    """The reference of the model compiled into ``model_dir``. Raises `BenchError` where its graph cannot be read."""
    path = model_dir / GRAPH
    try:
        graph = load(path)
    except (OSError, GraphError) as error:
        raise BenchError(f"{path}: the exact reference cannot be read ({error}); compile the model again") from error
    return reference_of(graph, manifest)


def reference_of(graph: Graph, manifest: Manifest) -> Reference:
    """The reference that ``graph`` is for a device compiled from it."""
    dtype = wire_type(manifest)

    def reference(inputs: Sequence[bytes]) -> list[Expected]:
        x = np.stack([np.frombuffer(data, dtype).reshape(graph.input.shape) for data in inputs])
        try:
            y = graph.run(manifest.input.quantizer(x) if manifest.input_encoding.reals else x.astype(np.int64))
        except GraphError as error:
            raise BenchError(f"{error}; the samples belong to another model") from error
        outputs = y.reshape(len(y), -1)
        return [
            Expected(tuple(map(int, q)), tuple(results(manifest, one, q))) for one, q in zip(x, outputs, strict=True)
        ]

    return reference
