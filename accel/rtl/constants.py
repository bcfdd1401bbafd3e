"""Constants of activation units as words of their memories, a word a group of lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accel.dataflow.narrow import Narrowed, is_shift, signed_bits
from accel.graph import Requantize


def pack(values: np.ndarray, width: int) -> list[int]:
    """One word a row: the columns' lowest ``width`` bits, the first column lowest."""
    bits = (values[..., None] >> np.arange(width)) & 1
    rows = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def upright(thresholds: np.ndarray, falling: np.ndarray, *, steps: int, never: int) -> np.ndarray:
    """Thresholds with which the level number is a count in falling channels too, filled up to ``steps`` with ``never``.

    The level of a falling channel is the number of thresholds ``t > s``, which is the number of ``-t <= ~s``.
    """
    rows = np.where(falling[:, None], -thresholds[:, ::-1], thresholds)
    return np.pad(rows, ((0, 0), (0, steps - rows.shape[1])), constant_values=never)


@dataclass(frozen=True)
class ThresholdImage:
    """Ascending thresholds, shape (groups, lanes, steps); which channels invert their input, shape (groups, lanes)."""

    thresholds: np.ndarray
    falling: np.ndarray
    width: int

    @property
    def steps(self) -> int:
        return int(self.thresholds.shape[2])

    @property
    def inverts(self) -> bool:
        """Whether any channel falls, so that the inverter exists."""
        return bool(self.falling.any())

    def memories(self, *, search: bool) -> dict[str, list[int]]:
        """The memories of a unit that compares at once, or of one that searches, by name, a number a word."""
        if not search:
            return {"thresholds": self.parallel()}
        lanes, depths = range(self.thresholds.shape[1]), range(self.steps.bit_length())
        return {f"thresholds_lane{lane}_bit{depth}": self.level(lane, depth) for lane in lanes for depth in depths}

    def parallel(self) -> list[int]:
        """A word a group: of each lane all thresholds, then (if any channel falls) the lanes' inversion bits."""
        words = pack(self.thresholds.reshape(len(self.thresholds), -1), self.width)
        if not self.inverts:
            return words
        position = self.thresholds.shape[1] * self.steps * self.width
        bits = pack(self.falling.astype(np.int64), 1)
        return [word | bit << position for word, bit in zip(words, bits, strict=True)]

    def level(self, lane: int, depth: int) -> list[int]:
        """Words at address ``bits found so far + group << depth``: the threshold to compare with next.

        At depth 0 the inversion bit (if any channel falls) stands above it.
        """
        stride = (self.steps + 1) >> depth
        at = np.arange(1 << depth) * stride + stride // 2 - 1
        words = pack(self.thresholds[:, lane, at].reshape(-1, 1), self.width)
        if depth == 0 and self.inverts:
            return [word | int(bit) << self.width for word, bit in zip(words, self.falling[:, lane], strict=True)]
        return words


def whole(values: np.ndarray) -> np.ndarray:
    """The values as int64, unless they are Python's integers already."""
    return values if values.dtype == object else values.astype(np.int64)


class Arrange(Protocol):
    """Puts the constants of all channels, shape (C,), where the unit has them: shape (groups, lanes)."""

    def __call__(self, values: np.ndarray, fill: int = 0) -> np.ndarray: ...


@dataclass(frozen=True)
class RequantizeImage:
    """Constants, shape (groups, lanes) each, of ``(s * multiplier + bias) >> shift`` with a sum of ``width`` bits.

    Where there are ``turns``, the bias is the one of ``uppers`` from ``s = turn`` on. The shift of those that are
    ``steep`` is smaller by ``drop``. With ``kept``, ``offset << grain`` is taken off ``s`` before all else, and the
    rest clamped to so many bits (`accel.dataflow.narrow`).
    """

    multipliers: np.ndarray
    biases: np.ndarray
    shift: int
    width: int
    layers: list[Requantize | None]
    turns: np.ndarray | None = None
    uppers: np.ndarray | None = None
    drop: int = 0
    steep: np.ndarray | None = None
    kept: int | None = None
    grain: int = 0
    offsets: np.ndarray | None = None

    @classmethod
    def of(cls, narrowed: Narrowed, arrange: Arrange, layers: list[Requantize | None]) -> RequantizeImage:
        """The constants of ``layers`` in the unit."""
        turned = any(a is not None and a.above is not None for a in layers)
        return cls(
            arrange(narrowed.multiplier, int(narrowed.multiplier[0])),
            arrange(narrowed.bias),
            narrowed.shift,
            signed_bits(*narrowed.totals),
            layers,
            turns=arrange(narrowed.turn) if turned else None,
            uppers=arrange(narrowed.upper) if turned else None,
            drop=narrowed.drop,
            steep=arrange(narrowed.steep) if narrowed.drop else None,
            kept=narrowed.kept,
            grain=narrowed.grain,
            offsets=arrange(narrowed.offset) if narrowed.offset.any() else None,
        )

    @property
    def constant(self) -> int | None:
        """The multiplier when all are the same power of two, so that no multiplier is needed."""
        return int(self.multipliers.max()) if is_shift(self.multipliers) else None

    @property
    def multiplier_width(self) -> int:
        """Bits of a multiplier in memory; none when it is a constant."""
        if self.constant is not None:
            return 0
        return signed_bits(int(self.multipliers.min()), int(self.multipliers.max()))

    @property
    def bias_width(self) -> int:
        """Bits of a bias, of either kind."""
        both = self.biases if self.uppers is None else np.stack([self.biases, self.uppers])
        return signed_bits(int(both.min()), int(both.max()))

    @property
    def turn_width(self) -> int:
        """Bits of a turn; none where there are none."""
        return 0 if self.turns is None else signed_bits(int(self.turns.min()), int(self.turns.max()))

    @property
    def offset_width(self) -> int:
        """Bits of an offset; none where there are none."""
        return 0 if self.offsets is None else signed_bits(int(self.offsets.min()), int(self.offsets.max()))

    @property
    def fields(self) -> dict[str, tuple[np.ndarray, int]]:
        """The constants in memory by name, each with its bits, in their order, the first one lowest in a word."""
        fields = {} if self.constant is not None else {"multiplier": (self.multipliers, self.multiplier_width)}
        fields["bias"] = self.biases, self.bias_width
        if self.turns is not None and self.uppers is not None:
            fields |= {"turn": (self.turns, self.turn_width), "upper": (self.uppers, self.bias_width)}
        if self.offsets is not None:
            fields["offset"] = self.offsets, self.offset_width
        if self.steep is not None:
            fields["steep"] = self.steep, 1
        return fields

    def words(self) -> list[int]:
        """A word a group: of each field, lowest first, the constants of all lanes."""
        words, at = [0] * len(self.biases), 0
        for values, width in self.fields.values():
            words = [word | field << at for word, field in zip(words, pack(values, width), strict=True)]
            at += values.shape[1] * width
        return words
