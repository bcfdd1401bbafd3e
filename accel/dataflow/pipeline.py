"""The Pipeline: hardware nodes, joined by streams into a graph without cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from accel.graph import (
    Add,
    ArgMax,
    Concat,
    Conv,
    Dense,
    Graph,
    GraphError,
    IntType,
    MaxPool,
    Pad,
    Requantize,
    SumPool,
    Table,
    Threshold,
    TopK,
    Upsample,
    Window,
)

Activation = Threshold | Requantize


@dataclass(frozen=True)
class Stream:
    """What runs between two nodes: frames of ``elements`` values of ``type``, ``lanes`` a beat, raster order.

    A frame has ``ceil(elements / lanes)`` beats; the surplus lanes of its last beat hold anything. Between nodes that
    know pixels (all but arrays, tables and repacks) ``lanes`` divides the channels, so that no beat has parts of two.
    """

    elements: int
    type: IntType
    lanes: int

    @property
    def beats(self) -> int:
        return -(-self.elements // self.lanes)


@dataclass(frozen=True)
class Layer:
    """One dense layer with the activation after it; ``None`` sends the accumulators out as they are."""

    dense: Dense
    activation: Activation | None

    @property
    def inputs(self) -> int:
        return int(self.dense.weights.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.dense.weights.shape[0])


@dataclass(frozen=True)
class ArrayNode:
    """Dense layers that share one array of ``pe * simd`` multipliers in turn (one layer is the plain case).

    Each step multiplies ``simd`` inputs with the weights of ``pe`` neurons; ``drain`` activation units turn finished
    accumulators into outputs, so many a cycle. ``multiplier`` is ``"dsp"``, ``"dsp18"`` (`accel.dataflow.multipliers`)
    or ``"lut"``, ``memory`` (of the weights) ``"bram"`` or ``"lut"``.
    """

    name: str
    layers: tuple[Layer, ...]
    source: Stream
    sink: Stream
    pe: int
    simd: int
    drain: int
    multiplier: str = "dsp"
    memory: str = "bram"

    def tiles(self, layer: Layer) -> tuple[int, int]:
        """How many input tiles and neuron tiles a layer takes; their product is its steps."""
        return -(-layer.inputs // self.simd), -(-layer.outputs // self.pe)

    @property
    def steps(self) -> int:
        """Cycles in which the multipliers are busy, and the depth of the weight memory."""
        return sum(inputs * neurons for inputs, neurons in map(self.tiles, self.layers))


@dataclass(frozen=True)
class Image:
    """Height, width and channels of what a stream carries, in raster order with channels innermost."""

    height: int
    width: int
    channels: int

    @property
    def elements(self) -> int:
        return self.height * self.width * self.channels


class Sliding:
    """What the nodes of convolutions have in common: a window that moves over an image, and its steps."""

    conv: Conv
    image: Image
    pe: int
    drain: int

    @property
    def window(self) -> Window:
        return self.conv.window

    @property
    def folds(self) -> tuple[int, int]:
        """Tiles, and steps that each takes, for one output pixel."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """Cycles in which the multipliers are busy in a frame."""
        rows, columns = self.window.output(self.image.height, self.image.width)
        tiles, each = self.folds
        return rows * columns * tiles * each

    @property
    def beats(self) -> tuple[int, int]:
        """Beats of the sink that a tile gives, and that the last one of an output pixel gives."""
        rest = len(self.conv.weights) - (self.folds[0] - 1) * self.pe
        return self.pe // self.drain, rest // self.drain


@dataclass(frozen=True)
class ConvNode(Sliding):
    """A convolution (any but depthwise) with its activation: a line buffer and ``pe * simd * taps`` multipliers.

    The line buffer holds the last ``capacity`` pixels, ``taps`` times over, and shows ``taps`` neighbouring elements of
    the kernel, each with ``simd`` channels of one pixel, a step. For each output pixel, for each tile of ``pe``
    neurons, for each group of ``taps`` elements of the kernel in raster order, for each tile of ``simd`` channels of
    the neurons' group: a step. ``simd`` is also the lanes of the source and divides the channels of a group; of
    several groups, ``pe`` divides the neurons of each; ``drain``, the lanes of the sink, divides ``pe`` and the
    neurons. Of a kernel that is no multiple of ``taps`` the last group is filled up with weights of zero, and so is the
    last tile of neurons that are no multiple of ``pe``. ``memory`` (of the weights) and ``buffer`` (of the
    pixels) are "bram" or "lut".
    """

    name: str
    conv: Conv
    activation: Activation | None
    image: Image
    source: Stream
    sink: Stream
    pe: int
    simd: int
    taps: int = 1
    drain: int = 1
    capacity: int = 0
    multiplier: str = "dsp"
    memory: str = "bram"
    buffer: str = "lut"

    @property
    def folds(self) -> tuple[int, int]:
        """Tiles of neurons, and steps that each takes, for one output pixel."""
        outputs, _, _, channels = self.conv.weights.shape
        return -(-outputs // self.pe), -(-self.window.taps // self.taps) * (channels // self.simd)


@dataclass(frozen=True)
class DepthwiseNode(Sliding):
    """A depthwise convolution with its activation: ``pe`` channels at a time, ``taps`` elements of the kernel a step.

    For each output pixel, for each tile of ``pe`` channels, for each group of ``taps`` elements of the kernel: a step.
    ``pe`` is the lanes of the source and divides the channels; ``drain``, the lanes of the sink, divides ``pe``.
    """

    name: str
    conv: Conv
    activation: Activation | None
    image: Image
    source: Stream
    sink: Stream
    pe: int
    taps: int = 1
    drain: int = 1
    capacity: int = 0
    multiplier: str = "dsp"
    memory: str = "bram"
    buffer: str = "lut"

    @property
    def folds(self) -> tuple[int, int]:
        """Tiles of channels, and steps that each takes, for one output pixel."""
        return self.image.channels // self.pe, -(-self.window.taps // self.taps)


@dataclass(frozen=True)
class PoolNode:
    """The largest or the sum of each channel in a window, ``source.lanes`` channels at a time, and an activation.

    Windows that do not overlap (stride at least as large as the kernel, no dilation, no padding) need no line buffer
    (``capacity`` is 0): a row of running results takes each beat as it comes. Others read a line buffer of
    ``capacity`` pixels, one element of the kernel a step. ``sink.lanes`` is ``source.lanes``.
    """

    name: str
    pool: MaxPool | SumPool
    activation: Activation | None
    image: Image
    source: Stream
    sink: Stream
    capacity: int = 0
    buffer: str = "lut"

    @property
    def window(self) -> Window:
        return self.pool.window

    @property
    def overlaps(self) -> bool:
        """Whether a pixel belongs to several windows or the image is padded, so that a line buffer is needed."""
        (kh, kw), (sh, sw) = self.window.kernel, self.window.stride
        return sh < kh or sw < kw or self.window.dilation != (1, 1) or any(self.window.pads)

    @property
    def steps(self) -> int:
        """Cycles that a frame takes."""
        if not self.overlaps:
            return self.source.beats
        rows, columns = self.window.output(self.image.height, self.image.width)
        return rows * columns * self.window.taps * (self.image.channels // self.source.lanes)


@dataclass(frozen=True)
class AddNode:
    """The weighted sum of two streams with its activation, a beat a cycle; all three have the same lanes."""

    name: str
    add: Add
    activation: Activation | None
    channels: int
    first: Stream
    second: Stream
    sink: Stream

    @property
    def sources(self) -> tuple[Stream, ...]:
        return self.first, self.second


@dataclass(frozen=True)
class ConcatNode:
    """Streams side by side along their channels, ``channels[i]`` of each, pixel by pixel; all have the same lanes."""

    name: str
    concat: Concat
    channels: tuple[int, ...]
    sources: tuple[Stream, ...]
    sink: Stream


@dataclass(frozen=True)
class PadNode:
    """A border of constant pixels around the image; lanes stay."""

    name: str
    pad: Pad
    image: Image
    source: Stream
    sink: Stream


@dataclass(frozen=True)
class UpsampleNode:
    """Each pixel repeated along its row, each row repeated; lanes stay. It holds one row."""

    name: str
    upsample: Upsample
    image: Image
    source: Stream
    sink: Stream


@dataclass(frozen=True)
class TableNode:
    """A function applied to each element as it passes; channels repeat along the frame."""

    name: str
    function: Table | Activation
    source: Stream
    sink: Stream


@dataclass(frozen=True)
class ArgMaxNode:
    """Index of the largest element of a frame."""

    name: str
    argmax: ArgMax
    source: Stream
    sink: Stream


@dataclass(frozen=True)
class TopKNode:
    """Indices of the largest elements of a frame, largest first; a lane each way."""

    name: str
    topk: TopK
    source: Stream
    sink: Stream


@dataclass(frozen=True)
class RepackNode:
    """A change of lanes; elements and type stay."""

    name: str
    source: Stream
    sink: Stream


Node = (
    ArrayNode
    | ConvNode
    | DepthwiseNode
    | PoolNode
    | AddNode
    | ConcatNode
    | PadNode
    | UpsampleNode
    | TableNode
    | ArgMaxNode
    | TopKNode
    | RepackNode
)


def sources(node: Node) -> tuple[Stream, ...]:
    """The streams that a node takes, in the order of its inputs."""
    return node.sources if isinstance(node, AddNode | ConcatNode) else (node.source,)


@dataclass(frozen=True)
class Link:
    """From a node (or the pipeline's input, ``""``) to the input ``port`` of a node (or the pipeline's output, ``""``).

    Between the two stand ``depth`` beats of FIFO; with 0 there are only wires. What several links leave from sends each
    beat to all of them (a fork).
    """

    producer: str
    consumer: str
    port: int = 0
    depth: int = 0


@dataclass(frozen=True)
class Pipeline:
    """Nodes in topological order and the links between them. ``graph`` is what the pipeline computes, exactly.

    Without links the nodes are a chain, from the pipeline's input to its output. Raises GraphError where the links are
    none of a pipeline with one input and one output.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        if not self.nodes:
            raise GraphError(f"graph {self.graph.name}: a pipeline needs at least one node")
        if not self.links:
            names = ["", *(node.name for node in self.nodes), ""]
            links = tuple(Link(*pair) for pair in pairwise(names))
            object.__setattr__(self, "links", links)
        self._check()

    def _check(self) -> None:
        nodes = {node.name: node for node in self.nodes}
        if len(nodes) < len(self.nodes) or "" in nodes:
            raise GraphError(f"graph {self.graph.name}: the nodes of a pipeline need names of their own")
        order = {name: i for i, name in enumerate(["", *nodes])}
        taken: set[tuple[str, int]] = set()
        for link in self.links:
            if link.producer not in order or (link.consumer and link.consumer not in nodes) or link.depth < 0:
                raise GraphError(f"graph {self.graph.name}: {link} does not join nodes of this pipeline")
            if (link.consumer, link.port) in taken:
                raise GraphError(f"{link.consumer or 'the output'}: input {link.port} has two links")
            taken.add((link.consumer, link.port))
            if link.consumer and order[link.producer] >= order[link.consumer]:
                raise GraphError(f"{link.consumer}: takes from {link.producer}, which does not come before it")
            given = self.stream(link)
            wanted = given
            if link.consumer and link.port < len(sources(nodes[link.consumer])):
                wanted = sources(nodes[link.consumer])[link.port]
            if given != wanted:
                raise GraphError(f"{link.consumer}: takes {wanted}, but {link.producer or 'the input'} gives {given}")
        expected = {(node.name, port) for node in self.nodes for port in range(len(sources(node)))} | {("", 0)}
        if taken != expected:
            name, port = sorted(taken ^ expected)[0]
            raise GraphError(f"{name or 'the output'}: input {port} has no link, or a link and no input")
        idle = order.keys() - {link.producer for link in self.links}
        if idle:
            raise GraphError(f"{sorted(idle)[0] or 'the input'}: no link takes what it gives")

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of that name."""
        return self._by_name[name]

    def stream(self, link: Link) -> Stream:
        """What runs along a link."""
        return self.node(link.producer).sink if link.producer else self.source

    def inputs(self, name: str) -> tuple[Link, ...]:
        """The links into a node (or, for ``""``, into the output), in the order of its inputs."""
        return tuple(sorted((link for link in self.links if link.consumer == name), key=lambda link: link.port))

    def outputs(self, name: str) -> tuple[Link, ...]:
        """The links that leave a node (or, for ``""``, the input)."""
        return tuple(link for link in self.links if link.producer == name)

    def with_depths(self, depths: dict[Link, int]) -> Pipeline:
        """The same pipeline with other FIFOs: the depth of each link that ``depths`` names."""
        return replace(self, links=tuple(replace(link, depth=depths.get(link, link.depth)) for link in self.links))

    @property
    def source(self) -> Stream:
        first = next(link for link in self.links if not link.producer)
        return sources(self.node(first.consumer))[first.port]

    @property
    def sink(self) -> Stream:
        last = next(link for link in self.links if not link.consumer)
        return self.node(last.producer).sink
