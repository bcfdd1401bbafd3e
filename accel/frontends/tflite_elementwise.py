"""What has no weights: sums of tensors, pooling, borders, shapes, and changes of scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accel.frontends.errors import RefusalError
from accel.frontends.tflite_arithmetic import (
    NONE,
    RANGES,
    clip,
    clipping,
    dequantized,
    fits,
    fixed_point,
    multiply,
    quantized,
    reach,
    requantized,
    rounded,
    shifted,
)
from accel.frontends.tflite_arithmetic import (
    mean as divided,
)
from accel.frontends.tflite_file import EXPORT, INTEGERS, FileOperator, FileTensor
from accel.frontends.tflite_layers import window_of
from accel.frontends.tflite_network import (
    Network,
    Probabilities,
    RealInput,
    Value,
    constant,
    image_shape,
    same_levels,
    without_batch,
)
from accel.graph import Add, Concat, MaxPool, Pad, SumPool, Tensor, Window
from accel.graph.steps import FixedPoint, Linear, rationals

SCORES = "or leave it out (head='scores')"
ADD_SHIFT = 20  # bits by which TFLite widens the operands of ADD


def add(network: Network, op: FileOperator, name: str) -> Value:
    """Each operand goes to a common scale of 20 more bits, and their sum to the output's."""
    operands, y = [network.read(op, 0), network.read(op, 1)], op.outputs[0]
    a, b = operands
    if a.shape != b.shape:
        raise RefusalError(f"adds tensors of shapes {a.shape} and {b.shape}", "both must have one shape")
    if a.tensor.shape != b.tensor.shape:
        raise RefusalError(
            f"adds tensors of shape {a.shape} that were computed in the shapes {a.tensor.shape} and {b.tensor.shape}",
            "an image that was made flat can be added to another one only, of the same height and width",
        )
    common = 2 * float(max(a.scale, b.scale))
    terms = []
    for number, x in enumerate(operands, 1):
        widening = (widen(-x.zero_point), multiply([float(x.scale) / common]))
        kind = reach(widening, x.tensor.type)
        terms.append(network.activate(x.tensor, widening, kind, f"{name}_operand_{number}"))
    total = network.unique(f"{name}_sum")
    sums = network.emit(Add(total, (terms[0].name, terms[1].name), total), *terms)
    multiplier = (multiply([common / (2**ADD_SHIFT * float(y.meaning[0]))]),)
    kind = clipping(y, op.option("FusedActivationFunction"))
    steps = requantized(0, multiplier, y.meaning[1], kind)
    fits(steps, np.array([sums.type.lo]), np.array([sums.type.hi]))
    return Value(network.activate(sums, steps, kind, name), y, a.shape)


def widen(offset: int) -> Linear:
    """The step ``(v + offset) * 2**20``."""
    return Linear(rationals([1 << ADD_SHIFT]), rationals([offset << ADD_SHIFT]))


def average_pool_2d(network: Network, op: FileOperator, name: str) -> Value:
    """The sum of a window of the file's integers, divided by its pixels."""
    x, y = network.plain(network.image(op), f"{name}_input"), op.outputs[0]
    same_meaning(x, y)
    window = window_of(op, (op.option("FilterHeight"), op.option("FilterWidth")), x.shape)
    if any(window.pads):
        raise RefusalError(
            "averages windows that reach outside the image, where TFLite divides by the fewer pixels inside",
            "train the model with VALID padding, where all windows are inside (a PAD before would change the averages)",
        )
    sums = pooled(network, name, x, window)
    kind = clipping(y, op.option("FusedActivationFunction"))
    steps = divided(window.taps, kind)
    return Value(network.activate(sums, steps, kind, name), y, without_batch(y))


