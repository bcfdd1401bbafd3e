"""Activations of numbers that pass: the threshold and requantize units with constants that repeat with the channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from amaranth.hdl import Const, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.narrow import Constants, narrow, signed_bits
from accel.dataflow.pipeline import Activation
from accel.dataflow.timing import unit, unit_latency_alone
from accel.graph import GraphError, IntType, Requantize, Threshold
from accel.rtl.constants import RequantizeImage, ThresholdImage, upright, whole
from accel.rtl.plan import Code
from accel.rtl.requantize import RequantizeUnit
from accel.rtl.streams import element, flip_sign
from accel.rtl.threshold import ParallelThreshold, SearchThreshold, ThresholdUnit


def numbers(kind: IntType) -> Shape:
    """The wires of a number of type ``kind`` (not of an element: those of bipolar ones are a single bit)."""
    width = signed_bits(kind.lo, kind.hi)
    return signed(width) if kind.signed else unsigned(max(width - 1, 1))


@dataclass(frozen=True)
class ActivationPlan:
    """Constants of an activation of ``lanes`` neighbouring numbers of type ``kind`` at once.

    Beat ``b`` of a frame uses those of ``phase`` ``b % phases``, in which lane ``i`` has channel
    ``(b * lanes + i) % channels``.
    """

    function: Activation | None
    kind: IntType
    lanes: int

    @property
    def channels(self) -> int:
        if self.function is None:
            return 1
        constants = self.function.thresholds if isinstance(self.function, Threshold) else self.function.multiplier
        return len(constants)

    @property
    def phases(self) -> int:
        return self.channels // gcd(self.channels, self.lanes)

    @property
    def channel(self) -> np.ndarray:
        """The channel of each phase and lane, shape (phases, lanes)."""
        return channel_of(self.phases, self.lanes, self.channels)

    def thresholds(self, function: Threshold) -> ThresholdImage:
        """Thresholds on the numbers themselves."""
        lo, hi = self.kind.lo, self.kind.hi + 1
        if function.falling.any():
            lo, hi = min(lo, -hi), max(hi, -lo)
        width = signed_bits(lo, hi)
        steps = max(function.thresholds.shape[1], 1)
        if unit(function) == "search":
            steps = (1 << steps.bit_length()) - 1
        falling = np.asarray(function.falling, dtype=bool)
        bounded = np.clip(function.thresholds, self.kind.lo, self.kind.hi + 1)
        rows = upright(bounded, falling, steps=steps, never=(1 << (width - 1)) - 1)
        return ThresholdImage(rows[self.channel], falling[self.channel], width)

    def requantization(self, function: Requantize) -> RequantizeImage:
        """Multipliers and biases of the numbers themselves, made narrow."""
        lo, hi = (np.full(self.channels, end) for end in (self.kind.lo, self.kind.hi))
        width = signed_bits(self.kind.lo, self.kind.hi)
        narrowed = narrow(Constants.of(function, lo, hi), width=width)
        return RequantizeImage.of(narrowed, lambda values, fill=0: whole(values)[self.channel], [function])

    def images(self) -> dict[str, list[int]]:
        """The memories of the unit by name, a number a word."""
        if isinstance(self.function, Threshold):
            return self.thresholds(self.function).memories(search=unit(self.function) == "search")
        return {} if self.function is None else {"requantization": self.requantization(self.function).words()}


class Activate(wiring.Component):
    """The activation of neighbouring numbers of type ``kind``, as `ActivationPlan` has it; None: they pass as they are.

    ``phase`` comes in one cycle, the numbers ``x`` in the next, the elements ``y`` of type ``sink`` follow ``latency``
    cycles after ``x``; a beat every cycle. ``name`` is the node's, for errors.
    """

    def __init__(self, name: str, function: Activation | None, *, kind: IntType, sink: IntType, lanes: int) -> None:
        out = kind if function is None else function.out
        if out != sink:
            raise GraphError(f"{name}: gives {out}, but its sink takes {sink}")
        self.plan, self.sink = ActivationPlan(function, kind, lanes), sink
        self.phases = self.plan.phases
        self.latency = 0 if function is None else unit_latency_alone(function)
        super().__init__(
            {
                "phase": In(range(self.phases)),
                "x": In(data.ArrayLayout(numbers(kind), lanes)),
                "y": Out(data.ArrayLayout(element(sink), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, function = self.plan, self.plan.function
        if function is None:
            for i in range(plan.lanes):
                m.d.comb += self.y[i].eq(self.x[i] > 0 if self.sink.is_bipolar else self.x[i])
            return m
        unit_: ThresholdUnit | RequantizeUnit
        offset = 0
        if isinstance(function, Threshold):
            image = plan.thresholds(function)
            unit_ = SearchThreshold(image) if unit(function) == "search" else ParallelThreshold(image)
            # levels count from the lowest one of the function, codes from the lowest one of the type
            code = Code.of(self.sink)
            offset = (function.out.lo - code.base) // code.step
        else:
            unit_ = RequantizeUnit(plan.requantization(function), width=signed_bits(plan.kind.lo, plan.kind.hi))
        m.submodules.unit = unit_
        m.d.comb += unit_.address.eq(self.phase)
        for i in range(plan.lanes):
            bits = Signal(self.sink.width, name=f"y{i}")
            value: Value = unit_.y[i] + Const(offset)
            m.d.comb += [unit_.x[i].eq(self.x[i]), bits.eq(value), self.y[i].eq(flip_sign(bits, self.sink))]
        return m


def channel_of(phases: int, lanes: int, channels: int) -> np.ndarray:
    """The channel of each phase and lane, shape (phases, lanes)."""
    return (np.arange(phases)[:, None] * lanes + np.arange(lanes)) % channels
