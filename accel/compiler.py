"""The compiler: from a model file to the folder of a compiled model (docs/contracts.md, "The compiled model")."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from accel import rtl
from accel.dataflow import store
from accel.dataflow.budget import Budget, Cost
from accel.dataflow.build import Built, build
from accel.dataflow.candidates import Pins
from accel.dataflow.cost import rom_cost
from accel.dataflow.node_cost import face_cost
from accel.dataflow.pins import FILE_NAME as FOLDING_FILE
from accel.dataflow.pins import Pinned, write
from accel.dataflow.pipeline import ArrayNode, ConvNode, DepthwiseNode, Layer, Link, Node, Pipeline, PoolNode
from accel.frontends import Encoding, load, reads_reals
from accel.graph import Affine, Graph, IntType, Quantizer
from accel.graph.store import save
from accel.manifest import (
    FLOAT32,
    WIRES,
    BudgetEntry,
    Estimate,
    Input,
    InputEncoding,
    LayerEntry,
    LinkEntry,
    Manifest,
    ManifestError,
    Memory,
    NodeEntry,
    Output,
    input_bytes,
    output_bytes,
)
from accel.passes import lower
from accel.rtl.core import Core, memories
from accel.rtl.face import Face
from accel.rtl.images import ArrayPlan, ConvPlan
from accel.rtl.verilog import to_verilog

VERSIONS = ("amaranth", "pyosys", "ortools")
TOP = "headrace"
BLOCK_RAM_BITS = 36 * 1024


def compile_model(
    model: Path | Graph,
    out_dir: Path,
    *,
    budget: Budget,
    memory: Memory,
    name: str | None = None,
    task: str = "",
    encoding: Encoding | None = None,
    reals: bool | None = None,
    head: str | None = None,
    pins: Pins | Pinned | None = None,
    objective: str = "latency",
    rate: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Compile a model file, or a graph already read, into ``out_dir``, which is replaced as a whole or left as it was.

    ``memory`` is the window of the accelerator's DMA; ``encoding`` says what the integers on the wire mean (None: they
    are those of the model's first quantizer); ``reals`` says that the wire carries float32 numbers, which the device
    quantizes as TFLite does (None: where the file's input is float32 and there is no encoding); ``head`` makes results
    of the output instead of the file's end (`accel.frontends.load`); ``task`` names the benchmark (empty: none);
    ``pins``, ``objective`` and ``rate`` are for folding (`accel.dataflow.build.build`); ``progress`` gets a line before
    each step. Raises FrontendError, GraphError (FoldingError and DeadlockError among them) or ManifestError.
    """
    start = time.monotonic()
    if reals and encoding is not None:
        raise ManifestError("the wire carries integers of an encoding or float32 numbers, not both")
    if isinstance(model, Graph):
        graph = model if head is None else replace(model, head=head)
    else:
        progress(f"reading {model.name}")
        graph = load(model, name=name, encoding=encoding, head=head)
        if reals is None:
            reals = encoding is None and reads_reals(model)
    if reals:
        _ = Quantizer.of(graph.input.affine, graph.input.type)
    progress("lowering activations to thresholds, multipliers and tables")
    graph = lower(graph)
    progress(f"folding {len(graph.operators)} operators into {budget.name}")
    built = build(graph, budget=budget, objective=objective, rate=rate, pins=pins, around=face_cost)
    progress("writing Verilog")
    digest = hash_of(built.pipeline, memory)
    verilog = to_verilog(accelerator(built.pipeline, hash_value=int(digest, 16), memory=memory), TOP)
    wire = InputEncoding(FLOAT32) if reals else wire_encoding(graph, encoding)
    manifest = describe(built, name=graph.name, task=task, digest=digest, wire=wire, memory=memory)
    manifest = replace(manifest, budget=replace(budget_entry(budget), binding=built.binding))

    out_dir.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        (fresh / "accelerator.v").write_text(verilog)
        write_images(built.pipeline, fresh / "memory")
        save(built.pipeline.graph, fresh / "graph.npz")
        store.save(built.pipeline, fresh / store.FILE_NAME)
        (fresh / FOLDING_FILE).write_text(write(built.pipeline))
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
    """8 hexadecimal digits of sha256 over what is computed, on which hardware, and all that wrote the Verilog."""
    parts = [store.to_data(pipeline), [memory.base, memory.size], versions(), gateware_digest()]
    text = pipeline.graph.digest() + json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def gateware_digest() -> str:
    """Sha256 over the sources of our own gateware: another gateware is another accelerator, and has another hash."""
    sha = hashlib.sha256()
    for path in sorted(Path(rtl.__file__).parent.glob("*.py")):
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def versions() -> dict[str, str]:
    """The packages that what is written depends on."""
    return {name: importlib.metadata.version(name) for name in VERSIONS}


