"""Elementwise operators: arithmetic with constants, batch normalization, ReLU and its kin."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from accel.frontends import joins
from accel.frontends.builder import Builder, arguments, operand, per_axis
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import Node
from accel.frontends.values import Constant, Stream, Value, broadcast, checked
from accel.graph.steps import rationals

ROOT_BITS = 4096
ROOT_COST = 16  # how much longer arithmetic with roots takes than with numbers from the file
Values = tuple[Value | None, ...]


def square_root(x: Fraction) -> Fraction:
    """The square root, exact where it is rational, otherwise 4,096 bits of it, rounded down.

    An activation compares ``p + q / sqrt(v)`` with a rational, p, q and v being products of a few floats. If the two
    differ at all, they do so before the 4,096th bit, so the comparison is that of the true root.
    """
    if x < 0:
        raise RefusalError(f"needs the square root of {float(x):g}")
    top, bottom = math.isqrt(x.numerator), math.isqrt(x.denominator)
    if top * top == x.numerator and bottom * bottom == x.denominator:
        return Fraction(top, bottom)
    places = ROOT_BITS + max(0, (x.denominator.bit_length() - x.numerator.bit_length()) // 2 + 1)
    return Fraction(math.isqrt((x.numerator << (2 * places)) // x.denominator), 1 << places)


def each(function: object, numbers: np.ndarray) -> np.ndarray:
    return np.frompyfunc(function, 1, 1)(numbers) if numbers.size else numbers  # type: ignore[call-overload, no-any-return]


def reciprocal(numbers: np.ndarray) -> np.ndarray:
    if any(n == 0 for n in numbers.flat):
        raise RefusalError("divides by zero")
    return 1 / numbers


def constants(builder: Builder, operator: str, a: Constant, b: Constant) -> Constant:
    """Arithmetic between constants; between integers it gives integers, as subgraphs that compute shapes need it."""
    shape = broadcast(a.shape, b.shape)
    builder.spend(math.prod(shape))
    if a.is_integer and b.is_integer:
        x, y = a.exact(), b.exact()
        result = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}.get(operator, _truncated_quotient)(x, y)
        return Constant.of(result.astype(np.int64).reshape(shape))
    if operator == "Mul":
        return a.times(b)
    if operator == "Div":
        return a.times(Constant.of(reciprocal(b.exact()).reshape(b.shape)))
    return Constant.of(checked(a.exact() + b.exact() if operator == "Add" else a.exact() - b.exact()).reshape(shape))


def _truncated_quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return each(math.trunc, x * reciprocal(y))


def arithmetic(builder: Builder, node: Node, values: Values) -> Value:
    """Add, Sub, Mul, Div; the first two also of two branches."""
    a, b = arguments(values, 2, 2)
    if isinstance(a, Stream) and isinstance(b, Stream) and node.operator in ("Add", "Sub"):
        return joins.total(builder, node, a, b, 1 if node.operator == "Add" else -1)
    if isinstance(a, Constant) and isinstance(b, Constant):
        return constants(builder, node.operator, a, b)
    if isinstance(a, Constant):
        stream, number = operand(b, Stream, "the second operand"), a.exact()
        if node.operator == "Div":
            raise RefusalError("divides by what depends on the input", "only a division by constants can be read")
        return stream.linear(number) if node.operator == "Mul" else _plus(stream, number, node.operator == "Sub")
    stream, number = operand(a, Stream, "the first operand"), operand(b, Constant, "the second operand").exact()
    if node.operator == "Mul":
        return stream.linear(number)
    if node.operator == "Div":
        return stream.linear(reciprocal(number))
    return stream.linear(offset=number if node.operator == "Add" else -number)


def _plus(stream: Stream, number: np.ndarray, negated: bool) -> Stream:
    return stream.linear(rationals([-1 if negated else 1]), number)


def unary(builder: Builder, node: Node, values: Values) -> Value:
    """Neg, Sqrt, Reciprocal; the last two of constants only."""
    (x,) = arguments(values, 1, 1)
    if node.operator == "Neg" and isinstance(x, Stream):
        return x.linear(rationals([-1]))
    constant = operand(x, Constant, "the operand")
    builder.spend(ROOT_COST * constant.numbers.size)
    function = {"Neg": lambda v: -v, "Sqrt": lambda v: each(square_root, v), "Reciprocal": reciprocal}[node.operator]
    return Constant.of(function(constant.exact()).reshape(constant.shape))


def power(builder: Builder, node: Node, values: Values) -> Value:
    """Pow, with constant exponents: small integers and halves of such."""
    base, exponent = arguments(values, 2, 2)
    n = operand(exponent, Constant, "the exponent").scalar("the exponent")
    if isinstance(base, Stream) and n == 1:
        return base
    constant = operand(base, Constant, "the base")
    builder.spend(ROOT_COST * constant.numbers.size)
    if n.denominator not in (1, 2) or abs(n) > 8:
        raise RefusalError(f"has the exponent {float(n):g}", "only integers and halves up to 8 can be read")
    numbers = constant.exact() if n.denominator == 1 else each(square_root, constant.exact())
    numbers = numbers if n >= 0 else reciprocal(numbers)
    powers = each(lambda v: v ** abs(n.numerator), numbers)
    return Constant.of(checked(powers).reshape(constant.shape))


def batch_normalization(builder: Builder, node: Node, values: Values) -> Value:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias``, along axis 1."""
    x, *rest = arguments(values, 5, 5)
    if node.integer("training_mode", 0):
        raise RefusalError("is in training mode", "export the model in evaluation mode (model.eval())")
    stream = operand(x, Stream, "the input")
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        per_axis(operand(value, Constant, what), 1, len(stream.shape), what)
        for value, what in zip(rest, names, strict=True)
    )
    builder.spend(ROOT_COST * variance.size)
    deviation = each(square_root, variance + Fraction(node.number("epsilon", float(np.float32(1e-5)))))
    factor = checked(scale * reciprocal(deviation))
    return stream.linear(factor, checked(bias - mean * factor))


