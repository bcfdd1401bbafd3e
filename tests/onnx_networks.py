"""ONNX files for tests: a builder, a generator for hypothesis, and an evaluator in rational arithmetic.

The evaluator follows the definitions of ONNX and QONNX literally, element by element, and shares nothing with `accel`.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"


@dataclass
class Network:
    """Nodes are appended by calling ``add``, which returns the output's name."""

    shape: tuple[int | str, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    channels_last: bool = False  # of the input, where it is an image

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(value)
        self.constants[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        return name

    def add(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> str:
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        domain = QONNX if operator in ("Quant", "BipolarQuant", "Trunc") else ""
        out = [f"{operator}_{len(self.nodes)}_out{i or ''}" for i in range(outputs)]
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, out, name=name, domain=domain, **attributes))
        return out[-1]

    def model(self, output: str, **changes: Any) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            changes.get("inputs", [helper.make_tensor_value_info("x", changes.get("kind", 1), self.shape)]),
            changes.get("outputs", [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]),
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets)

    def save(self, path: Path, output: str, **changes: Any) -> Path:
        path.write_bytes(self.model(output, **changes).SerializeToString())
        return path


def fractions(array: Any) -> np.ndarray:
    array = np.asarray(array)
    result = np.empty(array.shape, dtype=object)
    for i in np.ndindex(array.shape):
        result[i] = Fraction(array[i].item() if hasattr(array[i], "item") else array[i])
    return result


def half_away(x: Fraction) -> int:
    return math.floor(abs(x) + Fraction(1, 2)) * (1 if x > 0 else -1)


def half_towards(x: Fraction) -> int:
    return math.ceil(abs(x) - Fraction(1, 2)) * (1 if x > 0 else -1)


ROUNDING = {
    "ROUND": round,
    "HALF_EVEN": round,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "UP": lambda x: math.ceil(x) if x > 0 else math.floor(x),
    "DOWN": math.trunc,
    "ROUND_TO_ZERO": math.trunc,
    "HALF_UP": half_away,
    "HALF_DOWN": half_towards,
}


def apply(function: Any, *arrays: np.ndarray) -> np.ndarray:
    """The function of each element of the broadcast arrays."""
    wide = np.broadcast_arrays(*arrays)
    result = np.empty(wide[0].shape, dtype=object)
    for i in np.ndindex(wide[0].shape):
        result[i] = Fraction(function(*(a[i] for a in wide)))
    return result


def root(x: Fraction) -> Fraction:
    with decimal.localcontext(prec=400):
        return Fraction((decimal.Decimal(x.numerator) / decimal.Decimal(x.denominator)).sqrt())


