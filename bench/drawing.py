"""The pipeline as SVG: memory, streams, nodes with their arrays drawn as grids, memory."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from accel.manifest import LayerEntry, LinkEntry, Manifest, NodeEntry

WIDE, NARROW = 760, 340
LINE = 18  # pixels a line of text
ARROW = 46
GRID = 96  # the largest side of an array's grid
END = 44  # height of the two memory boxes


def pipeline_svg(manifest: Manifest, streams: Sequence[Sequence[int]], *, width: int) -> str:
    """The pipeline from top to bottom, ``width`` pixels wide (below 500: layers under the grid instead of beside it).

    ``streams``: starved and blocked cycles of each link, or nothing. Colours are those of the page's style sheet.
    """
    parts: list[str] = []
    y = 1
    x_in, x_out = manifest.input, manifest.output
    stalls = {link: tuple(streams[i]) for i, link in enumerate(manifest.links) if i < len(streams)}
    y += end(parts, y, width, f"memory: {x_in.bytes:,} bytes, read by DMA", f"{shape(x_in.shape)} input, {x_in.type}")
    before = ""
    for name in (*(node.node for node in manifest.pipeline), ""):
        links = sorted((link for link in manifest.links if link.consumer == name), key=lambda link: link.port)
        y += arrow(parts, y, width, [link_text(link, before, stalls.get(link, ()), width) for link in links])
        if name:
            y += draw_node(parts, y, width, next(node for node in manifest.pipeline if node.node == name))
        before = name
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


def link_text(link: LinkEntry, before: str, stalls: Sequence[int], width: int) -> list[str]:
    """What runs along a link, in pieces that fit a line: where from, unless that is the node just above."""
    above = [] if link.producer == before else [f"from {link.producer or 'the input'}:"]
    words = [lanes(link.lanes, link.width)]
    if link.depth:
        words.append(f"FIFO of {link.depth:,}")
    counted = [f"starved {stalls[0]:,}", f"blocked {stalls[1]:,} cycles"] if len(stalls) == 2 else []
    if width < 500:
        return above + words + counted
    return [" ".join([*above, " · ".join([*words, *([", ".join(counted)] if counted else [])])])]


def arrow(parts: list[str], y: int, width: int, links: Sequence[Sequence[str]]) -> int:
    """What enters a node, with lanes, FIFO and stall counters beside it; returns its height."""
    x = GRID // 2 + 14
    lines = [line for link in links for line in link]
    height = max(ARROW, LINE * len(lines) + 12)
    parts.append(f'<path class="stream" d="M{x} {y + 3}V{y + height - 9}"/>')
    parts.append(f'<path class="head" d="M{x - 6} {y + height - 11}h12l-6 9z"/>')
    for i, line in enumerate(lines):
        parts.append(text(x + 16, y + height // 2 + 4 + LINE * i - LINE // 2 * (len(lines) - 1), line, "small"))
    return height


def draw_node(parts: list[str], y: int, width: int, node: NodeEntry) -> int:
    """A node's box: name, what it is made of, its layers; returns its height."""
    narrow = width < 500
    rows, columns = node.pe or 0, (node.simd or 1) * (node.taps or 1) if node.pe else 0
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


FACTS = {
    "table": "a function of each element",
    "argmax": "the index of the largest element",
    "topk": "the indices of the largest elements",
    "pool": "windows of each channel, the largest or the sum",
    "add": "the sum of two streams",
    "concat": "streams side by side along their channels",
    "pad": "a border around the image",
    "upsample": "pixels and rows repeated",
    "repack": "other lanes, the same elements",
}


def node_facts(node: NodeEntry) -> list[str]:
    """What a node is made of, in pieces that fit a narrow line."""
    if node.kind in FACTS:
        return [FACTS[node.kind]]
    count = (node.pe or 0) * (node.simd or 1) * (node.taps or 1)
    factors = [f"{node.pe} PE"]
    factors += [f"{node.simd} SIMD"] if node.simd else []
    factors += [f"{node.taps} taps"] if (node.taps or 1) > 1 else []
    multipliers = f"{' × '.join(factors)} = {count:,} multipliers in {(node.multiplier or '').upper()}"
    weights = f"weights in {(node.memory or '').upper()}, {node.drain} results a cycle"
    if node.kind != "array":
        pixels = f"{node.capacity:,} pixels" if node.capacity else "pixels"
        made = multipliers.split(" = ")  # two lines where it is long
        return [*made, f"{pixels} in {(node.buffer or '').upper()}", weights]
    shared = f"shared by {len(node.layers)} layers in turn" if len(node.layers) > 1 else "one layer"
    return [multipliers, shared, weights]


def layer_text(layer: LayerEntry, narrow: bool) -> list[str]:
    """A layer on one line or, where there is no room, on two."""
    kernel = f"{shape(layer.kernel)}, " if layer.kernel else ""
    what = f"{layer.name}: {kernel}{layer.inputs:,} → {layer.outputs:,}"
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
