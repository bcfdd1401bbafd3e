"""The compiler: from a model file to the folder of a compiled model (docs/contracts.md, "The compiled model")."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accel.dataflow.budget import Budget
from accel.dataflow.build import Built, build
from accel.dataflow.candidates import Pins
from accel.dataflow.folding import kind_of
from accel.dataflow.pipeline import ArrayNode, Layer, Node, Pipeline
from accel.dataflow.timing import pipeline_cycles
from accel.frontends import Encoding, load
from accel.graph import Graph, IntType
from accel.graph.store import save
from accel.manifest import (
    WIRES,
    BudgetEntry,
    Estimate,
    Input,
    InputEncoding,
    LayerEntry,
    Manifest,
    Memory,
    NodeEntry,
    Output,
    input_bytes,
)
from accel.passes import lower
from accel.rtl.core import Core
from accel.rtl.face import Face
from accel.rtl.images import ArrayPlan, images
from accel.rtl.verilog import to_verilog

VERSIONS = ("amaranth", "pyosys", "ortools")
TOP = "headrace"


def compile_model(
    model: Path | Graph,
    out_dir: Path,
    *,
    budget: Budget,
    memory: Memory,
    name: str | None = None,
    task: str = "",
    encoding: Encoding | None = None,
    pins: Pins | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Compile a model file, or a graph already read, into ``out_dir``, which is replaced as a whole or left as it was.

    ``memory`` is the window of the accelerator's DMA; ``encoding`` says what the integers on the wire mean (None: they
    are those of the model's first quantizer); ``task`` names the benchmark (empty: none); ``progress`` gets a line
    before each step. Raises FrontendError, GraphError (FoldingError among them) or ManifestError.
    """
    start = time.monotonic()
    if isinstance(model, Graph):
        graph = model
    else:
        progress(f"reading {model.name}")
        graph = load(model, name=name, encoding=encoding)
    progress("lowering activations to thresholds, multipliers and tables")
    graph = lower(graph)
    progress(f"folding {len(graph.operators)} operators into {budget.name}")
    built = build(graph, budget=budget, pins=pins)
    progress("writing Verilog")
    digest = hash_of(built.pipeline, memory)
    verilog = to_verilog(accelerator(built.pipeline, hash_value=int(digest, 16), memory=memory), TOP)
    manifest = describe(built, name=graph.name, task=task, digest=digest, encoding=encoding, memory=memory)
    manifest = replace(manifest, budget=replace(budget_entry(budget), binding=built.binding))

    out_dir.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        (fresh / "accelerator.v").write_text(verilog)
        write_images(built.pipeline, fresh / "memory")
        save(graph, fresh / "graph.npz")
        manifest = replace(manifest, seconds={"compile": round(time.monotonic() - start, 2)})
        manifest.save(fresh)
        fresh.chmod(0o755)
        put_in_place(fresh, out_dir)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return manifest


def put_in_place(fresh: Path, folder: Path) -> None:
    """Move ``fresh`` to ``folder``, whose old contents are removed only after that."""
    old = fresh.with_name(f"{fresh.name}.old")
    if folder.exists():
        folder.replace(old)
    try:
        fresh.replace(folder)
    except BaseException:
        if old.exists():
            old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def accelerator(pipeline: Pipeline, *, hash_value: int, memory: Memory) -> Face:
    """The gateware of a pipeline with registers and DMA around it."""
    return Face(
        Core(pipeline),
        source=pipeline.source,
        sink=pipeline.sink,
        hash_value=hash_value,
        memory_base=memory.base,
        memory_size=memory.size,
    )


def hash_of(pipeline: Pipeline, memory: Memory) -> str:
    """8 hexadecimal digits of sha256 over what is computed, how it is folded, and what wrote the Verilog."""
    sha = hashlib.sha256(pipeline.graph.digest().encode())
    for node in pipeline.nodes:
        sha.update(f"{kind_of(node)} {node.source} {node.sink}".encode())
        if isinstance(node, ArrayNode):
            names = [layer.dense.name for layer in node.layers]
            sha.update(f"{names} {node.pe} {node.simd} {node.drain} {node.multiplier} {node.memory}".encode())
    sha.update(f"{memory} {versions()}".encode())
    return sha.hexdigest()[:8]