def bounds(bits: int, signed: int, narrow: int) -> tuple[int, int]:
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def evaluate(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The network's output for one input, both as Fractions."""
    raw = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    values = {name: fractions(array) for name, array in raw.items()}
    values["x"] = x
    for node in model.graph.node:
        a = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        i = [values[name] if name else None for name in node.input]
        kind = raw[node.input[2]].dtype if node.op_type == "QuantizeLinear" else None
        values[node.output[-1]] = _evaluate(node.op_type, i, a, kind)
    return values[model.graph.output[0].name]


def _evaluate(operator: str, i: list[Any], a: dict[str, Any], kind: Any) -> np.ndarray:
    match operator:
        case "Add":
            return i[0] + i[1]
        case "Sub":
            return i[0] - i[1]
        case "Mul":
            return i[0] * i[1]
        case "Div":
            return i[0] / i[1]
        case "Neg":
            return -i[0]
        case "Relu":
            return apply(lambda v: max(v, 0), i[0])
        case "Clip":
            return apply(lambda v, lo, hi: min(max(v, lo), hi), *i)
        case "Identity" | "Cast":
            return i[0]
        case "Reshape":
            return i[0].reshape([int(v) for v in i[1]])
        case "Flatten":
            return i[0].reshape(1, -1)
        case "Transpose":
            return i[0].transpose(a.get("perm"))
        case "Unsqueeze":
            return np.expand_dims(i[0], tuple(int(v) for v in i[1]))
        case "Squeeze":
            return np.squeeze(i[0], tuple(int(v) for v in i[1]))
        case "MatMul":
            return i[0] @ i[1]
        case "Gemm":
            product = i[0] @ (i[1].T if a.get("transB") else i[1])
            return Fraction(a.get("alpha", 1.0)) * product + Fraction(a.get("beta", 1.0)) * i[2]
        case "BatchNormalization":
            scale, bias, mean, variance = (each.reshape(-1, *(1,) * (i[0].ndim - 2)) for each in i[1:])
            epsilon = Fraction(a["epsilon"])
            return (i[0] - mean) / apply(lambda v: root(v + epsilon), variance) * scale + bias
        case "Quant":
            x, scale, zero, bits = i
            lo, hi = bounds(int(bits.item()), a["signed"], a["narrow"])
            mode = ROUNDING[a.get("rounding_mode", b"ROUND").decode()]
            if bits.item() == 1 and a["signed"]:
                levels = apply(lambda v, s, z: 1 if v / s + z >= 0 else -1, x, scale, zero)
            else:
                levels = apply(lambda v, s, z: mode(min(max(v / s + z, Fraction(lo)), Fraction(hi))), x, scale, zero)
            return (levels - zero) * scale
        case "BipolarQuant":
            return apply(lambda v, s: s if v >= 0 else -s, *i)
        case "Trunc":
            x, scale, zero, from_bits, to_bits = i
            mode, factor = ROUNDING[a["rounding_mode"].decode()], 2 ** (from_bits.item() - to_bits.item())
            return (apply(lambda v, s, z: mode(Fraction(round(v / s + z)) / factor), x, scale, zero) - zero) * scale
        case "QuantizeLinear":
            info = np.iinfo(kind)
            return apply(lambda v, s, z: min(max(round(v / s) + z, int(info.min)), int(info.max)), *i)
        case "DequantizeLinear":
            return (i[0] - i[2]) * i[1]
        case "Concat":
            return np.concatenate(i, axis=a["axis"])
        case "Conv":
            return convolution(i[0], i[1], i[2] if len(i) > 2 else None, a)
        case "MaxPool" | "AveragePool":
            return pooling(i[0], a, largest=operator == "MaxPool")
        case "GlobalMaxPool" | "ReduceMax":
            axes = tuple(a.get("axes", range(2, i[0].ndim)))
            return i[0].max(axis=axes, keepdims=bool(a.get("keepdims", 1)))
        case "GlobalAveragePool" | "ReduceMean":
            axes = tuple(a.get("axes", range(2, i[0].ndim)))
            count = math.prod(i[0].shape[axis] for axis in axes)
            return i[0].sum(axis=axes, keepdims=bool(a.get("keepdims", 1))) / Fraction(count)
        case "Pad":
            pads = [int(v) for v in i[1]]
            widths = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
            return np.pad(i[0], widths, constant_values=i[2].item() if len(i) > 2 else Fraction(0))
        case "Resize":  # nearest, by whole factors
            for axis, factor in enumerate(i[2]):
                i[0] = i[0].repeat(int(factor), axis=axis)
            return i[0]
    raise NotImplementedError(operator)


def windows(size: tuple[int, ...], kernel: tuple[int, ...], a: dict[str, Any]) -> list[list[list[int]]]:
    """For each axis, for each output position: the input positions of the kernel's elements, inside or outside."""
    result = []
    for axis, (n, k) in enumerate(zip(size, kernel, strict=True)):
        stride, dilation = (a.get(name, [1] * len(size))[axis] for name in ("strides", "dilations"))
        begin, end = (a.get("pads", [0] * 2 * len(size))[axis + j] for j in (0, len(size)))
        extent = (k - 1) * dilation + 1
        if a.get("auto_pad", b"NOTSET").startswith(b"SAME"):
            missing = max((math.ceil(Fraction(n, stride)) - 1) * stride + extent - n, 0)
            begin = missing // 2 if a["auto_pad"] == b"SAME_UPPER" else missing - missing // 2
            end = missing - begin
        count = Fraction(n + begin + end - extent, stride) + 1
        count = math.ceil(count) if a.get("ceil_mode") else math.floor(count)
        if a.get("ceil_mode") and (count - 1) * stride >= n + begin:
            count -= 1
        result.append([[i * stride + j * dilation - begin for j in range(k)] for i in range(count)])
    return result


def convolution(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, a: dict[str, Any]) -> np.ndarray:
    geometry = windows(x.shape[2:], w.shape[2:], a)
    groups, outputs = a.get("group", 1), w.shape[0]
    y = np.full((1, outputs, *map(len, geometry)), Fraction(0), dtype=object)
    for place in np.ndindex(y.shape[2:]):
        for tap in np.ndindex(w.shape[2:]):
            pixel = tuple(axis[p][t] for axis, p, t in zip(geometry, place, tap, strict=True))
            if all(0 <= v < n for v, n in zip(pixel, x.shape[2:], strict=True)):
                for m in range(outputs):
                    g = m // (outputs // groups)
                    seen = x[(0, slice(g * w.shape[1], (g + 1) * w.shape[1]), *pixel)]
                    y[(0, m, *place)] += seen @ w[(m, slice(None), *tap)]
    return y if bias is None else y + bias.reshape(1, -1, *(1,) * len(geometry))


def pooling(x: np.ndarray, a: dict[str, Any], *, largest: bool) -> np.ndarray:
    geometry = windows(x.shape[2:], tuple(a["kernel_shape"]), a)
    y = np.empty((*x.shape[:2], *map(len, geometry)), dtype=object)
    for place in np.ndindex(y.shape[2:]):
        pixels = [
            tuple(axis[p][t] for axis, p, t in zip(geometry, place, tap, strict=True))
            for tap in np.ndindex(*a["kernel_shape"])
        ]
        inside = [p for p in pixels if all(0 <= v < n for v, n in zip(p, x.shape[2:], strict=True))]
        count = len(pixels) if a.get("count_include_pad") else len(inside)
        for c in range(x.shape[1]):
            values = [x[(0, c, *p)] for p in inside]
            y[(0, c, *place)] = max(values) if largest else sum(values, Fraction(0)) / count
    return y


#: Powers of two make ties, which is where wrong arithmetic shows.
POWERS = st.sampled_from([1.0, 0.5, 0.25, 2.0, 0.0625])
SCALES = POWERS | st.floats(0.015625, 3.0, width=32)
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, -0.25, 3.0]) | st.floats(-4.0, 4.0, width=32)


