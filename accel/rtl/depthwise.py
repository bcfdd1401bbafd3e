"""Depthwise convolutions: channels side by side, each with multipliers, a sum and weights of its own."""

from __future__ import annotations

from accel.dataflow.pipeline import DepthwiseNode
from accel.rtl.conv import SlidingUnit


class DepthwiseUnit(SlidingUnit):
    """Gateware of a DepthwiseNode. ``input`` and ``output`` are streams; frames may follow each other without a pause.

    A tile of ``pe`` channels is a group of its own, of one word.
    """

    def __init__(self, node: DepthwiseNode) -> None:
        super().__init__(node, tiles=node.folds[0], groups=node.folds[0])
