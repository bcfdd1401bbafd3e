"""What the memories of each node hold: weights step by step, and the activations' constants group by group."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from accel.dataflow.pipeline import ArrayNode, ConvNode, DepthwiseNode
from accel.dataflow.tiles import weight_tiles
from accel.graph import GraphError, IntType, Tensor
from accel.rtl.plan import Code, Neurons, Plan


class ArrayPlan(Plan):
    """Widths, codes and memory contents of an ArrayNode.

    Weights of zero fill up the last tiles, so what their inputs hold is of no account.
    """

    def __init__(self, node: ArrayNode) -> None:
        self.node = node
        neurons = []
        source, code = node.source.type, Code.of(node.source.type)
        for layer in node.layers:
            accumulator = layer.dense.infer(Tensor("", (layer.inputs,), source))
            neurons.append(Neurons(layer.dense.weights, code, layer.activation, accumulator.type))
            code = Code.after(layer.activation, accumulator.type)
            source = (accumulator if layer.activation is None else layer.activation.infer(accumulator)).type
        super().__init__(node.name, neurons, pe=node.pe, fan_in=node.simd, drain=node.drain, multiplier=node.multiplier)
        if source != node.sink.type:
            raise GraphError(f"{node.name}: its last layer gives {source}, but its sink takes {node.sink.type}")

    @property
    def steps(self) -> int:
        return self.node.steps

    @cached_property
    def weight_type(self) -> IntType:
        types = [layer.dense.weight_type for layer in self.node.layers]
        if all(t.is_bipolar for t in types) and all(layer.inputs % self.node.simd == 0 for layer in self.node.layers):
            return IntType.bipolar()
        return IntType(min(0, *(t.lo for t in types)), max(0, *(t.hi for t in types)))

    def weights(self) -> list[int]:
        node, steps = self.node, []
        for layer in node.layers:
            tiles, rows = node.tiles(layer)
            padded = np.zeros((rows * node.pe, tiles * node.simd), dtype=np.int64)
            padded[: layer.outputs, : layer.inputs] = layer.dense.weights
            tiled = padded.reshape(rows, node.pe, tiles, node.simd).transpose(2, 0, 1, 3)
            steps.append(tiled.reshape(-1, node.pe, node.simd))
        return self.words(np.concatenate(steps))


class ConvPlan(Plan):
    """Widths, codes and memory contents of a ConvNode or a DepthwiseNode.

    ``pad`` is the code that elements outside the image are read as, and those with which a kernel is filled up to a
    multiple of ``taps``: these meet weights with which they come to nothing.
    """

    def __init__(self, node: ConvNode | DepthwiseNode) -> None:
        self.node = node
        conv, image = node.conv, node.image
        self.reads = conv.reads(node.source.type)
        code = Code.of(self.reads)
        self.pad = (conv.pad_value - code.base) // code.step if any(conv.window.pads) else 0
        self.filled = bool(conv.window.taps % node.taps)
        accumulator = conv.infer(Tensor("", (image.height, image.width, image.channels), node.source.type))
        bipolar = conv.weight_type.is_bipolar and self.reads.is_bipolar and node.multiplier == "lut"
        weights = conv.weights.reshape(len(conv.weights), -1)
        depthwise = isinstance(node, DepthwiseNode)
        super().__init__(
            node.name,
            [Neurons(weights, code, node.activation, accumulator.type, counts=bipolar)],
            pe=node.pe,
            fan_in=node.taps * (node.simd if isinstance(node, ConvNode) else 1),
            drain=node.drain,
            multiplier=node.multiplier,
            own=depthwise,
        )
        out = (accumulator if node.activation is None else node.activation.infer(accumulator)).type
        lanes, channels = (
            (node.pe, image.channels)
            if isinstance(node, DepthwiseNode)
            else (node.simd, weights.shape[1] // conv.window.taps)
        )
        for wrong, text in (
            (out != node.sink.type, f"gives {out}, but its sink takes {node.sink.type}"),
            (
                lanes != node.source.lanes,
                f"takes {lanes} elements at once, but its source has {node.source.lanes} lanes",
            ),
            (channels % lanes != 0, f"takes {lanes} channels at once, which do not divide {channels}"),
            (node.drain != node.sink.lanes, f"gives {node.drain} elements at once, but its sink has {node.sink.lanes}"),
            (
                len(weights) // conv.groups % node.pe != 0 and conv.groups > 1 and not depthwise,
                f"pe {node.pe} does not divide the neurons of a group",
            ),
            (len(weights) % node.drain != 0, f"drain {node.drain} does not divide its neurons"),
            (depthwise and conv.weights.shape[::3] != (image.channels, 1), "is no depthwise convolution"),
        ):
            if wrong:
                raise GraphError(f"{node.name}: {text}")

    @property
    def steps(self) -> int:
        neurons, each = self.node.folds
        return neurons * each

    @cached_property
    def weight_type(self) -> IntType:
        kind = self.node.conv.weight_type
        if not self.filled or self.counts or (kind.is_bipolar and self.pad == 0):
            return kind
        return IntType(min(0, kind.lo), max(0, kind.hi))

    def weights(self) -> list[int]:
        node = self.node
        filling = 0
        if self.weight_type.is_bipolar:  # disagrees with the bit that it meets, or meets a zero
            filling = -1 if self.pad else 1
        nobody = int(np.clip(0, self.weight_type.lo, self.weight_type.hi))  # of neurons whose sums nobody reads
        lanes = self.fan_in // node.taps
        return self.words(weight_tiles(node.conv, node.pe, node.taps, lanes, element=filling, neuron=nobody))


def images(node: ArrayNode | ConvNode | DepthwiseNode) -> dict[str, list[int]]:
    """The memories of a node by name, a number a word, for readers; the gateware is made from the same plan."""
    return (ArrayPlan(node) if isinstance(node, ArrayNode) else ConvPlan(node)).images()