def vector(
    draw: st.DrawFn, elements: st.SearchStrategy[float], channels: int, per_channel: bool, sides: int = 0
) -> np.ndarray:
    if not per_channel:
        return np.float32(draw(elements))
    numbers = np.array(draw(st.lists(elements, min_size=channels, max_size=channels)), dtype=np.float32)
    return numbers.reshape(-1, *(1,) * sides)


def quantizer(draw: st.DrawFn, net: Network, x: str, *, widest: int = 10, channels: int = 0, sides: int = 0) -> str:
    """Appends one of the quantizers; ``channels`` allows scales per channel, before the last ``sides`` axes."""
    several = bool(channels) and draw(st.booleans())  # weights can take up different scales only if these are related
    scale = vector(draw, POWERS if several else SCALES, channels, several, sides)
    kind = draw(st.sampled_from(["Quant", "Quant", "BipolarQuant", "QCDQ", "Trunc"]))
    if kind == "BipolarQuant":
        return net.add("BipolarQuant", x, scale)
    if kind == "QCDQ":
        scale = np.float32(draw(SCALES))
        signed = draw(st.booleans())
        zero = np.array(
            draw(st.integers(-3, 3) if signed else st.integers(0, 5)), dtype=np.int8 if signed else np.uint8
        )
        q = net.add("QuantizeLinear", x, scale, zero)
        if draw(st.booleans()):
            lo, hi = bounds(draw(st.integers(2, 6)), signed, draw(st.booleans()))
            q = net.add("Clip", q, np.array(lo, dtype=zero.dtype), np.array(hi, dtype=zero.dtype))
        return net.add("DequantizeLinear", q, scale, zero)
    bits, signed = draw(st.integers(1, 6) | st.integers(1, widest)), draw(st.integers(0, 1))
    narrow = draw(st.integers(0, 1)) if bits > 1 else 0
    zero = np.float32(draw(st.sampled_from([0.0, 0.0, 1.0, -2.0])))
    mode = draw(st.sampled_from(sorted(ROUNDING)))
    out = net.add("Quant", x, scale, zero, np.float32(bits), signed=signed, narrow=narrow, rounding_mode=mode)
    if kind == "Trunc" and bits > 2:
        to = np.float32(draw(st.integers(1, bits - 1)))
        out = net.add(
            "Trunc", out, scale, zero, np.float32(bits), to, rounding_mode=draw(st.sampled_from(sorted(ROUNDING)))
        )
    return out


