"""Lowering: every Activation becomes what hardware can do, and stays equal on every reachable accumulator."""

from __future__ import annotations

import numpy as np

from accel.graph import Activation, Conv, Dense, Graph, GraphError, Operator, Requantize, Table, Threshold
from accel.passes.breakpoints import breakpoints
from accel.passes.multiply_shift import MOST_BITS, multiply_shift

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
    """The same graph with each Activation replaced by Threshold, Requantize or Table, whichever comes first:

    1. Table, where no Dense comes before, one function serves all channels, and its input has at most ``table_levels``;
    2. Threshold, for outputs of at most ``threshold_levels``;
    3. Requantize, where multipliers of ``multiplier_bits`` have the same breakpoints on every reachable accumulator;
    4. Threshold, for outputs of at most ``most_threshold_levels``;
    5. Table, where no Dense comes before, of at most ``most_table_levels`` in all.

    Raises GraphError for an activation that is none of these.
    """
    producers = {op.output: op for op in graph.operators}

    def lowered(op: Operator) -> Operator:
        if not isinstance(op, Activation):
            return op
        x = graph.tensors[op.inputs[0]]
        shared = op.channels == 1
        before = producers.get(x.name)
        at_border = not isinstance(before, (Dense, Conv))
        if at_border and shared and x.type.levels <= table_levels:
            return _table(op, graph)
        channels = 1 if at_border and shared else x.shape[-1]
        lo, hi = (np.full(channels, end) for end in (x.type.lo, x.type.hi))
        if isinstance(before, (Dense, Conv)):
            source = graph.tensors[before.inputs[0]].type
            lo, hi = before.minima(source), before.maxima(source)
        if channels * op.out.levels <= MOST_POINTS:
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
        if at_border and op.channels * x.type.levels <= most_table_levels:
            return _table(op, graph)
        raise GraphError(
            f"{op.name}: an activation from {x.type} to {op.out} has too many levels for thresholds or a table, and is "
            f"not a multiplication by at most {multiplier_bits} bits; quantize its output to at most "
            f"{most_threshold_levels} levels"
        )

    return graph.with_operators(tuple(map(lowered, graph.operators)))


def _table(op: Activation, graph: Graph) -> Table:
    source = graph.tensors[op.inputs[0]].type
    x = np.arange(source.lo, source.hi + 1, source.step)
    values = op.run(np.repeat(x[:, None], op.channels, axis=1)).T
    return Table(op.name, op.inputs, op.output, values, source, op.out)
