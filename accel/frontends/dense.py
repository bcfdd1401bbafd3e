"""MatMul and Gemm with constant weights: the integers in the weights, and what becomes of scales and offsets."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from accel.frontends.builder import WIDEST, Builder, arguments, operand
from accel.frontends.elementwise import Values
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import Node
from accel.frontends.values import ONE, ZERO, Constant, Stream, Value, checked
from accel.graph import Dense, IntType
from accel.graph.steps import rationals


def weight_type(weights: np.ndarray) -> IntType:
    """The tightest type: bipolar where there are only -1 and 1."""
    if (np.abs(weights) == 1).all():
        return IntType.bipolar()
    return IntType(int(weights.min()), int(weights.max()))


def integer_weights(builder: Builder, weights: Constant, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of shape (M, K) and a scale of shape (1,) or (M,) whose product is ``(weights * factors).T``.

    ``weights`` has shape (K, M), ``factors`` (1, 1), (K, 1), (1, M) or (K, M). What a quantizer has left as integers
    stays as it is; other numbers are integers times their greatest common divisor, per tensor if possible, else per
    output channel.
    """
    if factors.shape[0] == 1 and factors.size > 1:  # each output sees one factor: it scales the output
        integers, scale = integer_weights(builder, weights, ONE.reshape(1, 1))
        return integers, scale * factors[0]
    by_column = weights.scale[:1]
    if weights.numbers.dtype.kind in "iu" and factors.size == 1 and (weights.scale == by_column).all():
        integers = weights.numbers.T.astype(np.int64)
        if weight_type(integers).width <= WIDEST:
            return integers, by_column.reshape(-1) * factors.item()
    levels, which = _distinct(builder, weights, factors)
    groups = [np.unique(row) for row in which]
    for several in (False, True):
        scale = np.array([_divisor(levels[g]) for g in groups] if several else [_divisor(levels)], dtype=object)
        integers = np.zeros(which.shape, dtype=np.int64)
        for m, divisor in enumerate(np.broadcast_to(scale, len(groups))):
            multiples = levels[groups[m]] / divisor
            if max(abs(v) for v in multiples) >= 2**WIDEST:
                break
            integers[m] = multiples.astype(np.int64)[np.searchsorted(groups[m], which[m])]
        else:
            if weight_type(integers).width <= WIDEST:
                return integers, scale
    if factors.size > 1:
        raise RefusalError(
            "the input has a scale for each element, and the weights are not integers any more with those",
            "quantize the input with one scale, or with scales that are powers of two apart",
        )
    raise _not_quantized(levels.size)


def _distinct(builder: Builder, weights: Constant, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different Fractions in ``weights.T * factors``, and an array of shape (M, K) that says which is where."""
    if factors.size == 1 and weights.is_plain and weights.numbers.dtype != object:
        numbers, which = np.unique(weights.numbers, return_inverse=True)
        if numbers.size > 2**WIDEST or not np.isfinite(numbers).all():
            raise _not_quantized(numbers.size)
        return rationals(numbers) * factors.item(), which.reshape(weights.shape).T
    builder.spend(weights.numbers.size)
    found: dict[Fraction, int] = {}
    products = weights.exact() * factors
    which = np.array([found.setdefault(p, len(found)) for p in products.flat]).reshape(weights.shape).T
    if len(found) > 2**WIDEST:
        raise _not_quantized(len(found))
    return rationals(list(found)), which


def _not_quantized(levels: int | None) -> RefusalError:
    count = f" ({levels} different numbers)" if levels else ""
    return RefusalError(
        f"the weights{count} are not integers of {WIDEST} bits times a scale",
        "quantize them with Quant or DequantizeLinear",
    )


def _divisor(numbers: np.ndarray) -> Fraction:
    """The greatest rational of which all are multiples; 1 for zeros."""
    distinct = {abs(n) for n in numbers} - {0}
    if not distinct:
        return Fraction(1)
    bottom = 1
    for n in distinct:
        bottom = math.lcm(bottom, n.denominator)
        if bottom.bit_length() > 2**14:
            raise _not_quantized(None)
    return Fraction(math.gcd(*(n.numerator * (bottom // n.denominator) for n in distinct)), bottom)


def product(builder: Builder, node: Node, x: Stream, weights: Constant) -> Stream:
    """``x @ weights``; ``x`` has any shape whose last dimension holds all elements."""
    if len(weights.shape) > 2 and math.prod(weights.shape[:-2]) == 1:
        weights = weights.arranged(lambda a: a.reshape(a.shape[-2:]))
    if len(weights.shape) != 2 or 0 in weights.shape:
        raise RefusalError(f"the weights have shape {weights.shape}", "only a vector times a matrix can be read")
    inputs, outputs = weights.shape
    if not x.shape or x.shape[-1] != inputs or x.index.size != inputs:
        raise RefusalError(
            f"multiplies a tensor of shape {x.shape} with weights of shape {weights.shape}",
            "only a vector (batch size 1) times a matrix can be read",
        )
    x, source = builder.integers(x)
    if any(s == 0 for s in x.scale):
        raise RefusalError("reads a tensor that was multiplied by zero")
    order = x.index.ravel()
    integers, scale = integer_weights(builder, weights, x.per_element(x.scale).reshape(-1, 1))
    moved = np.empty_like(integers)
    moved[:, order] = integers
    name = builder.unique(node.name)
    accumulators = builder.emit(Dense(name, (source.name,), name, moved, weight_type(moved)), source)
    return Stream(
        source=accumulators,
        index=np.arange(outputs).reshape(*x.shape[:-1], outputs),
        levels=accumulators.type,
        scale=checked(scale),
        offset=checked(contribution(integers, scale, x.per_element(x.offset / x.scale).reshape(-1, 1))),
        name=name,
    )


def contribution(weights: np.ndarray, scale: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """What the input's offsets add to each output, shape (1,) or (M,).

    ``weights``, of shape (M, K), and ``scale``, of shape (1,) or (M,), are those of ``integer_weights``; ``ratio`` is
    the input's offset over its scale, of shape (1, 1), (K, 1), (1, M) or (K, M).
    """
    if all(r == 0 for r in ratio.flat):
        return ZERO
    if ratio.shape[0] == 1:
        return scale * ratio[0] * rationals(weights.sum(axis=1))
    bottom = math.lcm(*(r.denominator for r in ratio.flat))
    whole = np.array([int(r * bottom) for r in ratio.flat], dtype=object).reshape(ratio.shape)
    sums = weights.astype(object) @ whole[:, 0] if ratio.shape[1] == 1 else (weights * whole.T).sum(axis=1)
    return scale * sums / bottom


def matmul(builder: Builder, node: Node, values: Values) -> Value:
    a, b = arguments(values, 2, 2)
    return product(builder, node, operand(a, Stream, "the first operand"), operand(b, Constant, "the second operand"))


def gemm(builder: Builder, node: Node, values: Values) -> Value:
    """``alpha * x @ weights + beta * bias``."""
    a, b, c = arguments(values, 2, 3)
    x, weights = operand(a, Stream, "the first operand"), operand(b, Constant, "the second operand")
    if node.integer("transA", 0):
        raise RefusalError("transposes its input", "only transB can be read")
    if node.integer("transB", 0):
        weights = weights.arranged(np.transpose, whole_axes=True)
    alpha, beta = (rationals([node.number(name, 1.0)]) for name in ("alpha", "beta"))
    result = product(builder, node, x, weights).linear(alpha)
    return result if c is None else result.linear(offset=operand(c, Constant, "the bias").exact() * beta)


HANDLERS = {"MatMul": matmul, "Gemm": gemm}
