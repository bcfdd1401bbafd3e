"""The pipeline as SVG: memory, streams, nodes with their arrays drawn as grids, memory."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from accel.manifest import LayerEntry, Manifest, NodeEntry

WIDE, NARROW = 760, 340
LINE = 18  # pixels a line of text
ARROW = 46
GRID = 96  # the largest side of an array's grid
END = 44  # height of the two memory boxes


def pipeline_svg(manifest: Manifest, streams: Sequence[Sequence[int]], *, width: int) -> str:
    """The pipeline from top to bottom, ``width`` pixels wide (below 500: layers under the grid instead of beside it).

    ``streams``: starved and blocked cycles of each stream, or nothing. Colours are those of the page's style sheet.
    """
    parts: list[str] = []
    y = 1
    x_in, x_out = manifest.input, manifest.output
    labels = [lanes(x_in.lanes, x_in.type.width)] + [""] * (len(manifest.pipeline) - 1)
    labels.append(lanes(x_out.lanes, x_out.type.width))
    y += end(parts, y, width, f"memory: {x_in.bytes:,} bytes, read by DMA", f"{shape(x_in.shape)} input, {x_in.type}")
    for i, node in enumerate(manifest.pipeline):
        y += arrow(parts, y, width, labels[i], streams[i] if i < len(streams) else ())
        y += draw_node(parts, y, width, node)
    last = len(manifest.pipeline)
    y += arrow(parts, y, width, labels[last], streams[last] if last < len(streams) else ())
    y += end(
        parts, y, width, f"memory: {x_out.bytes:,} bytes, written by DMA", f"{shape(x_out.shape)} output, {x_out.type}"
    )
    nodes = ", ".join(node.node for node in manifest.pipeline)
    return (
        f'<svg viewBox="0 0 {width} {y + 1}" width="{width}" height="{y + 1}" role="img" '
        f'aria-label="Pipeline: memory, {escape(nodes)}, memory">{"".join(parts)}</svg>'
    )


def end(parts: list[str], y: int, width: int, title: str, what: str) -> int:
    """A memory box; returns its height."""
    parts.append(f'<rect class="end" x="1" y="{y}" width="{width - 2}" height="{END}" rx="8"/>')
    parts.append(text(14, y + 18, title, "small"))
    parts.append(text(14, y + 35, what))
    return END


def arrow(parts: list[str], y: int, width: int, label: str, stalls: Sequence[int]) -> int:
    """A stream, with lanes and stall counters beside it; returns its height."""
    x = GRID // 2 + 14
    parts.append(f'<path class="stream" d="M{x} {y + 3}V{y + ARROW - 9}"/>')
    parts.append(f'<path class="head" d="M{x - 6} {y + ARROW - 11}h12l-6 9z"/>')
    words = [label] if label else []
    if len(stalls) == 2:
        words.append(f"starved {stalls[0]:,}, blocked {stalls[1]:,} cycles")
    words = words if width < 500 else [" · ".join(words)]
    for i, line in enumerate(words):
        parts.append(text(x + 16, y + ARROW // 2 + 4 + LINE * i - LINE // 2 * (len(words) - 1), line, "small"))
    return ARROW


def draw_node(parts: list[str], y: int, width: int, node: NodeEntry) -> int:
    """A node's box: name, what it is made of, its layers; returns its height."""
    narrow = width < 500
    rows, columns = node.pe or 0, node.simd or 0
    side_w, side_h = grid_size(rows, columns)
    facts = node_facts(node)
    facts = facts if narrow or len(facts) == 1 else [facts[0], "; ".join(facts[1:])]
    header = 26 + LINE * len(facts)
    layers = [layer_text(layer, narrow) for layer in node.layers]
    lines = [line for layer in layers for line in layer]
    body = side_h + (0 if not side_h else 12)
    listed = LINE * len(lines)
    height = header + (body + listed if narrow else max(body, listed)) + 14
    parts.append(f'<rect class="node" x="1" y="{y}" width="{width - 2}" height="{height}" rx="8"/>')
    parts.append(text(14, y + 22, node.node, "name"))
    parts.append(text(width - 14, y + 22, f"{node.cycles:,} cycles", "right"))
    for i, fact in enumerate(facts):
        parts.append(text(14, y + 42 + LINE * i, fact, "small"))
    top = y + header + 6
    if side_h:
        parts.append(grid(14, top, rows, columns))
    left, first = (14, top + body + 4) if narrow else (14 + max(side_w, GRID // 2) + 20, top + 8)
    for i, line in enumerate(lines):
        parts.append(text(left, first + 4 + LINE * i, line, "layer" if not line.startswith(" ") else "small"))
    return height


def node_facts(node: NodeEntry) -> list[str]:
    """What a node is made of, in pieces that fit a narrow line."""
    if node.kind != "array":
        return ["a function of each element, by table" if node.kind == "table" else "the index of the largest element"]
    shared = f"shared by {len(node.layers)} layers in turn" if len(node.layers) > 1 else "one layer"
    multipliers = f"{(node.pe or 0) * (node.simd or 0):,} multipliers in {(node.multiplier or '').upper()}"
    weights = f"weights in {(node.memory or '').upper()}, {node.drain} results a cycle"
    return [f"{node.pe} PE × {node.simd} SIMD = {multipliers}", shared, weights]


def layer_text(layer: LayerEntry, narrow: bool) -> list[str]:
    """A layer on one line or, where there is no room, on two."""
    what = f"{layer.name}: {layer.inputs:,} → {layer.outputs:,}"
    how = f"w{layer.weight_bits} a{layer.input_bits}, {layer.activation or 'accumulators out'}, {layer.steps:,} steps"
    return [what, f"    {how}"] if narrow else [f"{what}, {how}"]


def grid_size(rows: int, columns: int) -> tuple[int, int]:
    """Pixels of an array's grid: cells are square where they can be, and never thinner than a pixel."""
    if not rows or not columns:
        return 0, 0
    cell = max(2, min(10, GRID // max(rows, columns)))
    return min(columns * cell, 2 * GRID), min(rows * cell, 2 * GRID)


def grid(x: int, y: int, rows: int, columns: int) -> str:
    """An array as ``rows`` (PE) by ``columns`` (SIMD) cells."""
    width, height = grid_size(rows, columns)
    lines = "".join(f"M{x + width * c / columns:.1f} {y}v{height}" for c in range(1, columns))
    lines += "".join(f"M{x} {y + height * r / rows:.1f}h{width}" for r in range(1, rows))
    return f'<rect class="cells" x="{x}" y="{y}" width="{width}" height="{height}"/><path class="gaps" d="{lines}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={kind!r}" if kind else ""}>{escape(words)}</text>'


def lanes(count: int, width: int) -> str:
    """What runs on a stream: 4 lanes × 8 bits."""
    return f"{count} lane{'s' * (count > 1)} × {width} bit{'s' * (width > 1)}"


def shape(dimensions: Sequence[int]) -> str:
    return " × ".join(f"{n:,}" for n in dimensions)
