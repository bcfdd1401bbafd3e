"""Arrangement: operators changed places where that costs less hardware and no value changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np

from accel.graph import (
    Activation,
    Add,
    Concat,
    Conv,
    Dense,
    Graph,
    IntType,
    MaxPool,
    Operator,
    Pad,
    SumPool,
    Upsample,
)
from accel.graph.steps import Linear, Step

ACCUMULATORS = (Conv, Dense, SumPool, Add)  # what has an activation in its own node


def arrange(graph: Graph) -> Graph:
    """The same function with

    - the padding of a Pad done by the Conv, SumPool or MaxPool behind it;
    - a sign given to a channel of accumulators (so that the largest can be taken) in the weights;
    - an Activation right behind the accumulators instead of behind the MaxPool, Upsample or Concat that follows them.
    """
    while True:
        for rule in (_padded, _signed, _earlier, _parted):
            changed = rule(graph)
            if changed is not None:
                graph = changed
                break
        else:
            return graph


def _readers(graph: Graph) -> Counter[str]:
    """How many inputs of operators read each tensor; the graph's output counts as well."""
    return Counter([*(name for op in graph.operators for name in op.inputs), graph.output])


def _pairs(graph: Graph, *, alone: bool) -> list[tuple[Operator, Operator]]:
    """Operators of one input with what produces it; ``alone`` leaves out what others read too."""
    producers, readers = {op.output: op for op in graph.operators}, _readers(graph)
    return [
        (producers[op.inputs[0]], op)
        for op in graph.operators
        if len(op.inputs) == 1 and op.inputs[0] in producers and (not alone or readers[op.inputs[0]] == 1)
    ]


def exchange(graph: Graph, changes: dict[str, tuple[Operator, ...]], renamed: tuple[str, str] = ("", "")) -> Graph:
    """The graph with the operators of these names exchanged, and without those that nobody reads any more.

    What the others read under the first name of ``renamed`` has the second one now.
    """
    old, new = renamed
    operators = [each for op in graph.operators for each in changes.get(op.name, (_reading(op, old, new),))]
    output = new if graph.output == old else graph.output
    needed, kept = {output}, []
    for op in reversed(operators):
        if op.output in needed:
            needed |= set(op.inputs)
            kept.append(op)
    return graph.with_operators(tuple(reversed(kept)), output)


def _reading(op: Operator, old: str, new: str) -> Operator:
    if old not in op.inputs:
        return op
    return replace(op, inputs=tuple(new if name == old else name for name in op.inputs))  # type: ignore[type-var]


def _padded(graph: Graph) -> Graph | None:
    for pad, op in _pairs(graph, alone=False):
        if not isinstance(pad, Pad) or not isinstance(op, (Conv, SumPool, MaxPool)):
            continue
        source = graph.tensors[pad.inputs[0]]
        pads = tuple(a + b for a, b in zip(pad.pads, op.window.pads, strict=True))
        window = replace(op.window, pads=pads)  # type: ignore[arg-type]
        if isinstance(op, MaxPool):
            if pad.value > source.type.lo or not window.sees_everywhere(*source.shape[:2]):
                continue  # there the border is the largest of some window
            new: Operator = replace(op, inputs=pad.inputs, window=window)
        elif any(op.window.pads) and op.pad_value != pad.value:
            continue
        else:
            new = replace(op, inputs=pad.inputs, window=window, pad_value=pad.value)
        return exchange(graph, {op.name: (new,)})
    return None


def _signed(graph: Graph) -> Graph | None:
    for before, op in _pairs(graph, alone=True):
        if not isinstance(before, (Conv, Dense)) or not isinstance(op, Activation) or len(op.steps) != 1:
            continue
        (step,) = op.steps
        if not isinstance(step, Linear) or any(abs(s) != 1 for s in step.scale) or any(o != 0 for o in step.offset):
            continue
        sign = np.array([int(s) for s in step.scale], dtype=np.int64).reshape(-1, *(1,) * (before.weights.ndim - 1))
        weights = before.weights * sign
        kind = before.weight_type
        kind = kind if kind.is_bipolar else IntType(int(weights.min()), int(weights.max()))
        new = replace(before, weights=weights, weight_type=kind)
        return exchange(graph, {before.name: (new,), op.name: ()}, (op.output, before.output))
    return None


def _earlier(graph: Graph) -> Graph | None:
    for mover, op in _pairs(graph, alone=True):
        if not isinstance(op, Activation) or not isinstance(mover, (MaxPool, Upsample)):
            continue
        if not _from_accumulators(graph, mover) or (isinstance(mover, MaxPool) and op.falling.any()):
            continue
        first, second = replace(op, inputs=mover.inputs), replace(mover, inputs=(op.output,))
        return exchange(graph, {mover.name: (first, second), op.name: ()}, (op.output, mover.output))
    return None


def _from_accumulators(graph: Graph, mover: Operator) -> bool:
    """Whether what is pooled or repeated here are accumulators that nobody else reads."""
    producers, readers = {op.output: op for op in graph.operators}, _readers(graph)
    source: Operator | None = mover
    while isinstance(source, (MaxPool, Upsample)) and readers[source.inputs[0]] == 1:
        source = producers.get(source.inputs[0])
    return isinstance(source, ACCUMULATORS)


def _parted(graph: Graph) -> Graph | None:
    producers, readers = {op.output: op for op in graph.operators}, _readers(graph)
    for concat, op in _pairs(graph, alone=True):
        if not isinstance(op, Activation) or not isinstance(concat, Concat):
            continue
        if not any(isinstance(producers.get(n), ACCUMULATORS) and readers[n] == 1 for n in concat.inputs):
            continue
        parts: list[Operator] = []
        begin = 0
        for number, name in enumerate(concat.inputs, 1):
            channels = slice(begin, begin := begin + graph.tensors[name].shape[-1])
            part = f"{op.name}_{number}"
            if part in graph.tensors:
                break
            steps = tuple(_of_channels(step, channels) for step in op.steps)
            parts.append(replace(op, name=part, inputs=(name,), output=part, steps=steps))
        else:
            joined = replace(concat, inputs=tuple(part.output for part in parts))
            return exchange(graph, {concat.name: (*parts, joined), op.name: ()}, (op.output, concat.output))
    return None


def _of_channels(step: Step, channels: slice) -> Step:
    """The step for some of the channels only."""
    arrays = {each.name: getattr(step, each.name) for each in fields(step)}
    several = {k: v[channels] for k, v in arrays.items() if isinstance(v, np.ndarray) and v.size > 1}
    return replace(step, **several) if several else step  # type: ignore[arg-type]
