"""Lowering: every Activation becomes what hardware can do, and stays equal on every reachable accumulator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from accel.graph import Activation, Add, Conv, Dense, Graph, GraphError, Operator, Requantize, Table, Threshold
from accel.graph.steps import Round
from accel.passes.arrange import ACCUMULATORS, arrange, exchange
from accel.passes.breakpoints import Breakpoints, breakpoints
from accel.passes.multiply_shift import (
    MOST_BITS,
    WIDEST_BITS,
    MultiplyShift,
    multiply_shift,
    nearly_even,
    turned,
)
from accel.passes.residual import Meeting, digits

MULTIPLIER_COST = 4  # additions that are worth a DSP48E1
MOST_POINTS = 2**25  # breakpoints of one activation that are worth looking for: 256 MiB


def lower(
    graph: Graph,
    *,
    threshold_levels: int = 16,
    most_threshold_levels: int = 256,
    table_levels: int = 256,
    most_table_levels: int = 65536,
    multiplier_bits: int = MOST_BITS,
    most_multiplier_bits: int = WIDEST_BITS,
) -> Graph:
    """The same graph, arranged for hardware, with each Activation replaced by whichever of these comes first:

    1. Table, where no accumulators come before (those of Dense and Conv, and the sums of SumPool and Add), one function
       serves all channels, and its input has at most ``table_levels``;
    2. Threshold, for outputs of at most ``threshold_levels``;
    3. Requantize, where multipliers of ``multiplier_bits`` have the same breakpoints on every reachable accumulator;
    4. Threshold, for outputs of at most ``most_threshold_levels``;
    5. Table, where neither Dense nor Conv comes before, of at most ``most_table_levels`` in all;
    6. Requantize, with multipliers of ``most_multiplier_bits``, sums of any width, or ties to even that are nearly met.

    An Add that only such an activation reads gets the narrowest multipliers with which the two together are the same.
    Raises GraphError for an activation that is none of these.
    """
    limits = Limits(
        *(threshold_levels, most_threshold_levels, table_levels, most_table_levels),
        *(multiplier_bits, most_multiplier_bits),
    )
    graph = arrange(graph)
    lowering = _Lowering(graph, limits)
    changes: dict[str, tuple[Operator, ...]] = {}
    for op in graph.operators:
        if isinstance(op, Activation):
            changes |= {new.name: (new,) for new in lowering.operators(op)}
    return exchange(graph, changes)


@dataclass(frozen=True)
class Limits:
    """The arguments of ``lower``."""

    threshold_levels: int
    most_threshold_levels: int
    table_levels: int
    most_table_levels: int
    multiplier_bits: int
    most_multiplier_bits: int


class _Lowering:
    def __init__(self, graph: Graph, limits: Limits) -> None:
        self.graph, self.limits = graph, limits
        self.producers = {op.output: op for op in graph.operators}
        self.readers = Counter([*(name for op in graph.operators for name in op.inputs), graph.output])

    def operators(self, op: Activation) -> tuple[Operator, ...]:
        """What stands for the activation; the Add before it as well, where that changes. Raises GraphError."""
        x, before, limits = self.graph.tensors[op.inputs[0]], self.producers.get(op.inputs[0]), self.limits
        at_border = not isinstance(before, ACCUMULATORS)
        if at_border and op.channels == 1 and x.type.levels <= limits.table_levels:
            return (self.table(op),)
        steps = None
        if op.out.levels * self.functions(op) <= MOST_POINTS:
            if (new := self.sum(op)) is not None:
                return new
            steps = self.steps(op)
            if (new := self.single(op, steps)) is not None:
                return new
        if not isinstance(before, (Conv, Dense)) and op.channels * x.type.levels <= limits.most_table_levels:
            return (self.table(op),)
        if steps is not None and (new := self.last(op, steps)) is not None:
            return new
        raise GraphError(
            f"{op.name}: an activation from {x.type} to {op.out} has too many levels for thresholds or a table, and is "
            f"not a multiplication by at most {limits.most_multiplier_bits} bits; quantize its output to at most "
            f"{limits.most_threshold_levels} levels, or with a scale that is a power of two times that of its input"
        )

    def functions(self, op: Activation) -> int:
        """One, or as many as there are channels, where these differ or reach different inputs."""
        several = op.channels > 1 or isinstance(self.producers.get(op.inputs[0]), (Conv, Dense))
        return self.graph.tensors[op.inputs[0]].shape[-1] if several else 1

    def steps(self, op: Activation) -> Breakpoints:
        """The breakpoints on all inputs that are reached."""
        x, before = self.graph.tensors[op.inputs[0]], self.producers.get(op.inputs[0])
        lo, hi = (np.full(self.functions(op), end) for end in (x.type.lo, x.type.hi))
        if isinstance(before, (Conv, Dense)):
            source = self.graph.tensors[before.inputs[0]].type
            lo, hi = before.minima(source), before.maxima(source)
        return breakpoints(op, lo, hi)

    def sum(self, op: Activation) -> tuple[Operator, ...] | None:
        """An Add with least multipliers and its activation, or one whose multipliers leave no more than a shift."""
        add = self.producers.get(op.inputs[0])
        if not isinstance(add, Add) or self.readers[add.output] > 1:
            return None
        meeting = Meeting.of(self.graph, add, op, self.producers)
        sums = () if meeting is None else meeting.sums()
        narrowest: tuple[Operator, ...] | None = None
        best: tuple[int, Add, MultiplyShift] | None = None
        for narrow, steps in sums:
            if op.out.levels <= self.limits.threshold_levels:
                return narrow, self.threshold(op, steps)
            narrowest = narrowest or (narrow, self.threshold(op, steps))
            found = multiply_shift(steps, most_bits=self.limits.multiplier_bits)
            if found is not None:
                best = cost(narrow, found), narrow, found
                break
        shifted = None if meeting is None or narrowest is None else meeting.shifted()
        if shifted is not None and (best is None or cost(*shifted) < best[0]):
            best = cost(*shifted), *shifted
        if best is not None:
            return best[1], self.requantize(op, best[2])
        return narrowest if op.out.levels <= self.limits.most_threshold_levels else None

    def single(self, op: Activation, steps: Breakpoints) -> tuple[Operator, ...] | None:
        """A Threshold or a Requantize."""
        if op.out.levels > self.limits.threshold_levels:
            found = self.line(op, steps, self.limits.multiplier_bits)
            if found is not None:
                return (self.requantize(op, found),)
        return (self.threshold(op, steps),) if op.out.levels <= self.limits.most_threshold_levels else None

    def last(self, op: Activation, steps: Breakpoints) -> tuple[Operator, ...] | None:
        """A Requantize that costs more: of wide multipliers or sums, or with ties that are nearly met."""
        bits = self.limits.most_multiplier_bits
        found = self.line(op, steps, bits, wide=True)
        if found is None and any(isinstance(step, Round) and step.mode == "HALF_EVEN" for step in op.steps):
            found = nearly_even(steps, most_bits=bits)
        return None if found is None else (self.requantize(op, found),)

    def line(self, op: Activation, steps: Breakpoints, bits: int, *, wide: bool = False) -> MultiplyShift | None:
        """The constants of one straight line or, where the activation has a turn, of two."""
        found = multiply_shift(steps, most_bits=bits, wide=wide)
        if found is None and (turn := op.turn) is not None:
            found = turned(steps, np.broadcast_to(turn, steps.lo.shape), most_bits=bits, wide=wide)
        return found

    def each(self, op: Activation, *arrays: np.ndarray) -> list[np.ndarray]:
        """Arrays of one function or of each channel as those of each channel."""
        channels = self.graph.tensors[op.inputs[0]].shape[-1]
        return [np.repeat(array, channels // len(array), axis=0) for array in arrays]

    def threshold(self, op: Activation, steps: Breakpoints) -> Threshold:
        points, falling = self.each(op, steps.points, steps.falling)
        return Threshold(op.name, op.inputs, op.output, points, falling, op.out)

    def requantize(self, op: Activation, found: MultiplyShift) -> Requantize:
        m, b, *rest = self.each(op, *(each for each in found.constants if each is not None))
        turn, above = rest or (None, None)
        rounding = found.ties_to_even, turn, above, found.near
        return Requantize(op.name, op.inputs, op.output, m, b, found.shift, op.out, *rounding)

    def table(self, op: Activation) -> Table:
        source = self.graph.tensors[op.inputs[0]].type
        x = np.arange(source.lo, source.hi + 1, source.step)
        values = op.run(np.repeat(x[:, None], op.channels, axis=1)).T
        return Table(op.name, op.inputs, op.output, values, source, op.out)


def cost(add: Add, constants: MultiplyShift) -> int:
    """Additions of a sum with its activation; a multiplier that is no power of two counts as some."""
    plain = set(map(int.bit_count, np.abs(constants.multiplier).tolist())) <= {0, 1}
    return sum(map(digits, add.multipliers)) + (0 if plain else MULTIPLIER_COST)
