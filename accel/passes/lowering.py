"""Lowering: every Activation becomes what hardware can do, and stays equal on every reachable accumulator."""

from __future__ import annotations

from collections import Counter

import numpy as np

from accel.graph import (
    Activation,
    Add,
    Conv,
    Dense,
    Graph,
    GraphError,
    Operator,
    Requantize,
    SumPool,
    Table,
    Threshold,
)
from accel.passes.arrange import arrange, exchange
from accel.passes.breakpoints import breakpoints
from accel.passes.multiply_shift import MOST_BITS, multiply_shift
from accel.passes.residual import narrowest

MOST_POINTS = 2**25  # breakpoints of one activation that are worth looking for: 256 MiB


def lower(
    graph: Graph,
    *,
    threshold_levels: int = 16,
    most_threshold_levels: int = 256,
    table_levels: int = 256,
    most_table_levels: int = 65536,
    multiplier_bits: int = MOST_BITS,
) -> Graph:
    """The same graph, arranged for hardware, with each Activation replaced by whichever of these comes first:

    1. Table, where no accumulators come before (those of Dense and Conv, and the sums of SumPool and Add), one function
       serves all channels, and its input has at most ``table_levels``;
    2. Threshold, for outputs of at most ``threshold_levels``;
    3. Requantize, where multipliers of ``multiplier_bits`` have the same breakpoints on every reachable accumulator;
    4. Threshold, for outputs of at most ``most_threshold_levels``;
    5. Table, where neither Dense nor Conv comes before, of at most ``most_table_levels`` in all.

    An Add that only such an activation reads gets the narrowest multipliers with which the two together are the same.
    Raises GraphError for an activation that is none of these.
    """
    graph = arrange(graph)
    producers = {op.output: op for op in graph.operators}
    readers = Counter(name for op in graph.operators for name in op.inputs)
    exchanged: dict[str, Operator] = {}

    def lowered(op: Activation) -> Operator:
        x = graph.tensors[op.inputs[0]]
        shared = op.channels == 1
        before = producers.get(x.name)
        at_border = not isinstance(before, (Dense, Conv, SumPool, Add))
        if at_border and shared and x.type.levels <= table_levels:
            return _table(op, graph)
        per_channel = isinstance(before, (Dense, Conv))
        channels = x.shape[-1] if per_channel or not shared else 1
        if channels * op.out.levels <= MOST_POINTS:
            steps = None
            if isinstance(before, Add) and readers[x.name] == 1 and x.name != graph.output:
                meeting = narrowest(graph, before, op, producers)
                if meeting is not None:
                    exchanged[before.name], steps = meeting.add, meeting.steps
            if steps is None:
                lo, hi = (np.full(channels, end) for end in (x.type.lo, x.type.hi))
                if isinstance(before, (Dense, Conv)):
                    source = graph.tensors[before.inputs[0]].type
                    lo, hi = before.minima(source), before.maxima(source)
                steps = breakpoints(op, lo, hi)
            points, falling = (np.repeat(a, x.shape[-1] // channels, axis=0) for a in (steps.points, steps.falling))
            threshold = Threshold(op.name, op.inputs, op.output, points, falling, op.out)
            if op.out.levels <= threshold_levels:
                return threshold
            found = multiply_shift(steps, most_bits=multiplier_bits)
            if found is not None:
                m, b = (np.repeat(a, x.shape[-1] // channels) for a in (found.multiplier, found.bias))
                return Requantize(op.name, op.inputs, op.output, m, b, found.shift, op.out, found.ties_to_even)
            if op.out.levels <= most_threshold_levels:
                return threshold
        if not per_channel and op.channels * x.type.levels <= most_table_levels:
            exchanged.pop(before.name if before else "", None)
            return _table(op, graph)
        raise GraphError(
            f"{op.name}: an activation from {x.type} to {op.out} has too many levels for thresholds or a table, and is "
            f"not a multiplication by at most {multiplier_bits} bits; quantize its output to at most "
            f"{most_threshold_levels} levels"
        )

    activations = {op.name: lowered(op) for op in graph.operators if isinstance(op, Activation)}
    return exchange(graph, {name: (op,) for name, op in (activations | exchanged).items()})


def _table(op: Activation, graph: Graph) -> Table:
    source = graph.tensors[op.inputs[0]].type
    x = np.arange(source.lo, source.hi + 1, source.step)
    values = op.run(np.repeat(x[:, None], op.channels, axis=1)).T
    return Table(op.name, op.inputs, op.output, values, source, op.out)
