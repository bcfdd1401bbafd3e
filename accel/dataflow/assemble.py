"""Assembly: chosen nodes become a pipeline, with repacks where lanes differ and links that fork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from accel.dataflow.parts import Part
from accel.dataflow.pipeline import Link, Node, Pipeline, RepackNode, Stream, sources
from accel.graph import Graph
from accel.graph.names import free_name


def assemble(graph: Graph, some: Sequence[Part], chosen: Sequence[Node], *, lanes: int, output_lanes: int) -> Pipeline:
    """The pipeline of the ``chosen`` node for each part, without FIFOs.

    Its input has ``lanes``, its output at most ``output_lanes``. Of links from one producer that want the same other
    lanes one repack serves all. Its name is the producer's with the lanes behind it.
    """
    nodes: list[Node] = []
    links: list[Link] = []
    repacks: dict[tuple[str, int], str] = {}
    given: dict[str, Stream] = {"": Stream(graph.input.size, graph.input.type, lanes)}
    taken = {node.name for node in chosen}

    def connect(producer: str, consumer: str, port: int, wanted: int) -> Stream:
        stream = given[producer]
        if stream.lanes != wanted:
            key = (producer, wanted)
            if key not in repacks:
                name = free_name(f"{producer or graph.input.name}.x{wanted}", taken)
                repacks[key] = name
                taken.add(name)
                given[name] = replace(stream, lanes=wanted)
                nodes.append(RepackNode(name, stream, given[name]))
                links.append(Link(producer, name))
            producer = repacks[key]
        links.append(Link(producer, consumer, port))
        return given[producer]

    for part, node in zip(some, chosen, strict=True):
        for port, (source, wanted) in enumerate(zip(part.sources, sources(node), strict=True)):
            connect(chosen[source].name if source >= 0 else "", node.name, port, wanted.lanes)
        nodes.append(node)
        given[node.name] = node.sink
    last = chosen[-1]
    fitting = max(n for n in range(1, output_lanes + 1) if last.sink.lanes % n == 0)
    connect(last.name, "", 0, last.sink.lanes if last.sink.lanes <= output_lanes else fitting)
    return Pipeline(graph, tuple(nodes), tuple(links))
