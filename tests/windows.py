"""Random windows over random images, and single nodes around them."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from accel.dataflow.pipeline import ConvNode, DepthwiseNode, Image, Pipeline, PoolNode
from accel.dataflow.windows import least_capacity
from accel.graph import Conv, IntType, MaxPool, SumPool, Tensor, Window
from tests.pipelines import Draw, activations, int_types, pipeline_of, stream_of, values_of

LONGEST = 1000  # cycles of a frame, as Amaranth's simulator is slow
UP_TO = {n: st.integers(1, n) for n in range(1, 9)}


@st.composite
def windows(draw: Draw, most_pixels: int = 60) -> tuple[Window, Image]:
    """A window and an image (of one channel) that holds it at least once, both small."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (2, 2), (1, 4), (5, 1), (3, 2), (4, 3), (5, 5)]))
    stride = draw(UP_TO[3]), draw(UP_TO[3])
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3), (2, 2)]))
    pads = draw(st.one_of(st.just((0, 0, 0, 0)), st.tuples(*[st.integers(0, 3)] * 4)))
    window = Window(kernel, stride, dilation, pads)
    (eh, ew), (top, left, bottom, right) = window.extent, pads
    height = max(eh - top - bottom, 1) + draw(st.integers(0, 4))
    width = max(ew - left - right, 1) + draw(st.integers(0, 5))
    while height * width > most_pixels and (height > max(eh - top - bottom, 1) or width > max(ew - left - right, 1)):
        height, width = max(height - 1, eh - top - bottom, 1), max(width - 1, ew - left - right, 1)
    return window, Image(height, width, 1)


def divisors(n: int) -> list[int]:
    """All of them."""
    return [d for d in range(1, n + 1) if n % d == 0]


def capacities(window: Window, image: Image) -> st.SearchStrategy:
    """Least, by default and by number, and some more pixels."""
    least = least_capacity(window, image)
    return st.sampled_from([0, 0, least, least + 1, least + 2, least + 5, 2 * image.height * image.width])


@st.composite
def convs(draw: Draw, *, bipolar: bool = False) -> Pipeline:
    """One convolution, of any groups, with its activation; or one of bits, with more channels."""
    window, image = draw(windows())
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    groups, n, each = draw(st.sampled_from([1, 1, 1, 2, 3])), draw(st.integers(1, 4)), draw(st.integers(1, 7))
    n = draw(st.integers(1, 40)) if bipolar else n
    image = replace(image, channels=groups * n)
    types = st.just(IntType.bipolar()) if bipolar else int_types(16)
    x = Tensor("x", (image.height, image.width, image.channels), draw(types))
    kind = draw(types)
    weights = values_of(kind, rng, (groups * each, *window.kernel, n))
    pad = draw(st.sampled_from([1, -1] if bipolar else [0, 0, x.type.lo, x.type.hi, 1, -3]))
    conv = Conv("c", ("x",), "a", weights, kind, window, groups, pad)
    sums = conv.infer(x)
    activation = draw(activations("t", sums))
    y = sums if activation is None else activation.infer(sums)
    pe = draw(st.integers(1, each) if groups == 1 else st.sampled_from(divisors(each)))
    simd = draw(st.sampled_from([d for d in divisors(n) if n <= 5 * d]))
    drain = draw(st.sampled_from(divisors(gcd(pe, each))))
    multiplier = "lut" if bipolar else draw(st.sampled_from(["dsp", "dsp18", "lut"]))
    node = ConvNode(
        "conv", conv, activation, image, stream_of(x, simd), stream_of(y, drain), pe=pe, simd=simd,
        taps=min(draw(st.sampled_from([1, 1, 2, 3, 9])), window.taps), drain=drain,
        capacity=draw(capacities(window, image)), multiplier=multiplier,
        memory=draw(st.sampled_from(["bram", "lut"])), buffer=draw(st.sampled_from(["bram", "lut"])),
    )  # fmt: skip
    assume(max(node.steps, node.source.beats) <= LONGEST)
    return pipeline_of(x, (conv,) if activation is None else (conv, activation), (node,))


@st.composite
def depthwises(draw: Draw) -> Pipeline:
    """One depthwise convolution with its activation."""
    window, image = draw(windows())
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    channels = draw(st.integers(1, 6))
    image = replace(image, channels=channels)
    x = Tensor("x", (image.height, image.width, channels), draw(int_types(16)))
    kind = draw(int_types(16))
    pad = draw(st.sampled_from([0, 0, x.type.lo, x.type.hi, 1, -3]))
    weights = values_of(kind, rng, (channels, *window.kernel, 1))
    conv = Conv("c", ("x",), "a", weights, kind, window, channels, pad)
    sums = conv.infer(x)
    activation = draw(activations("t", sums))
    y = sums if activation is None else activation.infer(sums)
    pe = draw(st.sampled_from(divisors(channels)))
    drain = draw(st.sampled_from(divisors(pe)))
    node = DepthwiseNode(
        "conv", conv, activation, image, stream_of(x, pe), stream_of(y, drain), pe=pe,
        taps=min(draw(st.sampled_from([1, 1, 2, 3, 9])), window.taps), drain=drain,
        capacity=draw(capacities(window, image)), multiplier=draw(st.sampled_from(["dsp", "dsp18", "lut"])),
        memory=draw(st.sampled_from(["bram", "lut"])), buffer=draw(st.sampled_from(["bram", "lut"])),
    )  # fmt: skip
    assume(max(node.steps, node.source.beats) <= LONGEST)
    return pipeline_of(x, (conv,) if activation is None else (conv, activation), (node,))


@st.composite
def pools(draw: Draw) -> Pipeline:
    """One pool, of windows that overlap or not, with or without an activation."""
    window, image = draw(windows())
    kind = draw(st.sampled_from(["any", "apart", "whole"]))
    if kind == "apart":
        (kh, kw), (sh, sw) = window.kernel, window.stride
        window = Window(window.kernel, (max(kh, sh), max(kw, sw)))
        image = Image(max(image.height, kh), max(image.width, kw), 1)
    elif kind == "whole":
        window = Window((image.height, image.width))
    channels = draw(st.integers(1, 6))
    image = replace(image, channels=channels)
    x = Tensor("x", (image.height, image.width, channels), draw(int_types(16)))
    if draw(st.booleans()) and window.sees_everywhere(image.height, image.width):
        pool: MaxPool | SumPool = MaxPool("p", ("x",), "a", window)
    else:
        pool = SumPool("p", ("x",), "a", window, draw(st.sampled_from([0, 0, x.type.lo, x.type.hi, 5, -3])))
    results = pool.infer(x)
    activation = draw(activations("t", results))
    y = results if activation is None else activation.infer(results)
    lanes = draw(st.sampled_from(divisors(channels)))
    node = PoolNode(
        "pool", pool, activation, image, stream_of(x, lanes), stream_of(y, lanes),
        capacity=draw(capacities(window, image)), buffer=draw(st.sampled_from(["bram", "lut"])),
    )  # fmt: skip
    return pipeline_of(x, (pool,) if activation is None else (pool, activation), (node,))


def bipolar_conv(channels: int, outputs: int, window: Window, image: Image, rng: np.random.Generator) -> Conv:
    """A convolution of ones of either sign."""
    weights = values_of(IntType.bipolar(), rng, (outputs, *window.kernel, channels))
    return Conv("c", ("x",), "a", weights, IntType.bipolar(), window)
