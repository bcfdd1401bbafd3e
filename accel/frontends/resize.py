"""Images made larger: Pad with a constant, Resize and Upsample to the nearest pixel by whole factors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from accel.frontends.builder import Builder, arguments, operand
from accel.frontends.elementwise import Values
from accel.frontends.errors import RefusalError
from accel.frontends.images import pixels, places, unquantized, zero_level
from accel.frontends.onnx_file import LARGEST, Node
from accel.frontends.values import Constant, Stream, Value
from accel.graph import Pad, Upsample

HALF = Fraction(1, 2)
ONLY_PIXELS = "only the height and width of an image can be made larger"
#: Where in ``n`` pixels output pixel ``i`` of ``n * f`` lies; the names are ONNX's.
COORDINATES: dict[str, Callable[[int, int, int], Fraction]] = {
    "asymmetric": lambda i, n, f: Fraction(i, f),
    "half_pixel": lambda i, n, f: (i + HALF) / f - HALF,
    "half_pixel_symmetric": lambda i, n, f: (i + HALF) / f - HALF,
    "pytorch_half_pixel": lambda i, n, f: (i + HALF) / f - HALF if n * f > 1 else Fraction(0),
    "tf_half_pixel_for_nn": lambda i, n, f: (i + HALF) / f,
    "align_corners": lambda i, n, f: Fraction(i * (n - 1), n * f - 1) if n * f > 1 else Fraction(0),
}
NEAREST: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
    "floor": math.floor,
    "ceil": math.ceil,
}


def pad(builder: Builder, node: Node, values: Values) -> Value:
    """Pad with a constant, by default 0; its operands are inputs or, in old files, attributes."""
    x_, pads_, number_, axes_ = arguments(values, 1, 4)
    x = operand(x_, Stream, "the input")
    mode, rank = node.text("mode", "constant"), len(x.shape)
    if mode != "constant":
        raise RefusalError(f"pads with the mode {mode!r}", "pad with a constant")
    given = node.integers("pads") if pads_ is None else operand(pads_, Constant, "the pads").integers("the pads")
    axes = tuple(range(rank)) if axes_ is None else operand(axes_, Constant, "the axes").integers("the axes")
    if given is None or len(given) != 2 * len(axes) or any(not -rank <= a < rank for a in axes):
        raise RefusalError(f"pads {list(given or ())} do not fit a tensor of shape {x.shape}")
    begin, end = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        begin[axis], end[axis] = given[position], given[len(axes) + position]
    if not any((*begin, *end)):
        return x
    last, sides = _sides(rank, [a or b for a, b in zip(begin, end, strict=True)])
    if min(*begin, *end) < 0:
        raise RefusalError(f"cuts pixels off with the pads {list(given)}", "pads must be at least 0")
    number = Fraction(node.number("value", 0.0))
    if number_ is not None:
        number = operand(number_, Constant, "the value").scalar("the value")
    x, source = pixels(builder, x, last=last)
    (top, left), (bottom, right) = ((0, *(side[a] for a in sides))[-2:] for side in (begin, end))
    name = builder.unique(node.name)
    value = zero_level(x, source.type, number)
    padded = builder.emit(Pad(name, (source.name,), name, (top, left, bottom, right), value), source)
    return replace(x, source=padded, index=places(padded, rank, last=last), levels=padded.type, name=name)


def resize(builder: Builder, node: Node, values: Values) -> Value:
    """Resize and Upsample: each pixel repeated, whichever of ONNX's ways to say so the file has."""
    x_, *rest = arguments(values, 1, 4)
    x = operand(x_, Stream, "the input")
    first = node.operator == "Upsample" or len(values) == 2  # operator sets before 11
    scales_, sizes_ = (rest[0], None) if first else (rest[1], rest[2])
    if node.text("mode", "nearest") != "nearest":
        raise RefusalError(f"has the mode {node.text('mode', '')!r}", "only nearest can be read")
    if sizes_ is not None:
        sizes = operand(sizes_, Constant, "the sizes").exact()
        if sizes.shape != (len(x.shape),):
            raise RefusalError(f"sizes {[str(s) for s in sizes]} do not fit a tensor of shape {x.shape}")
        scales = sizes / np.array(x.shape)
    elif scales_ is not None:
        scales = operand(scales_, Constant, "the scales").exact()
    else:
        scales = np.array([Fraction(v) for v in node.attributes.get("scales", [])], dtype=object)
    if scales.shape != (len(x.shape),) or any(s.denominator != 1 or s < 1 for s in scales):
        raise RefusalError(
            f"changes shape {x.shape} by the factors {[str(s) for s in scales]}", "only whole factors can be read"
        )
    if math.prod(x.shape) * math.prod(scales) > LARGEST:
        raise RefusalError(f"makes more than {LARGEST} elements of shape {x.shape}", "change the model")
    if all(s == 1 for s in scales):
        return x
    last, sides = _sides(len(x.shape), [s != 1 for s in scales])
    where = "asymmetric" if first else node.text("coordinate_transformation_mode", "half_pixel")
    which = "floor" if first else node.text("nearest_mode", "round_prefer_floor")
    for axis in sides:
        _check_repeats(where, which, x.shape[axis], int(scales[axis]))
    across, down = (int(scales[axis]) for axis in (*reversed(sides), 0)[:2])  # a 1-D network has no rows: axis 0 is 1
    rank = len(x.shape)
    x, source = unquantized(builder, x, last=last)
    name = builder.unique(node.name)
    larger = builder.emit(Upsample(name, (source.name,), name, (down, across)), source)
    return replace(x, source=larger, index=places(larger, rank, last=last), name=name)


def _sides(rank: int, changed: list[object]) -> tuple[bool, tuple[int, ...]]:
    """Whether the channels come last, which shows in what changes, and the axes of the image's sides."""
    if rank not in (3, 4) or changed[0] or (changed[1] and changed[-1]):
        raise RefusalError(f"changes the axes {[a for a, c in enumerate(changed) if c]} of {rank}", ONLY_PIXELS)
    last = bool(changed[1])
    return last, tuple(range(1, rank - 1) if last else range(2, rank))


def _check_repeats(where: str, which: str, size: int, factor: int) -> None:
    """Raises RefusalError where the nearest pixels are not each pixel ``factor`` times."""
    if where not in COORDINATES or which not in NEAREST:
        raise RefusalError(
            f"has the modes {where!r} and {which!r}", f"use one of {', '.join((*COORDINATES, *NEAREST))}"
        )
    for i in range(size * factor):
        if min(max(NEAREST[which](COORDINATES[where](i, size, factor)), 0), size - 1) != i // factor:
            raise RefusalError(
                f"takes pixels with the modes {where!r} and {which!r} that are not each pixel {factor} times",
                "export with coordinate_transformation_mode asymmetric and nearest_mode floor",
            )


HANDLERS = {"Pad": pad, **dict.fromkeys(("Resize", "Upsample"), resize)}
