"""One file a board: device, clock, pins, programmer, budget, flow.

`find` is how the rest of Headrace comes to a board; a new board is a new file here with a `Board` named ``BOARD``.
"""

from __future__ import annotations

import importlib
import pkgutil

from boards.board import Board, BoardError

__all__ = ["Board", "BoardError", "find", "names"]

_NO_BOARDS = ("board", "devices")


def names() -> list[str]:
    """The boards there are, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_BOARDS)


def find(name: str) -> Board:
    """The board that BOARD= names. Raises BoardError."""
    if name not in names():
        raise BoardError(f"BOARD must be one of {', '.join(names())}, not {name!r}")
    board = importlib.import_module(f"boards.{name}").BOARD
    assert isinstance(board, Board)
    return board
