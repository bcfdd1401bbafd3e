"""Parts: the operators of a lowered graph, grouped into what one hardware node computes each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from accel.dataflow.pipeline import Activation, Image, Layer
from accel.graph import (
    Add,
    ArgMax,
    Concat,
    Conv,
    Dense,
    Graph,
    GraphError,
    MaxPool,
    Operator,
    Pad,
    Requantize,
    SumPool,
    Table,
    Tensor,
    Threshold,
    TopK,
    Upsample,
)


@dataclass(frozen=True)
class Part:
    """One node to be: an operator with the activation behind it, or a chain of dense ``layers``.

    ``sources`` are the indices of the parts that it takes from, -1 for the graph's input; ``inputs`` are the tensors.
    """

    operator: Operator
    activation: Activation | None
    layers: tuple[Layer, ...]
    sources: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def name(self) -> str:
        """The operator's name, of a chain the first one's."""
        return self.operator.name

    @property
    def kind(self) -> str:
        """The operator's type."""
        return type(self.operator).__name__

    @property
    def image(self) -> Image:
        """The (first) input as an image; a vector is one pixel."""
        return image_of(self.inputs[0])

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return self.output.shape[-1]


def image_of(tensor: Tensor) -> Image:
    """Height, width and channels of a tensor; a vector is one pixel, a sequence one row."""
    *pixels, channels = tensor.shape
    height, width = (1, 1, *pixels)[-2:]
    return Image(height, width, channels)


WITH_ACTIVATION = Conv | MaxPool | SumPool | Add
ALONE = Concat | Pad | Upsample | Table | Threshold | Requantize | ArgMax | TopK


def parts(graph: Graph) -> list[Part]:
    """The parts of a lowered graph in topological order; the last one gives the graph's output.

    A Threshold or Requantize joins the operator before it, and a Dense the chain before it, where nobody else takes
    what runs between the two. Raises GraphError for operators that no hardware node computes, and for outputs that
    nobody takes.
    """
    takers = Counter(name for op in graph.operators for name in op.inputs)
    takers[graph.output] += 1
    following = {name: op for op in graph.operators for name in op.inputs if takers[name] == 1}
    found: list[Part] = []
    maker: dict[str, int] = {graph.input.name: -1}
    done: set[str] = set()

    def activation_after(output: str) -> tuple[Activation | None, str]:
        behind = following.get(output)
        if isinstance(behind, Threshold | Requantize):
            done.add(behind.output)
            return behind, behind.output
        return None, output

    for op in graph.operators:
        if op.output in done:
            continue
        activation: Activation | None = None
        layers: list[Layer] = []
        output = op.output
        if isinstance(op, Dense):
            behind: Operator | None = op
            while isinstance(behind, Dense):
                done.add(behind.output)
                activation, output = activation_after(behind.output)
                layers.append(Layer(behind, activation))
                behind = following.get(output)
            activation = None
        elif isinstance(op, WITH_ACTIVATION):
            activation, output = activation_after(op.output)
        elif not isinstance(op, ALONE):
            raise GraphError(f"{op.name}: no hardware node computes {type(op).__name__} here; lower the graph first")
        if not takers[output]:
            raise GraphError(f"{op.name}: nobody takes its output {output}; remove what has no effect")
        maker[output] = len(found)
        found.append(
            Part(
                op,
                activation,
                tuple(layers),
                tuple(maker[name] for name in op.inputs),
                tuple(graph.tensors[name] for name in op.inputs),
                graph.tensors[output],
            )
        )
    if not found:
        raise GraphError(f"graph {graph.name}: has no operators")
    last = maker[graph.output]
    if last != len(found) - 1:
        raise GraphError(f"graph {graph.name}: its output {graph.output} is not the end, {found[-1].output.name}")
    return found
