"""What a verb works on: a model for a board and an engine, and the folder where all of it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import boards
from accel.dataflow.budget import Budget
from boards import Board
from models import registry
from models.registry import Entry, Limits

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
    def of(cls, model: str, *, board: str, engine: str, out: Path | None = None, flow: str | None = None) -> Target:
        """The build that a command line names. ``flow`` is instead of the board's own.

        Raises `TargetError`, `BoardError` or `RegistryError`.
        """
        if engine not in ENGINES:
            raise TargetError(f"ENGINE must be {' or '.join(ENGINES)}, not {engine!r}")
        hardware = boards.find(board)
        if flow and flow != hardware.flow:
            if hardware.simulated or flow not in ("open", "vivado"):
                raise TargetError(f"FLOW of the board {board} must be {_flows(hardware)}, not {flow!r}")
            hardware = replace(hardware, flow=flow)
        entry = registry.find(model)
        return cls(entry, hardware, engine, out or Path("build") / f"{board}-{entry.name}-{engine}")

    @property
    def budget(self) -> Budget:
        """What the accelerator may take: what the board leaves, and no more than the model is to have."""
        budget, limits = self.board.budget, self.entry.limits or Limits()
        lut = budget.lut if limits.lut is None else min(budget.lut, limits.lut)
        bram36 = budget.bram36 if limits.bram36 is None else min(budget.bram36, limits.bram36)
        return replace(budget, lut=lut, bram36=bram36)

    @property
    def model_dir(self) -> Path:
        """The compiled model: accelerator.v, manifest.json, graph.npz."""
        return self.out_dir / "model"

    @property
    def soc_dir(self) -> Path:
        """soc.v, and the headers that LiteX generates."""
        return self.out_dir / "soc"

    @property
    def gateware_dir(self) -> Path:
        """For an FPGA: soc.v with the firmware inside, and its constraints."""
        return self.out_dir / "gateware"

    @property
    def bitstream_dir(self) -> Path:
        """For an FPGA: soc.bit, report.json, and what place and route keeps."""
        return self.out_dir / "bitstream"

    @property
    def bitstream(self) -> Path:
        """For an FPGA: what is loaded into it."""
        return self.bitstream_dir / "soc.bit"

    @property
    def firmware_dir(self) -> Path:
        """firmware.bin, firmware.elf."""
        return self.out_dir / "firmware"

    @property
    def simulator(self) -> Path:
        """The simulated board, an executable."""
        return self.out_dir / "sim" / "Vsoc"


def _flows(board: Board) -> str:
    return board.flow if board.simulated else "open or vivado"
