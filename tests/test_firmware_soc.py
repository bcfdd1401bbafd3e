"""The image on the simulated SoC: VexRiscv runs it, and the accelerator's own registers and DMA answer."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from firmware_device import READY, wire
from stream_core import StreamCore
from test_manifest import EXAMPLE

import boards.sim
import firmware.build
import soc
from accel.dataflow.pipeline import Stream
from accel.graph import IntType
from accel.graph.head import results
from accel.manifest import Input, InputEncoding, Manifest, Output
from accel.rtl.face import Face
from accel.rtl.verilog import to_verilog
from soc import simulator

KIND, SIZE = IntType(-500, 500), 250
# The core hands its input on. Bytes of the wire become half-words in memory; the head compares output and input.
MODEL = replace(
    EXAMPLE,
    head="mse",
    input=Input((SIZE,), SIZE, 2 * SIZE, 2, KIND),
    output=Output((SIZE,), SIZE, 4 * SIZE, 1, KIND, (0.25,), (-0.125,)),
    input_encoding=InputEncoding("uint8", 0.3, 0.0),
)


class Board:
    """The SoC, verilated once, and images for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        core = StreamCore(source=Stream(SIZE, KIND, 2), sink=Stream(SIZE, KIND, 1))
        face = Face(
            core,
            source=core.source,
            sink=core.sink,
            hash_value=MODEL.hash_value,
            memory_base=MODEL.memory.base,
            memory_size=MODEL.memory.size,
        )
        (folder / "accelerator.v").write_text(to_verilog(face, "headrace"))
        verilog = soc.generate(folder, board=boards.sim.BOARD, accelerator=folder / "accelerator.v")
        self.executable = simulator.build(verilog, out_dir=folder / "sim", clock_hz=100_000_000)

    def session(self, model: Manifest, commands: list[str], timestamps: Path | None = None) -> list[list[str]]:
        """The lines of each reply, without m-ready."""
        image = firmware.build.build(
            manifest=model, generated_dir=self.folder / "generated", out_dir=self.folder / model.hash
        )
        replies = []
        with (
            simulator.Simulation(self.executable, rom=image, timestamps=timestamps) as simulation,
            serial.serial_for_url(f"socket://127.0.0.1:{simulation.port}", timeout=60) as port,
        ):
            assert port.read_until(READY) == b"m-init-done\r\nm-ready\r\n"
            for command in commands:
                port.write(f"{command}%".encode())
                reply = port.read_until(READY).decode()
                assert reply.endswith("m-ready\r\n"), f"{command}: {reply}"
                replies.append(reply.splitlines()[:-1])
        return replies


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(tmp_path_factory.mktemp("soc"))


def load(x: np.ndarray) -> list[str]:
    data = wire(x, "uint8")
    return [f"db load {len(data)}", *(f"db {data[i : i + 31].hex()}" for i in range(0, len(data), 31))]


def test_a_session(board: Board) -> None:
    x = np.random.default_rng(1).integers(0, 256, SIZE)
    commands = ["profile", *load(x), "infer 1 0", "cycles", "infer 100 5", "cycles", "scores", "hash", "clock"]
    commands += ["selftest", "cycles", "infer 1 0", "stalls", "wheel"]
    said = dict(zip(enumerate(commands), board.session(MODEL, commands), strict=True))
    replies = {command: [lines for (_, c), lines in said.items() if c == command] for command in commands}

    assert replies["profile"][0][1:] == ["m-model-[kws01]", "m-headrace-[kws-w3a3,sim,stream]"]
    assert replies[load(x)[-1]] == [["m-load-done"]]
    right = f"m-results-[{results(MODEL, x, x)[0]}]"
    assert [lines[-1] for c in ("infer 1 0", "infer 100 5") for lines in replies[c]] == [right] * 3
    assert replies["scores"] == [[f"m-scores-[{','.join(map(str, x))}]"]]
    assert (replies["hash"], replies["clock"]) == ([["m-hash-[8f3a91c2]"]], [["m-clock-[100000000]"]])
    assert replies["selftest"] == [["m-selftest-[pass]"]]
    assert replies["wheel"] == [["e-[Unknown command: wheel]"]]

    first, warm, after_self_test = replies["cycles"]
    assert after_self_test == ["e-[No inference yet]"]
    for line in (*first, *warm):
        cpu, accelerator, core = map(int, re.findall(r"\d+", line))
        assert core < accelerator < cpu < accelerator + 40
    start, stop = (int(line[9:]) for line in replies["infer 100 5"][0] if line.startswith("m-lap-us-"))
    assert (stop - start) * 100 < 100 * (accelerator + 60)  # a window of 100 is 100 inferences and little else
    (stalls,) = replies["stalls"][0]
    assert len(stalls.split(",")) == 4


def test_timestamps_are_edges_and_the_baud_rate_is_set(board: Board, tmp_path: Path) -> None:
    """The two edges of a window are as far apart as its inferences take, and the pulse of the first one."""
    x = np.zeros(SIZE, int)
    commands = [*load(x), "baud 921600", "baud 921600", "baud", "mode energy", "timestamp"]
    commands += ["infer 50 1", "cycles", "mode performance", "infer 50 1"]
    said = board.session(MODEL, commands, tmp_path / "edges")[len(load(x)) :]
    assert said[:5] == [["m-baud-[921600]"]] * 3 + [["m-mode-[energy]"], []]
    assert not any("m-lap-us" in line for line in said[5]) and said[5][-2] == "m-infer-done"
    start, stop = (int(line[9:]) for line in said[8] if line.startswith("m-lap-us-"))
    edges = [int(line) for line in (tmp_path / "edges").read_text().splitlines()]
    assert len(edges) == 4  # timestamp, start, stop, and the end of the mode
    # Text has whole microseconds and takes longer to be made than an edge.
    assert abs(edges[2] - edges[1] - 100 * (stop - start)) < 1000


def test_another_model(board: Board) -> None:
    """Firmware of another model says so, and runs nothing."""
    other = replace(MODEL, hash="0badcafe")
    mismatch = ["e-[Model mismatch: gateware 8f3a91c2, firmware 0badcafe]"]
    loading = load(np.zeros(SIZE, int))
    said = board.session(other, [*loading, "infer 1 0", "hash", "selftest", "results", "name"])
    assert said[len(loading) :] == [mismatch, mismatch, mismatch, ["e-[No inference yet]"], ["m-name-dut-[headrace]"]]
