"""The core: the gateware of a whole pipeline."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import (
    AddNode,
    ArgMaxNode,
    ArrayNode,
    ConcatNode,
    ConvNode,
    DepthwiseNode,
    Link,
    Node,
    PadNode,
    Pipeline,
    PoolNode,
    RepackNode,
    TableNode,
    TopKNode,
    UpsampleNode,
)
from accel.graph import Requantize, Table, Tensor, Threshold
from accel.rtl.activate import ActivationPlan
from accel.rtl.add import AddUnit
from accel.rtl.argmax import ArgMaxUnit
from accel.rtl.array import DenseArray
from accel.rtl.concat import ConcatUnit
from accel.rtl.conv import ConvUnit
from accel.rtl.depthwise import DepthwiseUnit
from accel.rtl.fifo import StreamFIFO
from accel.rtl.fork import Fork
from accel.rtl.images import images
from accel.rtl.pool import PoolUnit
from accel.rtl.repack import Repack
from accel.rtl.resize import PadUnit, UpsampleUnit
from accel.rtl.streams import signature
from accel.rtl.table import TableUnit, words
from accel.rtl.topk import TopKUnit


def gateware(node: Node) -> wiring.Component:
    """The component of one node: streams ``input`` (of joins ``input0``, ``input1``, …) and ``output``."""
    match node:
        case ArrayNode():
            return DenseArray(node)
        case ConvNode():
            return ConvUnit(node)
        case DepthwiseNode():
            return DepthwiseUnit(node)
        case PoolNode():
            return PoolUnit(node)
        case AddNode():
            return AddUnit(node)
        case ConcatNode():
            return ConcatUnit(node)
        case PadNode():
            return PadUnit(node)
        case UpsampleNode():
            return UpsampleUnit(node)
        case TableNode():
            return TableUnit(node)
        case ArgMaxNode():
            return ArgMaxUnit(node)
        case TopKNode():
            return TopKUnit(node)
        case RepackNode():
            return Repack(node.source, node.sink)


def memories(node: Node) -> dict[str, list[int]]:
    """The read-only memories of a node by name, a number a word, as its gateware has them."""
    match node:
        case ArrayNode() | ConvNode() | DepthwiseNode():
            return images(node)
        case AddNode():
            kind = node.add.bounds(node.first.type, node.second.type)
            return ActivationPlan(node.activation, kind, node.sink.lanes).images()
        case PoolNode():
            shape = (node.image.height, node.image.width, node.image.channels)
            kind = node.pool.infer(Tensor("", shape, node.source.type)).type
            return ActivationPlan(node.activation, kind, node.sink.lanes).images()
        case TableNode(function=Table()):
            return {f"lane{lane}": words(node, lane) for lane in range(node.source.lanes)}
        case TableNode(function=Threshold() | Requantize() as function):
            return ActivationPlan(function, node.source.type, node.source.lanes).images()
    return {}


class Core(wiring.Component):
    """Frames in at ``input``, results out at ``output``, in order, as many under way as there is room for.

    ``clear`` brings the core back to its initial state in the next cycle; beats handed over in that cycle are lost.
    ``monitor`` shows valid and ready of each of the pipeline's links, in their order, as its consumer sees them (behind
    the link's FIFO).
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        state = data.StructLayout({"valid": 1, "ready": 1})
        super().__init__(
            {
                "input": In(signature(pipeline.source)),
                "output": Out(signature(pipeline.sink)),
                "clear": In(1),
                "monitor": Out(data.ArrayLayout(state, len(pipeline.links))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = self.pipeline
        components = {node.name: gateware(node) for node in pipeline.nodes}
        for name, component in components.items():
            m.submodules[name] = ResetInserter(self.clear)(component)
        for name in ("", *components):
            source = components[name].output if name else wiring.flipped(self.input)
            links = pipeline.outputs(name)
            ends = [source]
            if len(links) > 1:
                fork = Fork(pipeline.stream(links[0]), len(links))
                m.submodules[f"fork_{name or 'input'}"] = ResetInserter(self.clear)(fork)
                wiring.connect(m, source, fork.input)
                ends = [getattr(fork, f"output{i}") for i in range(len(links))]
            for link, end in zip(links, ends, strict=True):
                self.join(m, components, link, end)
        return m

    def join(self, m: Module, components: dict[str, wiring.Component], link: Link, end: wiring.PureInterface) -> None:
        """Connects a producer's end of a link with its consumer, through its FIFO."""
        if link.depth:
            fifo = StreamFIFO(self.pipeline.stream(link), link.depth)
            m.submodules[fifo_name(link)] = ResetInserter(self.clear)(fifo)
            wiring.connect(m, end, fifo.input)
            end = fifo.output
        consumer = wiring.flipped(self.output)
        if link.consumer:
            joins = isinstance(self.pipeline.node(link.consumer), AddNode | ConcatNode)
            consumer = getattr(components[link.consumer], f"input{link.port}" if joins else "input")
        wiring.connect(m, end, consumer)
        state = self.monitor[self.pipeline.links.index(link)]
        m.d.comb += [state.valid.eq(consumer.valid), state.ready.eq(consumer.ready)]


def fifo_name(link: Link) -> str:
    """The name of a link's FIFO in the core."""
    return f"fifo_{link.producer or 'input'}_{link.consumer or 'output'}_{link.port}"
