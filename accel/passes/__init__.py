"""Passes: from Graph to Graph, equal on every input."""

from accel.passes.lowering import lower

__all__ = ["lower"]
