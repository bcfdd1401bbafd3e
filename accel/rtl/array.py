"""The array: dense layers, one after another, on the same multipliers.

Four parts run on their own and meet at counters:

* *fill* writes a layer's inputs into one set of the input buffer: the frame, or what the layer before gives;
* *issue* takes a step a cycle, input tiles outside, neuron tiles inside, as soon as the tile's inputs are there;
* the *arithmetic* follows each step without ever stopping: multiply, add up, accumulate;
* *drain* turns finished accumulators into outputs, ``drain`` a cycle, while the next layer already runs.

Waiting for the output stream holds up the last layer's drain only, and through it the next frame's last tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import ArrayNode
from accel.dataflow.timing import FETCH, tree_stages, unit, unit_latency
from accel.rtl.accumulate import Step, accumulator
from accel.rtl.buffer import InputBuffer
from accel.rtl.drain import activation_units, as_element
from accel.rtl.images import ArrayPlan
from accel.rtl.multiply import Products
from accel.rtl.repack import Repack
from accel.rtl.rom import rom
from accel.rtl.spread import spread
from accel.rtl.streams import LendingFIFO, element, flip_sign, line, signature


class DenseArray(wiring.Component):
    """Gateware of an ArrayNode. ``input`` and ``output`` are streams; frames may follow each other without a pause."""

    def __init__(self, node: ArrayNode) -> None:
        self.node = node
        self.plan = ArrayPlan(node)
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node, plan = self.node, self.plan
        layers = node.layers
        count = len(layers)
        tiles, rows = zip(*(node.tiles(layer) for layer in layers), strict=True)
        groups = [plan.groups(neurons) for neurons in plan.neurons]

        # Fill. Announced one cycle before it is written, so that the step that needs it may be issued in between.
        writers = (node.source.lanes, node.drain) if count > 1 else (node.source.lanes,)
        m.submodules.buffer = buffer = InputBuffer(
            width=plan.input_width, simd=node.simd, writers=writers, elements=max(layer.inputs for layer in layers)
        )
        beats = [node.source.beats, *groups[:-1]]
        fill_layer = Signal(range(count))
        beat = Signal(range(max(beats)))
        filled = Signal(
            range(max(b * w for b, w in zip(beats, [writers[0], *writers[-1:] * (count - 1)], strict=True)) + 1)
        )
        ahead = Signal(2)  # layers filled but not yet issued to their end
        streamed, drained, fill_last, layer_issued = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.input.ready.eq((fill_layer == 0) & (ahead <= 1)),
            streamed.eq(self.input.valid & self.input.ready),
            fill_last.eq((streamed | drained) & (beat == by_layer([b - 1 for b in beats], fill_layer))),
        ]
        with m.If(fill_last):
            m.d.sync += [beat.eq(0), filled.eq(0), fill_layer.eq(successor(fill_layer, count))]
        with m.Elif(streamed | drained):
            m.d.sync += [beat.eq(beat + 1), filled.eq(filled + Mux(drained, node.drain, node.source.lanes))]
        m.d.sync += [ahead.eq(ahead + fill_last - layer_issued), buffer.last.eq(fill_last), buffer.write0.eq(streamed)]
        for i in range(node.source.lanes):
            held = Signal(node.source.type.width, name=f"input{i}", reset_less=True)
            m.d.sync += held.eq(flip_sign(self.input.payload[i], node.source.type))
            m.d.comb += buffer.data0[i].eq(held)

        # Issue.
        layer = Signal(range(count))
        neuron_tile, tile = Signal(range(max(rows))), Signal(range(max(tiles)))
        row, part, read_set = Signal(buffer.row_bits), Signal(range(buffer.fold)), Signal()
        needed = Signal(range((max(tiles) + 1) * node.simd + 1), init=node.simd)
        step = Signal(range(node.steps))
        finishing = Signal()  # the last tile of a layer is under way or not yet drained
        step_first, step_last, row_last, issue, layer_drained = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            step_first.eq(tile == 0),
            step_last.eq(tile == by_layer([t - 1 for t in tiles], layer)),
            row_last.eq(neuron_tile == by_layer([r - 1 for r in rows], layer)),
            issue.eq(((ahead != 0) | (filled >= needed)) & ~(step_last & (neuron_tile == 0) & finishing)),
            layer_issued.eq(issue & step_last & row_last),
        ]
        with m.If(issue):
            m.d.sync += [step.eq(successor(step, node.steps)), neuron_tile.eq(neuron_tile + 1)]
            with m.If(row_last):
                m.d.sync += [neuron_tile.eq(0), tile.eq(tile + 1), needed.eq(needed + node.simd)]
                m.d.sync += part.eq(successor(part, buffer.fold))
                with m.If(part == buffer.fold - 1):
                    m.d.sync += row.eq(row + 1)
            with m.If(layer_issued):
                m.d.sync += [tile.eq(0), needed.eq(node.simd), row.eq(0), part.eq(0), read_set.eq(~read_set)]
                m.d.sync += layer.eq(successor(layer, count))
        with m.If(issue & step_last):
            m.d.sync += finishing.eq(1)
        with m.Elif(layer_drained):
            m.d.sync += finishing.eq(0)

        # Arithmetic.
        style = "block" if node.memory == "bram" else "logic"
        width = node.pe * node.simd * plan.weight_type.width
        m.submodules.products = products = Products(plan)
        m.d.comb += [
            buffer.row.eq(row),
            buffer.part.eq(part),
            buffer.read_set.eq(read_set),
            products.weights.eq(rom(m, "weights", plan.weights(), width, step, style=style)),
            products.x.eq(buffer.x),
        ]
        control = Cat(issue, step_first, step_last, neuron_tile)
        control = line(m, "control", control, 2 + tree_stages(node.simd))[-1]
        steps = [Step(at[0], at[1], at[2], at[3:]) for at in spread(m, "added", control, node.pe)]

        # Drain.
        drain_layer, drain_row = Signal(range(count)), Signal(range(max(rows)))
        group, address = Signal(range(node.pe // node.drain)), Signal(range(sum(groups)))
        finished = Signal(range(max(rows) + 1))  # rows of accumulators ready to be drained
        fetch, group_last, drain_row_last = Signal(), Signal(), Signal()
        a_row = node.pe // node.drain
        last_groups = [g - (r - 1) * a_row for g, r in zip(groups, rows, strict=True)]
        m.submodules.results = results = LendingFIFO(
            data.ArrayLayout(element(node.sink.type), node.drain),
            latency=FETCH + unit_latency(node, layers[-1].activation),
        )
        ends = drain_layer == count - 1
        m.d.comb += [
            fetch.eq((finished != 0) & (~ends | results.free)),
            results.take.eq(fetch & ends),
            drain_row_last.eq(drain_row == by_layer([r - 1 for r in rows], drain_layer)),
            group_last.eq(group == Mux(drain_row_last, by_layer([g - 1 for g in last_groups], drain_layer), a_row - 1)),
            layer_drained.eq(fetch & group_last & drain_row_last),
        ]
        m.d.sync += finished.eq(finished + (steps[0].valid & steps[0].last) - (fetch & group_last))
        address_ahead = Signal.like(address)
        m.d.comb += address_ahead.eq(Mux(fetch, successor(address, sum(groups)), address))
        m.d.sync += address.eq(address_ahead)
        with m.If(fetch):
            m.d.sync += group.eq(group + 1)
            with m.If(group_last):
                m.d.sync += [group.eq(0), drain_row.eq(drain_row + 1)]
            with m.If(layer_drained):
                m.d.sync += [drain_row.eq(0), drain_layer.eq(successor(drain_layer, count))]

        sums = [
            accumulator(m, f"{p}", products.totals[p], steps[p], drain_row=drain_row, rows=max(rows))
            for p in range(node.pe)
        ]
        values = []
        for i in range(node.drain):
            value = Signal(signed(plan.width), name=f"value{i}", reset_less=True)
            m.d.sync += value.eq(Array(sums[i :: node.drain])[group])
            values.append(value)

        kinds = [unit(entry.activation) for entry in layers]
        latency = {kind: unit_latency(node, entry.activation) for kind, entry in zip(kinds, layers, strict=True)}
        units = activation_units(m, plan, ahead=True)
        for activation in units.values():
            m.d.comb += [activation.address.eq(address), *(activation.x[i].eq(values[i]) for i in range(node.drain))]
            if hasattr(activation, "ahead"):
                m.d.comb += activation.ahead.eq(address_ahead)
            if hasattr(activation, "layer"):
                m.d.comb += activation.layer.eq(drain_layer)

        # Results: those of the last layer go to the output, all others to the input buffer.
        for kind in dict.fromkeys(kinds[:-1]):
            chosen = fetch & Array(k == kind for k in [*kinds[:-1], None])[drain_layer]
            valid = line(m, f"valid_{kind}", chosen, FETCH + latency[kind])
            with m.If(valid[-2]):
                m.d.comb += drained.eq(1)
            with m.If(valid[-1]):
                m.d.comb += buffer.write1.eq(1)
                m.d.comb += [buffer.data1[i].eq(units[kind].y[i]) for i in range(node.drain)]
        m.d.comb += results.push.eq(line(m, "leaving", fetch & ends, FETCH + latency[kinds[-1]])[-1])
        for i in range(node.drain):
            code = units[kinds[-1]].y[i]
            m.d.comb += results.word[i].eq(as_element(m, f"output{i}", code, plan.result, node.sink.type))
        m.submodules.repack = repack = Repack(replace(node.sink, lanes=node.drain), node.sink)
        wiring.connect(m, results.output, repack.input)
        wiring.connect(m, repack.output, wiring.flipped(self.output))
        return m


def by_layer(values: Sequence[int], layer: Value) -> Value:
    """The entry of the current layer; a constant where all are equal."""
    return Const(values[0]) if len(set(values)) == 1 else Array(values)[layer]


def successor(value: Value, count: int) -> Value:
    """The next number modulo ``count``."""
    return Const(0) if count == 1 else Mux(value == count - 1, 0, value + 1)
