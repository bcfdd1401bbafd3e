"""Quantizers: QONNX's Quant, BipolarQuant and Trunc, and ONNX's QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from accel.frontends.builder import WIDEST, Builder, arguments, operand, per_axis
from accel.frontends.elementwise import Values, reciprocal
from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import Node
from accel.frontends.values import ONE, ZERO, Constant, Headed, Stream, Value, broadcast
from accel.graph import IntType
from accel.graph.steps import ROUNDING, Clip, Linear, Round, Sign, Step, evaluate, rationals

SHARE = Fraction(1, 256)  # of a probability that TFLite's softmax tells apart
ALIASES = {"ROUND": "HALF_EVEN", "ROUND_TO_ZERO": "DOWN"}


def quantize(
    builder: Builder,
    name: str,
    x: Value | None,
    *,
    scale: np.ndarray,
    zero: np.ndarray,
    steps: tuple[Step, ...],
    levels: IntType,
) -> Value:
    """The integers ``steps(x / scale + zero)``."""
    if isinstance(x, Stream):
        return x.linear(reciprocal(scale), zero).quantized(steps, levels, name, x)
    constant = operand(x, Constant, "the input")
    builder.spend(constant.numbers.size // 16)  # mostly in floats
    if broadcast(constant.shape, (1,), scale.shape, zero.shape) != (constant.shape or (1,)):
        raise RefusalError(f"a scale of shape {scale.shape} does not fit a tensor of shape {constant.shape}")
    numbers = constant.numbers if constant.is_plain else constant.exact()
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise RefusalError("quantizes a constant that holds NaN or infinity")
    integers = evaluate((Linear(reciprocal(scale), zero), *steps), numbers)
    return Constant.of(integers.reshape(constant.shape))


def rescale(value: Value, scale: np.ndarray, offset: np.ndarray) -> Value:
    """``value * scale + offset``: back from integers to what they stand for."""
    if isinstance(value, Stream):
        return value.dequantized(scale, offset)
    constant = operand(value, Constant, "the input")
    product = constant.times(Constant.of(scale if constant.shape else scale.reshape(())))
    if all(o == 0 for o in offset.flat):
        return product
    return Constant.of((product.exact() + offset).reshape(product.shape))


def positive(scale: np.ndarray) -> np.ndarray:
    bad = [s for s in scale.flat if s <= 0]
    if bad or not scale.size:
        raise RefusalError(f"the scale must be positive, not {float(bad[0]):g}" if bad else "the scale is empty")
    return scale


def width(value: Value | None, what: str, most: int = WIDEST) -> int:
    bits = operand(value, Constant, what).scalar(what)
    if bits.denominator != 1 or not 1 <= bits <= most:
        raise RefusalError(f"{what} must be an integer from 1 to {most}, not {float(bits):g}", "quantize to fewer bits")
    return int(bits)


def rounding(node: Node, default: str) -> Round:
    mode = node.text("rounding_mode", default).upper()
    mode = ALIASES.get(mode, mode)
    if mode not in ROUNDING:
        raise RefusalError(f"has the rounding mode {mode!r}", f"use one of {', '.join((*ROUNDING, *ALIASES))}")
    return Round(mode)


def flag(node: Node, name: str, default: int) -> bool:
    value = node.integer(name, default)
    if value not in (0, 1):
        raise RefusalError(f"attribute {name} must be 0 or 1, not {value}")
    return bool(value)


def integer_type(bits: int, node: Node, *, signed: int, narrow: int) -> IntType:
    is_signed, is_narrow = flag(node, "signed", signed), flag(node, "narrow", narrow)
    if bits == 1 and is_narrow and not is_signed:
        raise RefusalError("has a single level: 1 bit, unsigned and narrow", "use a bipolar or a full unsigned type")
    return IntType.of(width=bits, signed=is_signed, narrow=is_narrow)


def saturate(levels: IntType) -> Clip:
    return Clip(rationals([levels.lo]), rationals([levels.hi]))


def quant(builder: Builder, node: Node, values: Values) -> Value:
    """``(clip(round(x / scale + zero)) - zero) * scale``; signed and 1 bit wide it is BipolarQuant, as in qonnx."""
    x, *parameters, bits = arguments(values, 4, 4)
    scale, zero = (operand(v, Constant, w).exact() for v, w in zip(parameters, ("scale", "zero point"), strict=True))
    bit_width = width(bits, "bit width")
    steps: tuple[Step, ...] = (Sign(),)
    levels = IntType.bipolar()
    round_ = rounding(node, "ROUND")
    if bit_width > 1 or not flag(node, "signed", 1):
        levels = integer_type(bit_width, node, signed=1, narrow=0)
        steps = (round_, saturate(levels))
    return rescale(
        quantize(builder, node.name, x, scale=positive(scale), zero=zero, steps=steps, levels=levels),
        scale,
        -zero * scale,
    )


def bipolar_quant(builder: Builder, node: Node, values: Values) -> Value:
    """``scale`` where ``x >= 0``, else ``-scale``."""
    x, scale = arguments(values, 2, 2)
    factor = positive(operand(scale, Constant, "scale").exact())
    return rescale(
        quantize(builder, node.name, x, scale=ONE, zero=ZERO, steps=(Sign(),), levels=IntType.bipolar()), factor, ZERO
    )


def trunc(builder: Builder, node: Node, values: Values) -> Value:
    """Drops low bits: version 1 of the operator has 5 inputs, version 2 has 6 and saturates."""
    x, scale_, zero_, bits_, *rest = arguments(values, 5, 6)
    scale, zero = positive(operand(scale_, Constant, "scale").exact()), operand(zero_, Constant, "zero point").exact()
    bits, round_ = width(bits_, "input bit width", 32), rounding(node, "FLOOR")
    if rest[1] is None:
        factor = Fraction(2) ** (bits - width(rest[0], "output bit width", 32))
        steps: tuple[Step, ...] = (Round(), Linear(rationals([1 / factor]), ZERO), round_)
        levels = reachable(x, Linear(reciprocal(scale), zero), steps)
        return rescale(
            quantize(builder, node.name, x, scale=scale, zero=zero, steps=steps, levels=levels), scale, -zero * scale
        )
    to = operand(rest[0], Constant, "output scale").scalar("output scale")
    ratio = positive(rationals([to])).item() / Constant.of(scale).scalar("scale")
    factor = Fraction(2) ** round(math.log2(ratio))
    levels = integer_type(width(rest[1], "output bit width"), node, signed=1, narrow=0)
    steps = (Round(), Linear(rationals([1 / factor]), ZERO), saturate(levels), round_)
    return rescale(
        quantize(builder, node.name, x, scale=scale, zero=zero, steps=steps, levels=levels),
        rationals([to]),
        -zero / factor * to,
    )


def reachable(x: Value | None, first: Linear, steps: Iterable[Step]) -> IntType:
    """The type that holds every result: that of the ends of what the stream can be, as each step is monotone."""
    if isinstance(x, Constant):
        return IntType(0, 0)  # constants need no type
    stream = operand(x, Stream, "the input").linear(first.scale, first.offset)
    if stream.source is None:
        raise RefusalError("reads the input, which is not quantized", "put a Quant before it")
    ends = np.array([[stream.source.type.lo], [stream.source.type.hi]])
    results = evaluate((*stream.real().steps, *steps), ends)
    return IntType(int(results.min()), int(results.max()))


def quantize_linear(builder: Builder, node: Node, values: Values) -> Value:
    """``saturate(round(x / scale) + zero)``; the zero point's data type is that of the result."""
    x, scale_, zero_ = arguments(values, 2, 3)
    kind = np.dtype(np.uint8) if zero_ is None else operand(zero_, Constant, "zero point").numbers.dtype
    if kind.kind not in "iu" or 8 * kind.itemsize > WIDEST or (zero_ is None and node.integer("output_dtype", 0)):
        raise RefusalError(
            f"makes integers of type {kind}", "quantize to INT8, UINT8, INT16 or UINT16, with a zero point"
        )
    levels = IntType.of(width=8 * kind.itemsize, signed=kind.kind == "i")
    if isinstance(x, Headed) and x.head == "softmax":
        return _shares(x, operand(scale_, Constant, "scale"), zero_, levels)
    scale, zero = _parameters(node, x, scale_, zero_)
    if zero.size > 1:
        zero = Stream.channelwise(x, zero) if isinstance(x, Stream) else zero
    steps: tuple[Step, ...] = (Round(), Linear(ONE, zero), saturate(levels))
    return quantize(builder, node.name, x, scale=positive(scale), zero=ZERO, steps=steps, levels=levels)


