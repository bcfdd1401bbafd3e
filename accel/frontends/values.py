"""What a tensor of the file stands for while it is read: a constant, or a function of a graph tensor's integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from accel.frontends.errors import RefusalError
from accel.frontends.onnx_file import LARGEST
from accel.graph import Affine, IntType, Tensor
from accel.graph.steps import Clip, Linear, Step, evaluate, rationals

ONE, ZERO = rationals([1]), rationals([0])
CLIP_LATER = "quantize the input before it is clipped, or say what integers the wire carries (Encoding)"
LONGEST = 2**14  # bits of a numerator or denominator; single numbers of a file have at most 2**11, roots 2**12
BEYOND = 1 << 4 * LONGEST  # stays beyond whatever such numbers do to it


def checked(numbers: np.ndarray) -> np.ndarray:
    """The same Fractions; refused when arithmetic has made them too long to work with."""
    if any(n.numerator.bit_length() > LONGEST or n.denominator.bit_length() > LONGEST for n in numbers.flat):
        raise RefusalError("its constants need numbers that are too long", "fold the constants before exporting")
    return numbers


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape by ONNX's rules."""
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise RefusalError(f"shapes {' and '.join(map(str, shapes))} do not match") from None
    if math.prod(shape) > LARGEST:
        raise RefusalError(f"makes a tensor of shape {shape}", f"at most {LARGEST} elements fit")
    return shape


