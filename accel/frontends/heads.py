"""The end of the network: Softmax, ArgMax, TopK, and how channels of different scales are ranked by integers."""

from __future__ import annotations

import math

import numpy as np

from accel.frontends.builder import Builder, arguments, operand
from accel.frontends.elementwise import Values
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import Node
from accel.frontends.values import Constant, Headed, Stream, Value
from accel.graph import ArgMax, IntType, Requantize, Tensor, TopK
from accel.graph.graph import Affine

TOP = "top "  # with the number of classes, in a Headed
RANK_BITS = 32  # of the integers that are compared


def _scores(node: Node, value: Value | None, axis: int) -> Stream:
    """The scores, which must lie along the axis."""
    scores = operand(
        value.scores if isinstance(value, Headed) and value.head == "softmax" else value, Stream, "the input"
    )
    rank = len(scores.shape)
    if not -rank <= axis < rank or scores.shape[axis] != scores.index.size:
        raise RefusalError(f"works along axis {axis} of shape {scores.shape}", "it must work along all elements")
    return scores


def softmax(builder: Builder, node: Node, values: Values) -> Value:
    (x,) = arguments(values, 1, 1)
    operand(x, Stream, "the input")
    return Headed(_scores(node, x, node.integer("axis", -1)), "softmax")


def argmax(builder: Builder, node: Node, values: Values) -> Value:
    (x,) = arguments(values, 1, 1)
    if node.integer("select_last_index", 0):
        raise RefusalError("selects the last of equals", "export with select_last_index=0")
    return Headed(_scores(node, x, node.integer("axis", 0)), "argmax")


def top_k(builder: Builder, node: Node, values: Values) -> tuple[Value | None, ...]:
    x, k_ = arguments(values, 1, 2)
    (k,) = (node.integer("k", 0),) if k_ is None else operand(k_, Constant, "k").integers("k")
    if not node.integer("largest", 1):
        raise RefusalError("takes the smallest", "export with largest=1")
    return None, Headed(_scores(node, x, node.integer("axis", -1)), f"{TOP}{k}")


HANDLERS = {"Softmax": softmax, "ArgMax": argmax, "TopK": top_k}


def rank(builder: Builder, scores: Tensor, affine: Affine, count: int) -> Tensor:
    """Appends an ArgMax or, for a ``count`` above 1, a TopK of ``affine(scores)``.

    Before it, if need be, come integers in the same order.
    """
    channels = scores.shape[-1]
    scale = np.broadcast_to(np.array(affine.scale, dtype=object), channels)
    offset = np.broadcast_to(np.array(affine.offset, dtype=object), channels)
    multiplier, bias = _same_order(scale, offset)
    if any(m != multiplier[0] for m in multiplier) or any(b != bias[0] for b in bias) or multiplier[0] < 0:
        ends = [m * v + b for m, b in zip(multiplier, bias, strict=True) for v in (scores.type.lo, scores.type.hi)]
        if max(IntType(min(ends), max(ends)).width, *(int(v).bit_length() + 1 for v in multiplier)) > RANK_BITS:
            raise RefusalError(
                f"ranks channels whose scales need more than {RANK_BITS} bits to compare",
                "use one scale for all outputs, or read the scores (head='scores')",
            )
        name = builder.unique("rank")
        m, b = (np.array(v, dtype=np.int64) for v in (multiplier, bias))
        ranked = Requantize(name, (scores.name,), name, m, b, 0, IntType(min(ends), max(ends)))
        scores = builder.emit(ranked, scores)
    name = builder.unique("argmax" if count == 1 else "topk")
    if count == 1:
        return builder.emit(ArgMax(name, (scores.name,), name), scores)
    return builder.emit(TopK(name, (scores.name,), name, count), scores)


def _same_order(scale: np.ndarray, offset: np.ndarray) -> tuple[list[int], list[int]]:
    """Integers m, b such that ``m[c] * q[c] + b[c]`` compare among channels as ``scale[c] * q[c] + offset[c]`` do."""
    if any(s == 0 for s in scale):
        raise RefusalError("ranks scores that were multiplied by zero")
    if all(s == scale[0] for s in scale):
        # In steps of one score, an offset is a whole number and a fraction; of the fractions only the order matters.
        steps = offset / abs(scale[0])
        fractions = sorted({s - math.floor(s) for s in steps})
        sign = 1 if scale[0] > 0 else -1
        return [sign * len(fractions)] * len(scale), [
            math.floor(s) * len(fractions) + fractions.index(s - math.floor(s)) for s in steps
        ]
    offset = offset - min(offset)
    bottom = math.lcm(*(n.denominator for n in (*scale, *offset)))
    numbers = [int(n * bottom) for n in (*scale, *offset)]
    common = math.gcd(*numbers)
    return [n // common for n in numbers[: len(scale)]], [n // common for n in numbers[len(scale) :]]