def mean(network: Network, op: FileOperator, name: str) -> Value:
    """Over the whole image: one multiplier rescales and divides."""
    x, y, axes = network.image(op), op.outputs[0], constant(op, 1, "the axes")
    assert axes.data is not None
    rank = len(x.shape) + 1
    over = {int(axis) % rank for axis in axes.data.ravel()}
    if not over <= {1, 2} or any(x.shape[axis - 1] != 1 for axis in {1, 2} - over):
        raise RefusalError(f"takes the mean over axes {sorted(over)}", "only that over a whole image can be read")
    window = Window((x.shape[0], x.shape[1]))
    sums = pooled(network, name, x, window)
    multiplier, shift = fixed_point(float(x.scale) / float(y.meaning[0]))
    bits = min(window.taps.bit_length() - 1, 32, 31 + shift)
    step = FixedPoint(np.array([(multiplier << bits) // window.taps]), np.array([shift - bits]))
    kind = clipping(y, NONE)
    steps = requantized(-x.zero_point * window.taps, (step,), y.meaning[1], kind)
    fits(steps, np.array([sums.type.lo]), np.array([sums.type.hi]))
    return Value(network.activate(sums, steps, kind, name), y, without_batch(y))


def pooled(network: Network, name: str, x: Value, window: Window) -> Tensor:
    total = network.unique(f"{name}_sum")
    return network.emit(SumPool(total, (x.tensor.name,), total, window), x.tensor)


def max_pool_2d(network: Network, op: FileOperator, name: str) -> Value:
    x, y = network.image(op), op.outputs[0]
    same_meaning(x, y)
    window = window_of(op, (op.option("FilterHeight"), op.option("FilterWidth")), x.shape)
    kind = clipping(y, op.option("FusedActivationFunction"))
    clipped = kind != y.integers
    pool = network.unique(f"{name}_pool" if clipped else name)
    best = network.emit(MaxPool(pool, (x.tensor.name,), pool, window), x.tensor)
    if not clipped:
        return Value(best, y, without_batch(y), x.shift)
    return Value(network.activate(best, (shifted(x.shift), clip(kind)), kind, name), y, without_batch(y))


def same_meaning(x: Value, y: FileTensor) -> None:
    """Pooling takes the integers as they are. TFLite refuses these files as well."""
    (scale, zero_point), (other, other_zero) = x.like.meaning, y.meaning
    if zero_point != other_zero or abs(float(scale) - float(other)) > 1e-6:
        raise RefusalError(f"has other scales in {x.like.name!r} than in {y.name!r}", EXPORT)


def pad(network: Network, op: FileOperator, name: str) -> Value:
    """With zeros, which is the zero point, or with PADV2's own constant."""
    x, y, borders = network.image(op), op.outputs[0], constant(op, 1, "the paddings")
    assert borders.data is not None
    if borders.data.shape != (4, 2) or borders.data.min() < 0:
        raise RefusalError(f"has paddings of shape {list(borders.shape)}", "only those of an image can be read")
    if borders.data[0].any() or borders.data[3].any():
        raise RefusalError("pads the batch or the channels", "only height and width can be padded")
    value = y.meaning[1]
    if op.kind == "PADV2":
        filling = constant(op, 2, "the value")
        assert filling.data is not None
        value = int(filling.data.ravel()[0])
    (top, bottom), (left, right) = borders.data[1:3].tolist()
    name = network.unique(name)
    padded = Pad(name, (x.tensor.name,), name, (top, left, bottom, right), value - x.shift)
    return Value(network.emit(padded, x.tensor), y, without_batch(y), x.shift)


def reshape(network: Network, op: FileOperator, name: str) -> Value | Probabilities | RealInput:
    """Nothing is computed: the raster order stays. The network's input takes the shape that is read first.

    If others read that input too, it stays an image.
    """
    source, y = op.source, op.outputs[0]
    shape, value = without_batch(y), network.values.get(source.index)
    if y.size != source.size:
        raise RefusalError(f"makes shape {shape} of shape {without_batch(source)}", EXPORT)
    if isinstance(value, RealInput):
        return replace(value, tensor=y)
    if isinstance(value, Probabilities):
        return value
    x = network.read(op)
    alone = sum(source in other.inputs for other in network.model.operators) == 1
    if not network.operators and (alone or len(shape) == 3 != len(network.input.shape)):
        network.input = replace(network.input, shape=image_shape(shape))
    return replace(x, shape=shape)


def quantize(network: Network, op: FileOperator, name: str) -> Value | Probabilities:
    """Of the input's floats, of what was dequantized, or from one scale to another."""
    source, y = op.source, op.outputs[0]
    value = network.values.get(source.index)
    if isinstance(value, RealInput):
        return network.quantized_input(value, y)
    if isinstance(value, Probabilities) and same_levels(value.like, y):
        return replace(value, like=y)
    x = network.read(op)
    if source.type == "float32":
        return network.looked_up(x, quantized(dequantized(network.numbers(x), x.like), y), y, name)
    kind = clipping(y, NONE)
    steps = requantized(-x.zero_point, (multiply([float(x.scale) / float(y.meaning[0])]),), y.meaning[1], kind)
    return Value(network.activate(x.tensor, steps, kind, name), y, x.shape)


def dequantize(network: Network, op: FileOperator, name: str) -> Value | Probabilities:
    """What the integers mean stays known; the floats are made by whoever reads the output."""
    value = network.values.get(op.source.index)
    return value if isinstance(value, Probabilities) else network.read(op)


def relu(network: Network, op: FileOperator, name: str) -> Value:
    x, y = network.read(op), op.outputs[0]
    function = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[op.kind]
    assert function in RANGES
    kind = clipping(y, function)
    real = float(x.scale / y.meaning[0])  # TFLite divides in float32 here
    steps = requantized(-x.zero_point, (multiply([real]),), y.meaning[1], kind)
    return Value(network.activate(x.tensor, steps, kind, name), y, x.shape)


def concatenation(network: Network, op: FileOperator, name: str) -> Value:
    """Channels side by side; uint8 operands of other scales are rescaled, as TFLite does in float32."""
    y = op.outputs[0]
    if not len(op.inputs):
        raise RefusalError("has no input", EXPORT)
    if op.option("FusedActivationFunction"):
        raise RefusalError("has a fused activation function", "put a RELU behind it")
    parts = [network.plain(network.read(op, i), f"{name}_input_{i + 1}") for i in range(len(op.inputs))]
    axis, rank = op.option("Axis"), len(y.shape)
    if axis % rank != rank - 1 or any(part.shape[:-1] != parts[0].shape[:-1] for part in parts):
        raise RefusalError(f"joins along axis {axis} of shape {list(y.shape)}", "only channels can be joined")
    # An image of one pixel may have been made flat: its channels are still the last axis.
    shapes = [part.tensor.shape for part in parts]
    if any(part.tensor.shape[-1] != part.shape[-1] for part in parts) or len({shape[:-1] for shape in shapes}) > 1:
        raise RefusalError(
            f"joins tensors that were computed in the shapes {', '.join(map(str, shapes))} and reshaped",
            "join them before the reshape",
        )
    joined = [aligned(network, part, y, f"{name}_scale_{i}") for i, part in enumerate(parts, 1)]
    name = network.unique(name)
    concat = Concat(name, tuple(part.tensor.name for part in joined), name)
    return Value(network.emit(concat, *(part.tensor for part in joined)), y, without_batch(y))


def aligned(network: Network, x: Value, y: FileTensor, name: str) -> Value:
    (scale, zero_point), (other, other_zero) = x.like.meaning, y.meaning
    if scale == other and zero_point == other_zero:
        return x
    if y.type != "uint8":
        raise RefusalError(f"joins {x.like.name!r} to {y.name!r} of another scale", "TFLite refuses this for int8")
    factor = scale * (np.float32(1) / other)
    offset = np.float32(-zero_point) * factor
    reals = network.numbers(x).astype(np.float32) * factor + offset
    kind = y.integers
    results = np.array([min(max(rounded(v) + other_zero, kind.lo), kind.hi) for v in reals], dtype=np.int64)
    return network.looked_up(x, results, y, name)


def softmax(network: Network, op: FileOperator, name: str) -> Probabilities:
    """The head, unless another one was asked for: then the network ends before, and any SOFTMAX will do."""
    x, y = network.read(op), op.outputs[0]
    if network.head not in (None, "softmax", "softmax_int8"):
        return Probabilities(x, y)
    if op.option("Beta") != 1:
        raise RefusalError(f"has beta {op.option('Beta')}", f"only 1 can be read; {SCORES}")
    if x.shape[-1] != x.tensor.size:
        raise RefusalError(
            f"works along the last axis of shape {x.shape}", f"it must work along all elements; {SCORES}"
        )
    kind = op.source.type
    hint = f"int8 of int8 or uint8 of uint8 can be read, of scale 1/256, from 0 to 255/256; {SCORES}"
    if y.type != kind or kind not in INTEGERS:
        raise RefusalError(f"makes {y.type} of {kind}", hint)
    scale, zero_point = y.meaning
    if (float(scale), zero_point) != (1 / 256, y.integers.lo):
        raise RefusalError(f"makes {y.type} of scale {scale}, zero point {zero_point}", hint)
    return Probabilities(x, y)


HANDLERS = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool_2d,
    "CONCATENATION": concatenation,
    "DEQUANTIZE": dequantize,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "PAD": pad,
    "PADV2": pad,
    "QUANTIZE": quantize,
    "RELU": relu,
    "RELU6": relu,
    "RELU_N1_TO_1": relu,
    "RESHAPE": reshape,
    "SOFTMAX": softmax,
}