def relu(builder: Builder, node: Node, values: Values) -> Value:
    (x,) = arguments(values, 1, 1)
    return operand(x, Stream, "the input").clip(Fraction(0), None, node.name)


def clip(builder: Builder, node: Node, values: Values) -> Value:
    """Clip (which is what HardTanh and ReLU6 become), with the bounds as inputs or, in old files, as attributes."""
    x, *bounds = arguments(values, 1, 3)
    lo, hi = (
        _bound(node, name, None if value is None else operand(value, Constant, name))
        for value, name in zip(bounds, ("min", "max"), strict=True)
    )
    return operand(x, Stream, "the input").clip(lo, hi, node.name)


def _bound(node: Node, name: str, given: Constant | None) -> Fraction | None:
    """The bound, or None where it is infinite."""
    none = -math.inf if name == "min" else math.inf
    if given is None:
        number = node.number(name, none)
        return None if number == none else Fraction(number)
    if given.numbers.size == 1 and given.numbers.dtype.kind == "f" and given.numbers.item() == none:
        return None
    return given.scalar(name)


def same(builder: Builder, node: Node, values: Values) -> Value:
    """Identity, and Dropout outside training."""
    x, _, training = arguments(values, 1, 3)
    if x is None:
        raise RefusalError("the input is missing")
    if training is not None and operand(training, Constant, "training_mode").scalar("training_mode"):
        raise RefusalError("is in training mode", "export the model in evaluation mode (model.eval())")
    return x


HANDLERS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), arithmetic),
    **dict.fromkeys(("Neg", "Sqrt", "Reciprocal"), unary),
    "Pow": power,
    "BatchNormalization": batch_normalization,
    "Relu": relu,
    "Clip": clip,
    **dict.fromkeys(("Identity", "Dropout"), same),
}
