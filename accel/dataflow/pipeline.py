"""The Pipeline: hardware nodes in a row, joined by streams."""

from __future__ import annotations

from dataclasses import dataclass

from accel.graph import ArgMax, Dense, Graph, GraphError, IntType, Requantize, Table, Threshold

Activation = Threshold | Requantize


@dataclass(frozen=True)
class Stream:
    """What runs between two nodes: frames of ``elements`` values of ``type``, ``lanes`` a beat, raster order.

    A frame has ``ceil(elements / lanes)`` beats; the surplus lanes of its last beat hold anything.
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
    accumulators into outputs, so many a cycle. ``multiplier`` is ``"dsp"`` or ``"lut"``, ``memory`` (of the weights)
    ``"bram"`` or ``"lut"``.
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
class TableNode:
    """A table (or threshold) applied to each element as it passes; channels repeat along the frame."""

    name: str
    function: Table | Threshold
    source: Stream
    sink: Stream


@dataclass(frozen=True)
class ArgMaxNode:
    """Index of the largest element of a frame."""

    name: str
    argmax: ArgMax
    source: Stream
    sink: Stream


Node = ArrayNode | TableNode | ArgMaxNode


@dataclass(frozen=True)
class Pipeline:
    """Nodes in order; each node's sink is the next one's source. ``graph`` is what the pipeline computes, exactly."""

    graph: Graph
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise GraphError(f"graph {self.graph.name}: a pipeline needs at least one node")
        for before, after in zip(self.nodes, self.nodes[1:], strict=False):
            if before.sink != after.source:
                raise GraphError(f"{after.name}: takes {after.source}, but {before.name} gives {before.sink}")

    @property
    def source(self) -> Stream:
        return self.nodes[0].source

    @property
    def sink(self) -> Stream:
        return self.nodes[-1].sink