def numbered(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different Fractions in an array, and an array of its shape that says which is where."""
    found: dict[Fraction, int] = {}
    which = np.array([found.setdefault(n, len(found)) for n in numbers.flat], dtype=np.int64)
    return rationals(list(found)), which.reshape(numbers.shape)


def per_channel(distinct: np.ndarray, which: np.ndarray, channels: int) -> np.ndarray:
    """Constants of all elements in raster order (``distinct[which]``) as those of each channel, or one for all.

    Raises RefusalError where they differ between the pixels of an image.
    """
    if distinct.size == 1:
        return distinct
    pixels = which.reshape(-1, channels)
    if (pixels != pixels[0]).any():
        raise RefusalError(
            "has constants that differ between the pixels of an image", "use one constant for each channel"
        )
    return distinct[pixels[0]]


@dataclass(frozen=True, eq=False)
class Constant:
    """The exact numbers ``numbers * scale``.

    ``numbers`` are as the file has them, or integers, or Fractions; ``scale`` holds Fractions and has as many
    dimensions, each of them 1 or the same.
    """

    numbers: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray) -> Constant:
        return cls(numbers, ONE.reshape((1,) * numbers.ndim))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def is_plain(self) -> bool:
        """Whether the values are just ``numbers``."""
        return self.scale.size == 1 and self.scale.item() == 1

    @property
    def is_integer(self) -> bool:
        """Whether the file (or its arithmetic) has these as integers."""
        return self.is_plain and self.numbers.dtype.kind in "iu"

    def exact(self) -> np.ndarray:
        """The values as Fractions; a scalar as an array of shape (1,), since numpy unpacks what has no dimension."""
        try:
            values = rationals(self.numbers)
        except (ValueError, OverflowError):
            raise RefusalError("a constant holds NaN or infinity") from None
        return np.atleast_1d(values) * np.atleast_1d(self.scale)

    def scalar(self, what: str) -> Fraction:
        if self.numbers.size != 1:
            raise RefusalError(f"{what} must be one number, not a tensor of shape {self.shape}")
        return self.exact().item()

    def integers(self, what: str) -> tuple[int, ...]:
        """The values of a vector (or scalar) of integers, such as a shape."""
        if self.numbers.ndim > 1 or self.numbers.size > 64:
            raise RefusalError(f"{what} must be a vector of integers, not a tensor of shape {self.shape}")
        values = self.exact().ravel()
        if any(v.denominator != 1 or abs(v) >= 2**63 for v in values):
            raise RefusalError(f"{what} must be integers, not {[str(v) for v in values]}")
        return tuple(map(int, values))

    def arranged(self, change: Callable[[np.ndarray], np.ndarray], *, whole_axes: bool = False) -> Constant:
        """With elements moved by a change of layout; ``whole_axes`` says that it moves, adds or drops only axes."""
        scale = self.scale if self.scale.size == 1 or whole_axes else np.broadcast_to(self.scale, self.shape)
        scale = scale if scale.size == 1 else change(scale)
        numbers = change(self.numbers)
        return Constant(numbers, scale.reshape((1,) * numbers.ndim) if scale.size == 1 else scale)

    def times(self, factor: Constant) -> Constant:
        """The product; the integers of the larger operand stay integers."""
        shape = broadcast(self.shape, factor.shape)
        big, small = (self, factor) if self.numbers.size >= factor.numbers.size else (factor, self)
        product = np.atleast_1d(big.scale) * small.exact()
        numbers = big.numbers.reshape((1,) * (len(shape) - big.numbers.ndim) + big.shape)
        if numbers.shape != shape:
            return Constant.of(checked(rationals(big.numbers) * product).reshape(shape))
        full = (1,) * len(shape) + product.shape
        return Constant(numbers, checked(product).reshape(full[len(full) - len(shape) :]))


@dataclass(frozen=True, eq=False)
class Stream:
    """``scale * steps(q) + offset`` of the integers ``q`` of the graph tensor ``source``, rearranged by ``index``.

    ``index`` has the shape of the file's tensor and tells which element of the source (in raster order) each of its
    elements is. Arrays of the steps, ``scale`` and ``offset`` have shape (1,) or (channels,), channels being the
    source's innermost dimension: all elements of a vector. ``levels`` is the type of ``steps(q)`` where that is an
    integer, otherwise None. ``source`` is None for an input before its first quantizer; ``open`` says that what the
    wire carries may still be narrowed by a Clip. The input is a vector in the file's order until an operator reads it
    as an image (``images``). ``before`` is the scale and offset that its first quantizer found already applied.
    """

    source: Tensor | None
    index: np.ndarray
    steps: tuple[Step, ...] = ()
    levels: IntType | None = None
    scale: np.ndarray = field(default_factory=lambda: ONE)
    offset: np.ndarray = field(default_factory=lambda: ZERO)
    open: bool = False
    name: str = ""
    before: tuple[np.ndarray, np.ndarray] = (ONE, ZERO)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape

    @property
    def channels(self) -> int:
        return self.index.size if self.source is None else self.source.shape[-1]

    def channelwise(self, numbers: np.ndarray) -> np.ndarray:
        """Constants that broadcast against the file's tensor, one for each channel of the source, or one for all."""
        if numbers.size == 1:
            return numbers.reshape(1)
        distinct, which = numbered(numbers)
        ordered = np.empty(self.index.size, dtype=np.int64)
        ordered[self.index.ravel()] = np.broadcast_to(which, self.shape).ravel()
        return per_channel(distinct, ordered, self.channels)

    def per_element(self, numbers: np.ndarray) -> np.ndarray:
        """Constants of shape (1,) or (channels,) for each element of the file's tensor, in its shape (or (1,))."""
        return numbers if numbers.size == 1 else numbers[self.index % self.channels]

    def relaid(self, order: np.ndarray) -> Stream:
        """The same of an image: ``order``, of shape (H, W, C), tells which element of the source is where in it."""
        assert self.source is not None
        position = np.empty(order.size, dtype=np.int64)
        position[order.ravel()] = np.arange(order.size)

        def moved(numbers: np.ndarray) -> np.ndarray:
            if numbers.size == 1:
                return numbers
            distinct, which = numbered(numbers)
            return per_channel(distinct, which[order.ravel()], order.shape[-1])

        def step(old: Step) -> Step:
            if isinstance(old, Linear):
                return Linear(moved(old.scale), moved(old.offset))
            if isinstance(old, Clip):
                return Clip(*(None if bound is None else moved(bound) for bound in (old.lo, old.hi)))
            return old

        source, affine = self.source, self.source.affine
        if affine is not None:
            affine = Affine(*(tuple(moved(rationals(v))) for v in (affine.scale, affine.offset)))
        return replace(
            self,
            source=replace(source, shape=order.shape, affine=affine),
            index=position[self.index],
            steps=tuple(map(step, self.steps)),
            scale=moved(self.scale),
            offset=moved(self.offset),
        )

    def joined(self, *constants: np.ndarray) -> Stream:
        """The stream in the shape that it has after an operation with these constants."""
        shape = broadcast(self.shape, *(c.shape for c in constants if c.shape != (1,)))
        if math.prod(shape) != self.index.size:
            raise RefusalError(
                f"repeats a tensor of shape {self.shape} to shape {shape}",
                "only constants are repeated: change the model",
            )
        return replace(self, index=self.index.reshape(shape))

    def linear(self, scale: np.ndarray = ONE, offset: np.ndarray = ZERO) -> Stream:
        """``x * scale + offset``."""
        return self.closed().dequantized(scale, offset)

    def dequantized(self, scale: np.ndarray, offset: np.ndarray) -> Stream:
        """The same as a quantizer states it: where it is the input's, this is what the integers on the wire mean."""
        stream = self.joined(scale, offset)
        scale, offset = stream.channelwise(scale), stream.channelwise(offset)
        return replace(stream, scale=checked(stream.scale * scale), offset=checked(stream.offset * scale + offset))

    def closed(self) -> Stream:
        """From here on nothing more is known of the wire: its integers mean what they mean at this point."""
        if not self.open or self.source is None:
            return self
        scale, offset = self.before
        if any(s == 0 for s in scale):
            raise RefusalError("multiplies the input by zero")
        meaning = Affine(tuple(checked(self.scale / scale)), tuple(checked((self.offset - offset) / scale)))
        return replace(self, source=replace(self.source, affine=meaning), open=False)

    def real(self) -> Stream:
        """The same function without the trailing scale and offset, as they have become a step."""
        stream = self.closed()
        scale, offset, steps = stream.scale, stream.offset, stream.steps
        if all(s == 1 for s in scale) and all(o == 0 for o in offset):
            return stream
        if steps and isinstance(steps[-1], Linear):
            scale, offset = checked(steps[-1].scale * scale), checked(steps[-1].offset * scale + offset)
            steps = steps[:-1]
        return replace(stream, steps=(*steps, Linear(scale, offset)), levels=None, scale=ONE, offset=ZERO)

    def quantized(self, steps: tuple[Step, ...], levels: IntType, name: str, before: Stream) -> Stream:
        """The integers that a quantizer's steps make of this, which is ``before`` in the quantizer's units.

        A Clip before them leaves some levels only, as a rising function of the clipped number is the clipped function.
        Of the input's first quantizer, these are what the wire carries.
        """
        stream = self.real()
        if any(isinstance(step, Clip) for step in stream.steps):
            levels = stream._left(steps, levels)
        if self.source is None:
            wire = Tensor("", (self.index.size,), levels)
            return Stream(wire, self.index, levels=levels, open=True, name=name, before=(before.scale, before.offset))
        return replace(stream, steps=(*stream.steps, *steps), levels=levels, name=name)

    def _left(self, steps: tuple[Step, ...], levels: IntType) -> IntType:
        """The levels that are reached through Clips and a quantizer's steps; all of these are monotone."""
        ends = evaluate((*self.steps, *steps), rationals([[-BEYOND], [BEYOND]]))
        lo, hi = ends.min(axis=0), ends.max(axis=0)
        if self.source is None and ((lo != lo[0]).any() or (hi != hi[0]).any()):
            raise RefusalError("reads the input clipped to other levels in each channel", CLIP_LATER)
        if lo.min() < hi.max():
            return IntType(int(lo.min()), int(hi.max()), levels.step)
        if self.source is None:
            raise RefusalError(f"reads the input clipped to the one level {lo[0]}", CLIP_LATER)
        return levels  # there are no wires of no width

    def clip(self, lo: Fraction | None, hi: Fraction | None, name: str) -> Stream:
        """``min(max(x, lo), hi)``. Where both bounds are levels of the integers, the result has integers as well."""
        if self.source is None and (any(s != 1 for s in self.scale) or any(o != 0 for o in self.offset)):
            raise RefusalError("clips the input after it was scaled and before its first quantizer", CLIP_LATER)
        grid = None if self.levels is None else self._on_grid(self.levels, lo, hi)
        if grid is None:
            stream = self.real()
            bounds = (None if bound is None else rationals([bound]) for bound in (lo, hi))
            return replace(stream, steps=(*stream.steps, Clip(*bounds)), levels=None)
        levels, low, high = grid
        if all(v == low[0] for v in low) and all(v == high[0] for v in high):
            if levels == self.levels:
                return self
            if self.open and not self.steps and self.source is not None:
                return replace(self, source=replace(self.source, type=levels), levels=levels)
            low, high = low[:1], high[:1]
        step = Clip(rationals(low), rationals(high))
        return replace(self.closed(), steps=(*self.steps, step), levels=levels, name=name)

    def _on_grid(
        self, levels: IntType, lo: Fraction | None, hi: Fraction | None
    ) -> tuple[IntType, np.ndarray, np.ndarray] | None:
        """The clipped levels and, for each channel, the bounds as integers; None when a bound is not a level."""
        if any(s == 0 for s in self.scale) or (lo is not None and hi is not None and lo > hi):
            return None
        pairs = []
        for scale, offset in zip(*np.broadcast_arrays(self.scale, self.offset), strict=True):
            ends = [None if bound is None else (bound - offset) / scale for bound in (lo, hi)]
            if any(end is not None and end.denominator != 1 for end in ends):
                return None
            low, high = ends if scale > 0 else reversed(ends)
            if low is None:
                low = levels.lo if high is None else min(levels.lo, high)
            pairs.append((int(low), max(levels.hi, int(low)) if high is None else int(high)))
        low, high = np.array(pairs, dtype=object).T
        bottom = min(min(max(levels.lo, a), b) for a, b in pairs)
        top = max(min(max(levels.hi, a), b) for a, b in pairs)
        kept = (bottom, top) == (levels.lo, levels.hi) or levels.step == 1
        return IntType(bottom, top, levels.step if kept else 1), low, high


@dataclass(frozen=True, eq=False)
class Headed:
    """The end of the network: what Softmax, ArgMax or TopK made of the scores."""

    scores: Stream
    head: str


Value = Constant | Stream | Headed