def weights(draw: st.DrawFn, net: Network, inputs: int, outputs: int) -> str:
    """A constant of shape (inputs, outputs), quantized in one of the ways that exporters have."""
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["Quant", "per channel", "BipolarQuant", "integers", "dyadic", "transposed"]))
    w = seed.normal(size=(inputs, outputs)).astype(np.float32)
    scale: Any = np.float32(draw(SCALES))
    integers = seed.integers(-8, 8, (inputs, outputs))
    match kind:
        case "BipolarQuant":
            return net.add("BipolarQuant", w, scale)
        case "integers":
            return net.add("DequantizeLinear", integers.astype(np.int8), scale, np.int8(draw(st.integers(-2, 2))))
        case "dyadic":
            return net.constant((integers * 0.125).astype(np.float32))
        case "transposed":
            scale = seed.choice([0.25, 0.3, 0.07], (outputs, 1)).astype(np.float32)
            q = net.add("Quant", w.T, scale, 0.0, 3.0, signed=1, narrow=1, rounding_mode="ROUND")
            return net.add("Transpose", q, perm=[1, 0])
        case "per channel":
            scale = seed.choice([0.25, 0.3, 0.07], (1, outputs)).astype(np.float32)
    return net.add(
        "Quant",
        w,
        scale,
        0.0,
        float(draw(st.integers(2, 8) | st.integers(9, 16))),
        signed=1,
        narrow=0,
        rounding_mode="ROUND",
    )


def function(draw: st.DrawFn, net: Network, x: str, channels: int, sides: int = 0) -> str:
    """Appends elementwise operators in any order."""
    for kind in draw(
        st.lists(st.sampled_from(["Add", "Sub", "Mul", "Div", "Neg", "Relu", "Clip", "BatchNorm"]), max_size=3)
    ):
        several = draw(st.booleans())
        number = vector(draw, NUMBERS, channels, several, sides)
        match kind:
            case "Add":
                x = net.add("Add", x, number) if draw(st.booleans()) else net.add("Add", number, x)
            case "Sub":
                x = net.add("Sub", x, number) if draw(st.booleans()) else net.add("Sub", number, x)
            case "Mul":
                x = net.add("Mul", x, np.where(number == 0, np.float32(0.75), number))
            case "Div":
                x = net.add("Div", x, np.where(number == 0, np.float32(3.0), number))
            case "Neg" | "Relu":
                x = net.add(kind, x)
            case "Clip":
                lo = draw(NUMBERS)
                x = net.add("Clip", x, np.float32(lo), np.float32(lo + draw(st.sampled_from([0.5, 2.0, 6.0]))))
            case "BatchNorm":
                scale, bias, mean = (vector(draw, NUMBERS, channels, True) for _ in range(3))
                variance = vector(draw, SCALES, channels, True)
                x = net.add(
                    "BatchNormalization", x, scale, bias, mean, variance, epsilon=draw(st.sampled_from([0.0, 1e-5]))
                )
    return x


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, str]:
    """Small networks of dense layers, and the name of their output."""
    inputs = draw(st.integers(1, 6))
    x = "x"
    net = Network((1, inputs))
    match draw(st.sampled_from(["flat", "image", "transposed"])):
        case "image":
            net.shape = ("N", 1, inputs, 2)
            inputs *= 2
            x = net.add("Flatten", quantizer(draw, net, x), axis=1)
        case "transposed":
            net.shape = (1, 2, inputs)
            x = net.add("Transpose", quantizer(draw, net, x), perm=[0, 2, 1])
            inputs *= 2
            x = net.add("Reshape", x, np.array([1, -1]))
        case _:
            x = quantizer(draw, net, x, widest=16, channels=inputs)
    layers = draw(st.integers(1, 3))
    for layer in range(layers):
        outputs = draw(st.integers(1, 5))
        w = weights(draw, net, inputs, outputs)
        bias = vector(draw, NUMBERS, outputs, True)
        x = net.add("Gemm", x, w, bias, alpha=0.5) if draw(st.booleans()) else net.add("MatMul", x, w)
        if layer < layers - 1 or draw(st.booleans()):
            x = quantizer(draw, net, function(draw, net, x, outputs), channels=outputs)
        elif draw(st.booleans()):
            x = net.add("Add", x, vector(draw, NUMBERS, outputs, True))
        inputs = outputs
    return net, x
