"""One file a board: device, clock, pins, programmer, budget, flow.

`find` is how the rest of Headrace comes to a board; a new board is a new file here with a `Board` named ``BOARD``, and
by VARIANT=, in ``VARIANTS``, those of its variants, if it has any.
"""

from __future__ import annotations

import importlib
import pkgutil

from boards.board import FLOWS, Board, BoardError, Usb

__all__ = ["FLOWS", "Board", "BoardError", "Usb", "find", "names", "variants"]

_NO_BOARDS = ("board", "devices")


def names() -> list[str]:
    """The boards there are, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_BOARDS)


def find(name: str) -> Board:
    """The board that BOARD= names, or BOARD-VARIANT. Raises BoardError."""
    base, _, variant = name.partition("-")
    if base not in names():
        raise BoardError(f"BOARD must be one of {', '.join(names())}, not {name!r}")
    found = variants(base)
    if variant not in found:
        known = f"must be one of {', '.join(filter(None, found))}" if len(found) > 1 else "must be empty"
        raise BoardError(f"VARIANT of the board {base} {known}, not {variant!r}")
    return found[variant]


def variants(name: str) -> dict[str, Board]:
    """The boards of one of `names` by VARIANT=, which is empty for the first of them."""
    module = importlib.import_module(f"boards.{name}")
    return {"": module.BOARD} | getattr(module, "VARIANTS", {})