def _shares(x: Headed, scale: Constant, zero: Value | None, levels: IntType) -> Headed:
    """Quantized probabilities, which are taken as TFLite's kernel computes them: 256 levels from the lowest on."""
    lowest = Fraction(0) if zero is None else operand(zero, Constant, "zero point").scalar("zero point")
    if scale.scalar("scale") != SHARE or lowest != levels.lo or levels.levels != 256:
        raise RefusalError(
            "quantizes what a Softmax gives to other numbers than TFLite's, 8 bits of a scale of 1/256 from the lowest "
            "on",
            "quantize to these, or not at all",
        )
    return Headed(x.scores, "softmax_int8")


def dequantize_linear(builder: Builder, node: Node, values: Values) -> Value:
    """``(x - zero) * scale``."""
    x, scale_, zero_ = arguments(values, 2, 3)
    if isinstance(x, Headed) and x.head == "softmax_int8":
        return x  # a head says by itself what its numbers stand for
    scale, zero = _parameters(node, x, scale_, zero_)
    positive(scale)
    if isinstance(x, Constant) and x.is_integer and all(z.denominator == 1 for z in zero.flat):
        broadcast(x.shape, scale.shape, zero.shape)
        return rescale(Constant.of(x.numbers.astype(np.int64) - zero.astype(np.int64)), scale, ZERO)
    if x is None:
        raise RefusalError("the input is missing")
    return rescale(x, scale, -zero * scale)


def _parameters(node: Node, x: Value | None, scale: Value | None, zero: Value | None) -> tuple[np.ndarray, np.ndarray]:
    if node.integer("block_size", 0):
        raise RefusalError("quantizes in blocks", "quantize per tensor or per channel")
    if not isinstance(x, (Constant, Stream)):
        operand(x, Stream, "the input")
    rank, axis = len(x.shape), node.integer("axis", 1)  # type: ignore[union-attr]
    return (
        per_axis(operand(scale, Constant, "scale"), axis, rank, "scales"),
        ZERO if zero is None else per_axis(operand(zero, Constant, "zero point"), axis, rank, "zero points"),
    )


HANDLERS = {
    **dict.fromkeys(("Quant", "IntQuant"), quant),
    "BipolarQuant": bipolar_quant,
    "Trunc": trunc,
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
}
