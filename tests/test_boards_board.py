"""Every board is found, and the SoC can be built for it."""

from __future__ import annotations

from pathlib import Path

import pytest

import boards
from accel.dataflow.budget import Budget
from boards.devices import ROUTABLE_LUT, SOC, XC7A100T, left_for_accelerator
from soc import generate


def test_every_board(tmp_path: Path) -> None:
    assert "sim" in boards.names()
    for name in boards.names():
        board = boards.find(name)
        assert board.name == name and board.title and board.device and board.flow
        assert min(board.budget.lut, board.budget.ff, board.budget.bram36, board.budget.dsp) > 0
        accelerator = tmp_path / "accelerator.v"
        accelerator.write_text("module headrace; endmodule\n")
        soc_v = generate(tmp_path / name, board=board, accelerator=accelerator, rom=b"\x6f\0\0\0")
        assert "module soc (" in soc_v.read_text()


def test_the_simulated_board_has_an_arty_to_fit() -> None:
    board = boards.find("sim")
    assert (board.device, board.clock_hz, board.programmer) == ("xc7a100tcsg324-1", 100_000_000, None)
    assert board.budget == left_for_accelerator(XC7A100T)
    left = {resource: getattr(XC7A100T, resource) - getattr(SOC, resource) for resource in ("ff", "bram36", "dsp")}
    assert board.budget == Budget(lut=ROUTABLE_LUT, **left, name=XC7A100T.name)
    small = Budget(lut=20_800, ff=41_600, bram36=50.0, dsp=90)
    assert left_for_accelerator(small).lut == 20_800 - SOC.lut


def test_refusals() -> None:
    for name in ("arty-z", "board", "devices", "../sim", ""):
        with pytest.raises(boards.BoardError) as caught:
            boards.find(name)
        assert str(caught.value) == f"BOARD must be one of {', '.join(boards.names())}, not {name!r}"
    sim = boards.find("sim")
    with pytest.raises(ValueError) as error:
        boards.Board("x", "X", sim.device, 0, (), sim.clocking, sim.budget, "verilator")
    assert str(error.value) == "board x: clock_hz must be positive, not 0"
