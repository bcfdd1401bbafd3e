"""The nodes of a compiled model as a table: what each is made of, what it costs, and what synthesis made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from accel.dataflow.budget import RESOURCES, Cost
from accel.manifest import FILE_NAME, LayerEntry, Manifest, NodeEntry
from toolchain.yosys import Resources

TOP = "headrace"
CORE = f"{TOP}.core"


def compiled(path: str) -> Path | None:
    """The folder of a compiled model, when ``path`` is one; else it names a model."""
    return Path(path) if (Path(path) / FILE_NAME).is_file() else None


def show(found: Table) -> None:
    """Print a table, in lines as long as they are."""
    Console(soft_wrap=True, highlight=False, width=240).print(found)


def module(node: NodeEntry) -> str:
    """The Verilog module of a node."""
    return f"{CORE}.{node.node}"


def table(manifest: Manifest) -> Table:
    """A row a node and one for the FIFOs of all links, and their sum; how full the block RAM of weights is (packed)."""
    found = Table("node", "what", "PE × SIMD", "lanes", "steps", "cycles", box=None)
    for name in ("LUT", "FF", "BRAM36", "DSP", "packed", "FIFO"):
        found.add_column(name, justify="right")
    for node in manifest.pipeline:
        depths = [
            link.depth for link in sorted(manifest.links, key=lambda link: link.port) if link.consumer == node.node
        ]
        steps = "" if node.steps is None else f"{node.steps:,}"
        row = [node.node, what(node), size(node), f"{node.lanes or ''}", steps, f"{node.cycles:,}", *resources(node)]
        row.append("" if node.packing is None else f"{100 * node.packing:.0f} %")
        found.add_row(*row, " ".join(map(str, depths)) if any(depths) else "")
    fifos = [link for link in manifest.links if link.depth]
    if fifos:
        beats = f"{sum(link.depth for link in fifos):,}"
        total = Resources(sum(k.lut for k in fifos), sum(k.ff for k in fifos), sum(k.bram36 for k in fifos), 0, 0, 0, 0)
        found.add_row(f"{len(fifos)} FIFOs", "", "", "", "", "", *resources(total), "", beats)
    found.add_row("around them", "registers and DMA", "", "", "", "", *resources(around(manifest)))
    packed = packing(manifest)
    share = "" if packed is None else f"{100 * packed:.0f} %"
    found.add_row("all", "", "", "", "", f"{manifest.estimate.cycles:,}", *resources(manifest.estimate), share)
    return found


def packing(manifest: Manifest) -> float | None:
    """The part that weights fill of all block RAM that is there for weights, in bits; None without any."""
    used = {
        node: sum(layer.inputs * layer.outputs * layer.weight_bits for layer in node.layers)
        for node in manifest.pipeline
        if node.packing
    }
    taken = sum(bits / (node.packing or 1) for node, bits in used.items())
    return sum(used.values()) / taken if taken else None


def beside(manifest: Manifest, modules: Mapping[str, Resources], total: Resources) -> Table:
    """What synthesis made of each node, and in brackets what was estimated."""
    found = Table("node", "what", box=None)
    for name in ("LUT", "(est.)", "FF", "(est.)", "BRAM36", "(est.)", "DSP", "(est.)"):
        found.add_column(name, justify="right")
    nothing = Resources(0, 0, 0, 0, 0, 0, 0)
    for node in manifest.pipeline:
        # a node without a module of its own is nothing but wires, or was found to have no effect
        found.add_row(node.node, what(node), *pairs(modules.get(module(node), nothing), node))
    fifos = Resources(
        sum(k.lut for k in manifest.links),
        sum(k.ff for k in manifest.links),
        sum(k.bram36 for k in manifest.links),
        0,
        0,
        0,
        0,
    )
    found.add_row("between nodes", "FIFOs and forks", *pairs(modules.get(CORE, nothing), fifos))
    found.add_row("around them", "registers and DMA", *pairs(modules.get(TOP, nothing), around(manifest)))
    found.add_row("all", "", *pairs(total, manifest.estimate))
    return found


def around(manifest: Manifest) -> Cost:
    """The estimate of what is neither a node nor a link."""
    inner = [*manifest.pipeline, *manifest.links]
    rest = {r: getattr(manifest.estimate, r) - sum(getattr(each, r, 0) for each in inner) for r in RESOURCES}
    return Cost(**{resource: max(amount, 0) for resource, amount in rest.items()})


def what(node: NodeEntry) -> str:
    """The layers of a node in a few words, or its kind."""
    words = ", ".join(layer_words(layer) for layer in node.layers) or node.kind
    if len(node.shape) == 3:
        height, width, _ = node.shape
        words += f" on {height}×{width}"
    return words


def layer_words(layer: LayerEntry) -> str:
    """3×3 8→16; of a dense layer 64→10."""
    kernel = "×".join(map(str, layer.kernel))
    taps = 1
    for k in layer.kernel:
        taps *= k
    return f"{kernel} {layer.inputs // taps}→{layer.outputs}".strip()


def size(node: NodeEntry) -> str:
    """PE, SIMD and taps of a node that multiplies."""
    parts = [node.pe, node.simd, node.taps if (node.taps or 1) > 1 else None]
    return " × ".join(str(part) for part in parts if part is not None)


def resources(found: object) -> list[str]:
    """Resources, as cells."""
    return [f"{getattr(found, name):,g}" for name in ("lut", "ff", "bram36", "dsp")]


def pairs(real: object, estimate: object) -> list[str]:
    """Resources counted and estimated, side by side."""
    both = zip(resources(real), resources(estimate), strict=True)
    return [cell for found, expected in both for cell in (found, f"({expected})")]
