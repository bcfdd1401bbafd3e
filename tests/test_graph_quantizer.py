"""The quantizer of float32 numbers equals TFLite's reference QUANTIZE, on ties, and wherever that is defined."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from tflite_networks import Network, Reference

from accel.graph import Affine, GraphError, IntType, Quantizer

TYPES = {"int8": IntType(-128, 127), "uint8": IntType(0, 255)}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("scale", [0.39101523, 0.0039215686, 1.0, 3.7e-8, 1.1e9])
def test_equal_to_the_reference_kernel(kind: str, scale: float) -> None:
    count = 20_000
    rng = np.random.default_rng(3)
    exact, type_ = float(np.float32(scale)), TYPES[kind]
    for zero_point in (type_.lo, type_.hi, int(rng.integers(type_.lo, type_.hi))):
        network = Network()
        network.inputs = [network.tensor((1, count), "float32")]
        y = network.op("QUANTIZE", network.inputs, network.tensor((1, count), kind, scale, zero_point))
        network.outputs = [y]
        steps = rng.uniform(-300, 300, count)
        steps[::4] = np.round(steps[::4] * 2) / 2
        steps[1::4] = np.round(steps[1::4] * 2) / 2 + rng.choice([-1, 1], count // 4) * 2.0**-24
        steps[2::4] *= 2.0 ** rng.integers(-60, 22, count // 4)  # beyond 2**31 the kernel's result is undefined
        x = (exact * steps).astype(np.float32)
        reference = Reference(network.content())
        reference.run(x)
        assert Quantizer(exact, zero_point, type_)(x).tolist() == reference.tensor(y).tolist()


def test_beyond_all_integers() -> None:
    quantizer = Quantizer(0.5, 3, IntType(-300, 300))
    x = np.array([[np.inf, -np.inf, 3e38], [-3e38, -0.0, 1e-45]], np.float32)
    assert quantizer(x).tolist() == [[300, -300, 300], [-300, 3, 3]]
    with pytest.raises(GraphError, match=r"^element 4 is not a number$"):
        quantizer(np.array([[0, 0, 0], [0, np.nan, np.nan]]))


def test_of_a_meaning() -> None:
    scale = Fraction(float(np.float32(0.3)))
    meaning = Affine((scale,), (-7 * scale,))
    assert Quantizer.of(meaning, IntType(0, 255)) == Quantizer(float(scale), 7, IntType(0, 255))
    assert Quantizer.of(None, IntType(0, 255)) == Quantizer(1.0, 0, IntType(0, 255))
    what = "a quantizer of float32 numbers needs "
    for affine, kind, message in (
        (Affine((scale, scale)), IntType(0, 255), "one scale and one zero point for all channels"),
        (Affine((scale,), (scale / 2,)), IntType(0, 255), "an integer as zero point, not -0.5"),
        (Affine((Fraction(1, 3),)), IntType(0, 255), f"a positive float32 as scale, not {1 / 3!r}"),
        (
            Affine((scale,), (-7 * scale,)),
            IntType(0, 6),
            "a type of at most 16 bits that holds its zero point, not u3[0..6] and 7",
        ),
        (Affine(), IntType(0, 2**17), "a type of at most 16 bits that holds its zero point, not "),
        (Affine(), IntType.bipolar(), "a type of at most 16 bits that holds its zero point, not bipolar "),
    ):
        with pytest.raises(GraphError, match="^" + re.escape(what + message)):
            Quantizer.of(affine, kind)
