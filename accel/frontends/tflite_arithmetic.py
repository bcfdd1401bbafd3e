"""TFLite's arithmetic at preparation: scales in floating point become multipliers, shifts and ranges of integers.

What is float32 and what is float64 here, and in which order it is multiplied, is as in the reference kernels: a
multiplier that differs in its last bit gives other results.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from accel.frontends.errors import RefusalError
from accel.frontends.tflite_file import EXPORT, FileTensor
from accel.graph import Activation, IntType, Quantizer
from accel.graph.steps import Clip, FixedPoint, Linear, Round, Step, rationals

ONE = rationals([1])
SUM_BITS = 32  # of TFLite's accumulators
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)  # ActivationFunctionType
RANGES: dict[int, tuple[float | None, float | None]] = {
    NONE: (None, None),
    RELU: (0.0, None),
    RELU_N1_TO_1: (-1.0, 1.0),
    RELU6: (0.0, 6.0),
}


def fixed_point(real: float) -> tuple[int, int]:
    """Multiplier (31 bits) and shift with ``real`` close to ``multiplier * 2**(shift - 31)``."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise RefusalError(f"multiplies by {real:.3g}", "scales of input and output must not differ so much")
    return multiplier, shift


def multiply(reals: list[float]) -> FixedPoint:
    """The step that multiplies by ``reals``, one or one for each channel."""
    pairs = [fixed_point(real) for real in reals]
    return FixedPoint(*(np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True)))


def product_scales(x: FileTensor, weights: FileTensor, y: FileTensor, channels: int) -> list[float]:
    """What a layer multiplies its sums of products by, one number or one for each output channel."""
    if weights.scale.size not in (1, channels):
        raise RefusalError(f"weights {weights.name!r} have {weights.scale.size} scales for {channels} channels", EXPORT)
    return [float(x.meaning[0]) * float(scale) / float(y.meaning[0]) for scale in weights.scale]


def convolution(x: FileTensor, weights: FileTensor, y: FileTensor, channels: int) -> tuple[Step, ...]:
    """How a convolution scales its sums: in fixed point. With uint8 the product of two scales is rounded to float32."""
    if x.type == "uint8":
        return (multiply([float(x.meaning[0] * weights.meaning[0]) / float(y.meaning[0])]),)
    return (multiply(product_scales(x, weights, y, channels)),)


def fully_connected(x: FileTensor, weights: FileTensor, y: FileTensor, channels: int) -> tuple[Step, ...]:
    """How a fully connected layer scales its sums: in float64, to the nearest integer, halves away from zero.

    The steps are exact. They give the same as float64 unless a product is rounded to a tie that it is not.
    """
    scales = product_scales(x, weights, y, channels)
    for scale in scales:
        for tie in range(1, 2 * 256, 2):
            near = math.floor(Fraction(tie, 2) / Fraction(scale))
            for total in (near, near + 1):
                if 2 * (total * scale) == tie != 2 * total * Fraction(scale):
                    raise RefusalError("scales a sum to what float64 takes for a tie", "change a scale a little")
    return Linear(rationals(scales), rationals([0])), Round("HALF_UP")


def clipping(y: FileTensor, function: int) -> IntType:
    """The integers that a fused activation function leaves of a tensor's type."""
    if function not in RANGES:
        raise RefusalError(f"has the fused activation function {function}", "RELU, RELU6 and RELU_N1_TO_1 can be read")
    kind, (scale, zero_point) = y.integers, y.meaning
    ends = [None if bound is None else zero_point + rounded(np.float32(bound) / scale) for bound in RANGES[function]]
    lo, hi = (
        max(kind.lo, kind.lo if ends[0] is None else ends[0]),
        min(kind.hi, kind.hi if ends[1] is None else ends[1]),
    )
    if lo >= hi:  # there are no wires of no width
        raise RefusalError(f"leaves only the value {lo} of tensor {y.name!r}", "remove what computes it")
    return IntType(lo, hi)


def rounded(value: np.floating) -> int:
    """To the nearest integer, halves away from zero."""
    return int(np.trunc(value) + np.copysign(np.abs(value - np.trunc(value)) >= 0.5, value))


def shifted(offset: np.ndarray | int) -> Linear:
    """The step ``v + offset``."""
    return Linear(ONE, rationals(np.atleast_1d(offset)))


def clip(kind: IntType) -> Clip:
    return Clip(rationals([kind.lo]), rationals([kind.hi]))


def requantized(
    offset: np.ndarray | int, multiplier: tuple[Step, ...], zero_point: int, kind: IntType
) -> tuple[Step, ...]:
    """``clip((v + offset) * multiplier + zero_point)``: how every kernel ends that has sums."""
    return shifted(offset), *multiplier, shifted(zero_point), clip(kind)


def mean(count: int, kind: IntType) -> tuple[Step, ...]:
    """``clip(v / count)``, halves away from zero: how average pooling ends."""
    return Linear(rationals([Fraction(1, count)]), rationals([0])), Round("HALF_UP"), clip(kind)


def fits(steps: tuple[Step, ...], lo: np.ndarray, hi: np.ndarray) -> None:
    """Raises RefusalError where the sums ``lo..hi`` of a channel would overflow TFLite's 32 bits."""
    offset, multiplier = steps[0], steps[1]
    assert isinstance(offset, Linear)
    bias = np.array([int(v) for v in offset.offset], dtype=np.int64)
    wider = np.maximum(multiplier.shift, 0) if isinstance(multiplier, FixedPoint) else 0
    if (np.maximum(np.abs(lo + bias), np.abs(hi + bias)) * 2.0**wider >= 2.0 ** (SUM_BITS - 1)).any():
        raise RefusalError("has sums that can overflow 32 bits, where TFLite's result is undefined", EXPORT)


def quantized(reals: np.ndarray, y: FileTensor) -> np.ndarray:
    """The integers that QUANTIZE makes of float32 numbers."""
    scale, zero_point = y.meaning
    return Quantizer(float(scale), zero_point, y.integers)(reals)


def dequantized(values: np.ndarray, x: FileTensor) -> np.ndarray:
    """The float32 numbers that DEQUANTIZE makes of integers."""
    scale, zero_point = x.meaning
    return (float(scale) * (values - zero_point)).astype(np.float32)


def reach(steps: tuple[Step, ...], kind: IntType) -> IntType:
    """The type of what rising steps make of ``kind``."""
    wide = IntType(-(2**62), 2**62)
    ends = Activation("", ("",), "", steps, wide).run(np.array([[kind.lo], [kind.hi]], dtype=np.int64))
    return IntType(int(ends.min()), int(ends.max()))
