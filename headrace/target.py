"""What a verb works on: a model for a board and an engine, and the folder where all of it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import boards
from boards import Board
from models import registry
from models.registry import Entry

ENGINES = ("stream",)


class TargetError(ValueError):
    """An engine that does not exist; the message lists those that do."""


@dataclass(frozen=True)
class Target:
    """One build. ``out_dir`` is laid out as docs/contracts.md says ("The SoC")."""

    entry: Entry
    board: Board
    engine: str
    out_dir: Path

    @classmethod
    def of(cls, model: str, *, board: str, engine: str, out: Path | None = None) -> Target:
        """The build that a command line names. Raises `TargetError`, `BoardError` or `RegistryError`."""
        if engine not in ENGINES:
            raise TargetError(f"ENGINE must be {' or '.join(ENGINES)}, not {engine!r}")
        hardware = boards.find(board)
        entry = registry.find(model)
        return cls(entry, hardware, engine, out or Path("build") / f"{board}-{entry.name}-{engine}")

    @property
    def model_dir(self) -> Path:
        """The compiled model: accelerator.v, manifest.json, graph.npz."""
        return self.out_dir / "model"

    @property
    def soc_dir(self) -> Path:
        """soc.v, and the headers that LiteX generates."""
        return self.out_dir / "soc"

    @property
    def firmware_dir(self) -> Path:
        """firmware.bin, firmware.elf."""
        return self.out_dir / "firmware"

    @property
    def simulator(self) -> Path:
        """The simulated board, an executable."""
        return self.out_dir / "sim" / "Vsoc"