def versions() -> dict[str, str]:
    """The packages that what is written depends on."""
    return {name: importlib.metadata.version(name) for name in VERSIONS}


def describe(built: Built, *, name: str, task: str, digest: str, encoding: Encoding | None, memory: Memory) -> Manifest:
    """The manifest of a pipeline."""
    pipeline, total = built.pipeline, built.total
    graph = pipeline.graph
    output = graph.tensors[graph.output]
    return Manifest(
        name=name,
        task=task,
        hash=digest,
        input=Input(
            shape=graph.input.shape,
            elements=graph.input.size,
            bytes=graph.input.size * input_bytes(graph.input.type),
            lanes=pipeline.source.lanes,
            type=graph.input.type,
        ),
        output=Output(
            shape=output.shape,
            elements=output.size,
            bytes=output.size * 4,
            lanes=pipeline.sink.lanes,
            type=output.type,
            scale=tuple(float(s) for s in graph.output_affine.scale),
            offset=tuple(float(o) for o in graph.output_affine.offset),
        ),
        head=graph.head,
        input_encoding=wire_encoding(graph, encoding),
        pipeline=tuple(node_entry(node, cost) for node, cost in zip(pipeline.nodes, built.costs, strict=True)),
        estimate=Estimate(pipeline_cycles(pipeline), total.lut, total.ff, total.bram36, total.dsp),
        budget=BudgetEntry("", 0, 0, 0.0, 0),
        memory=memory,
        versions=versions(),
    )


def budget_entry(budget: Budget) -> BudgetEntry:
    """A budget as the manifest shows it."""
    return BudgetEntry(budget.name, budget.lut, budget.ff, float(budget.bram36), budget.dsp)


def wire_encoding(graph: Graph, encoding: Encoding | None) -> InputEncoding:
    """What the bytes of a sample mean: as ``encoding`` says, else as the graph's input does (the smallest wire)."""
    if encoding is not None:
        return InputEncoding(wire_name(encoding.type), float(encoding.scale), float(encoding.offset))
    affine = graph.input.affine
    scale, offset = (affine.scale[0], affine.offset[0]) if affine else (1.0, 0.0)
    return InputEncoding(wire_name(graph.input.type), float(scale), float(offset))


def wire_name(kind: IntType) -> str:
    """The first (smallest) wire type that holds ``kind``."""
    return next(name for name, wire in WIRES.items() if wire.contains(kind))


def node_entry(node: Node, cost: object) -> NodeEntry:
    """A node as the manifest shows it."""
    common = {key: getattr(cost, key) for key in ("cycles", "lut", "ff", "bram36", "dsp")}
    if not isinstance(node, ArrayNode):
        return NodeEntry(node.name, kind_of(node), **common)
    inputs = ArrayPlan(node).inputs
    return NodeEntry(
        node.name,
        kind_of(node),
        **common,
        pe=node.pe,
        simd=node.simd,
        drain=node.drain,
        multiplier=node.multiplier,
        memory=node.memory,
        layers=tuple(layer_entry(node, layer, code.width) for layer, code in zip(node.layers, inputs, strict=True)),
    )


def layer_entry(node: ArrayNode, layer: Layer, input_bits: int) -> LayerEntry:
    """A layer as the manifest shows it."""
    tiles, rows = node.tiles(layer)
    return LayerEntry(
        name=layer.dense.name,
        inputs=layer.inputs,
        outputs=layer.outputs,
        weight_bits=layer.dense.weight_type.width,
        input_bits=input_bits,
        activation=type(layer.activation).__name__.lower() if layer.activation else None,
        macs=layer.inputs * layer.outputs,
        steps=tiles * rows,
    )


def write_images(pipeline: Pipeline, folder: Path) -> None:
    """The memories of all arrays as text, for a reader: one word a line in hexadecimal."""
    folder.mkdir()
    for node in pipeline.nodes:
        if isinstance(node, ArrayNode):
            for name, words in images(node).items():
                digits = -(-max(words).bit_length() // 4)
                (folder / f"{node.name}.{name}.hex").write_text("".join(f"{word:0{digits}x}\n" for word in words))