def describe(built: Built, *, name: str, task: str, digest: str, wire: InputEncoding, memory: Memory) -> Manifest:
    """The manifest of a pipeline."""
    pipeline = built.pipeline
    total = built.total + face_cost(len(pipeline.links))
    graph = pipeline.graph
    meaning = graph.input.affine or Affine()
    output = graph.tensors[graph.output]
    fifos = built.fifos or tuple(Cost() for _ in pipeline.links)
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
            scale=tuple(float(s) for s in meaning.scale),
            offset=tuple(float(o) for o in meaning.offset),
        ),
        output=Output(
            shape=output.shape,
            elements=output.size,
            bytes=output.size * output_bytes(output.type),
            lanes=pipeline.sink.lanes,
            type=output.type,
            scale=tuple(float(s) for s in graph.output_affine.scale),
            offset=tuple(float(o) for o in graph.output_affine.offset),
        ),
        head=graph.head,
        input_encoding=wire,
        pipeline=tuple(node_entry(node, cost) for node, cost in zip(pipeline.nodes, built.costs, strict=True)),
        links=tuple(link_entry(pipeline, *both) for both in zip(pipeline.links, fifos, strict=True)),
        estimate=Estimate(built.latency, total.lut, total.ff, total.bram36, total.dsp, built.interval),
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


def link_entry(pipeline: Pipeline, link: Link, cost: Cost) -> LinkEntry:
    """A link as the manifest shows it."""
    stream = pipeline.stream(link)
    return LinkEntry(
        link.producer,
        link.consumer,
        link.port,
        stream.lanes,
        stream.type.width,
        link.depth,
        cost.lut,
        cost.ff,
        cost.bram36,
    )


def node_entry(node: Node, cost: Cost) -> NodeEntry:
    """A node as the manifest shows it: its estimates, and those of its own fields that the manifest has."""
    common = {key: getattr(cost, key) for key in ("cycles", "lut", "ff", "bram36", "dsp")}
    shown = ("pe", "simd", "drain", "multiplier", "memory", "steps", "taps", "capacity", "buffer")
    own = {key: getattr(node, key) for key in shown if hasattr(node, key)}
    return NodeEntry(
        node.name,
        store.kind_of(node),
        **common,
        **own,
        lanes=node.sink.lanes,
        shape=shape_of(node),
        packing=packing_of(node),
        layers=layer_entries(node),
    )


def shape_of(node: Node) -> tuple[int, ...]:
    """Height, width and channels of the images that leave a node, or the elements of its vectors."""
    if isinstance(node, ConvNode | DepthwiseNode | PoolNode):
        rows, columns = node.window.output(node.image.height, node.image.width)
        return rows, columns, node.sink.elements // (rows * columns)
    return (node.sink.elements,)


def layer_entries(node: Node) -> tuple[LayerEntry, ...]:
    """The layers of an array, or the convolution, as the manifest shows them."""
    if isinstance(node, ArrayNode):
        codes = ArrayPlan(node).inputs
        return tuple(layer_entry(node, layer, code.width) for layer, code in zip(node.layers, codes, strict=True))
    if not isinstance(node, ConvNode | DepthwiseNode):
        return ()
    conv = node.conv
    outputs, *rest = conv.weights.shape
    inputs = math.prod(rest)
    rows, columns = node.window.output(node.image.height, node.image.width)
    return (
        LayerEntry(
            name=conv.name,
            inputs=inputs,
            outputs=outputs,
            weight_bits=conv.weight_type.width,
            input_bits=conv.reads(node.source.type).width,
            activation=type(node.activation).__name__.lower() if node.activation else None,
            macs=rows * columns * outputs * inputs,
            steps=node.steps,
            kernel=node.window.kernel,
        ),
    )


def layer_entry(node: ArrayNode, layer: Layer, input_bits: int) -> LayerEntry:
    """A dense layer as the manifest shows it."""
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


def packing_of(node: Node) -> float | None:
    """How much of the block RAM of its weights a node uses: bits of weights over bits of blocks. None without any."""
    if not isinstance(node, ArrayNode | ConvNode | DepthwiseNode) or node.memory != "bram":
        return None
    if isinstance(node, ArrayNode):
        used = sum(layer.dense.weights.size * layer.dense.weight_type.width for layer in node.layers)
        depth, fan_in, width = node.steps, node.simd, ArrayPlan(node).weight_type.width
    else:
        used = node.conv.weights.size * node.conv.weight_type.width
        plan = ConvPlan(node)
        depth, fan_in, width = plan.steps, plan.fan_in, plan.weight_type.width
    blocks = rom_cost(node.pe * fan_in * width, depth, "block").bram36
    return round(used / (blocks * BLOCK_RAM_BITS), 4) if depth > 1 else None


def write_images(pipeline: Pipeline, folder: Path) -> None:
    """The read-only memories of all nodes as text, for a reader: one word a line in hexadecimal."""
    folder.mkdir()
    for node in pipeline.nodes:
        for name, words in memories(node).items():
            digits = max(-(-max(words).bit_length() // 4), 1)
            (folder / f"{node.name}.{name}.hex").write_text("".join(f"{word:0{digits}x}\n" for word in words))
