"""The core: the gateware of a whole pipeline."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import ArrayNode, Node, Pipeline, TableNode
from accel.rtl.argmax import ArgMaxUnit
from accel.rtl.array import DenseArray
from accel.rtl.streams import signature
from accel.rtl.table import TableUnit


def gateware(node: Node) -> wiring.Component:
    """The component of one node, with ``input`` and ``output`` streams."""
    if isinstance(node, ArrayNode):
        return DenseArray(node)
    return TableUnit(node) if isinstance(node, TableNode) else ArgMaxUnit(node)


class Core(wiring.Component):
    """Frames in at ``input``, results out at ``output``, in order, as many under way as there is room for.

    ``clear`` brings the core back to its initial state in the next cycle; beats handed over in that cycle are lost.
    ``monitor`` shows valid and ready of each stream: the input, those between nodes, the output.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        state = data.StructLayout({"valid": 1, "ready": 1})
        super().__init__(
            {
                "input": In(signature(pipeline.source)),
                "output": Out(signature(pipeline.sink)),
                "clear": In(1),
                "monitor": Out(data.ArrayLayout(state, len(pipeline.nodes) + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        before = wiring.flipped(self.input)
        ends = [self.input]
        for node in self.pipeline.nodes:
            component = gateware(node)
            m.submodules[node.name] = ResetInserter(self.clear)(component)
            wiring.connect(m, before, component.input)
            before = component.output
            ends.append(before)
        wiring.connect(m, before, wiring.flipped(self.output))
        for i, end in enumerate(ends):
            m.d.comb += [self.monitor[i].valid.eq(end.valid), self.monitor[i].ready.eq(end.ready)]
        return m
