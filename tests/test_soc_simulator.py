"""The simulated SoC with a tiny core and firmware: DMA, interrupt, errors, what a start costs, the serial line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import serial
from soc_probe import HASH, SINK, SOURCE, Probe, build_firmware, build_simulator, build_soc

from accel.rtl.face import MAGIC, Error, Register
from soc import ACCELERATOR, BUFFER
from soc.simulator import Simulation, SimulatorError

DONE, FAILED = 2, 4
OUTPUT = BUFFER.base + 0x1000


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The simulator and its firmware."""
    folder = tmp_path_factory.mktemp("soc")
    soc_v = build_soc(folder)
    return build_simulator(soc_v, folder / "sim"), build_firmware(folder)


@pytest.fixture
def probe(board: tuple[Path, Path]) -> Iterator[Probe]:
    with Simulation(board[0], rom=board[1]) as simulation:
        probe = Probe(simulation.port)
        assert probe.receive(1) == b"!"
        yield probe
        probe.socket.close()


class Accelerator:
    """The registers and the buffer, through the probe."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    def read(self, *registers: int) -> list[int]:
        return self.probe.ask(*(("r", ACCELERATOR.base + 4 * r, 0) for r in registers))

    def write(self, register: int, value: int) -> None:
        self.probe.ask(("w", ACCELERATOR.base + 4 * register, value))

    def place(self, seed: int, at: int = BUFFER.base, output: int = OUTPUT) -> np.ndarray:
        """A random input in the buffer, and the registers set; what the output has to be."""
        x = np.random.default_rng(seed).integers(-128, 128, SOURCE.elements)
        raw = x.astype(np.int8).tobytes().ljust(-(-SOURCE.elements // 4) * 4, b"\0")
        self.probe.ask(*(("w", at + i, int.from_bytes(raw[i : i + 4], "little")) for i in range(0, len(raw), 4)))
        self.write(Register.SOURCE, at)
        self.write(Register.DESTINATION, output)
        return x

    def output(self, at: int = OUTPUT) -> np.ndarray:
        return np.array(self.probe.ask(*(("r", at + 4 * i, 0) for i in range(SINK.elements))), np.uint32).view(np.int32)


def test_inferences_and_errors(probe: Probe) -> None:
    accelerator = Accelerator(probe)
    constants = accelerator.read(Register.MAGIC, Register.HASH, Register.SOURCE_BYTES, Register.DESTINATION_BYTES)
    assert constants == [MAGIC, HASH, SOURCE.elements, 4 * SINK.elements]

    def good(seed: int, **places: int) -> None:
        x = accelerator.place(seed, **places)
        probe.ask(("p", HASH, 0))
        assert accelerator.read(Register.STATUS, Register.ERROR) == [DONE, Error.NONE]
        np.testing.assert_array_equal(accelerator.output(places.get("output", OUTPUT)), x)

    end = BUFFER.base + BUFFER.size
    good(0)
    good(1, at=end - 492, output=BUFFER.base)
    for cause, register, value, hash_value in (
        (Error.HASH, Register.SOURCE, BUFFER.base, HASH ^ 1),
        (Error.SOURCE, Register.SOURCE, 0x1000_0000, HASH),
        (Error.SOURCE, Register.SOURCE, end - 488, HASH),
        (Error.SOURCE, Register.SOURCE, BUFFER.base + 2, HASH),
        (Error.DESTINATION, Register.DESTINATION, end - 4 * SINK.elements + 4, HASH),
        (Error.DESTINATION, Register.DESTINATION, ACCELERATOR.base, HASH),
    ):
        accelerator.place(2)
        before = accelerator.output()
        accelerator.write(register, value)
        probe.ask(("p", hash_value, 0))
        assert accelerator.read(Register.STATUS, Register.ERROR) == [FAILED, cause]
        np.testing.assert_array_equal(accelerator.output(), before)
        good(3 + cause)

    # A second start at once, of this model or another: the first inference ends well.
    for second in (HASH, 0):
        x = accelerator.place(20)
        assert probe.ask(("s", HASH, second))[0] & FAILED
        assert accelerator.read(Register.STATUS, Register.ERROR) == [DONE | FAILED, Error.BUSY]
        np.testing.assert_array_equal(accelerator.output(), x)
        good(21)
    accelerator.write(Register.CLEAR, 1)
    assert accelerator.read(Register.STATUS, Register.ERROR) == [0, Error.NONE]


def test_what_a_start_costs(probe: Probe) -> None:
    """From before the start to after its known end the CPU needs less than 40 cycles more than the accelerator."""
    accelerator = Accelerator(probe)
    x = accelerator.place(1)
    for way, letter in (("polling", "p"), ("pending interrupt", "v"), ("interrupt handler", "i")):
        interrupts = probe.ask(("n", 0, 0))[0]
        taken = probe.ask((letter, HASH, 0))[0]
        cycles, core = accelerator.read(Register.CYCLES, Register.CORE_CYCLES)
        assert 123 + SINK.elements <= core < cycles < taken < cycles + 40, way
        assert probe.ask(("n", 0, 0))[0] - interrupts == (2 if letter == "i" else 0)
        print(f"{way}: {taken - cycles} cycles beyond the accelerator's {cycles}")
        np.testing.assert_array_equal(accelerator.output(), x)


def test_clients_come_and_go(board: tuple[Path, Path]) -> None:
    """What the device says while nobody listens is kept; bytes pass unchanged, in order, and wait for a slow reader."""
    with Simulation(board[0], rom=board[1], with_pty=True) as simulation:
        assert simulation.pty is not None
        time.sleep(0.5)
        with serial.Serial(simulation.pty, timeout=30) as port:
            assert port.read(1) == b"!"
            port.write(b"x" + (256).to_bytes(4, "little") + bytes(4))
            assert port.read(260) == bytes(range(256)) + bytes(4)  # no byte means anything to the terminal
            # More than terminal and simulator hold: the device waits, and nothing is lost.
            many = 100_000
            port.write(b"x" + many.to_bytes(4, "little") + bytes(4))
            time.sleep(0.5)
            assert port.read(many + 4) == bytes(i & 255 for i in range(many)) + bytes(4)
        for _ in range(2):
            time.sleep(0.1)
            probe = Probe(simulation.port)
            assert probe.ask(("r", BUFFER.base, 0), ("w", BUFFER.base, 7), ("r", BUFFER.base, 0))[2] == 7
            probe.socket.sendall(b"x" + (1).to_bytes(4, "little"))  # half a command; the rest comes from another
            probe.socket.close()
            time.sleep(0.1)
            with serial.Serial(simulation.pty, timeout=30) as port:
                port.write(bytes(4))
                assert port.read(5) == bytes(5)


def test_ends_as_it_should(board: tuple[Path, Path]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with Simulation(board[0], rom=board[1], options=()) as simulation:
            simulation.process.send_signal(number)
            _, status = simulation.process.communicate(timeout=10)
            assert simulation.process.returncode == 0
            assert status.endswith(" MHz\n")
    with Simulation(board[0], rom=board[1], options=("--quiet", "--exit-on-disconnect")) as simulation:
        Probe(simulation.port).socket.close()
        assert simulation.process.wait(timeout=10) == 0


def test_what_it_cannot_do(board: tuple[Path, Path], tmp_path: Path) -> None:
    large, empty = tmp_path / "large.bin", tmp_path / "empty.bin"
    large.write_bytes(bytes(65537))
    empty.write_bytes(b"")
    taken = socket.create_server(("127.0.0.1", 0))
    port = str(taken.getsockname()[1])
    usage = "no such option: --fast\nusage: Vsoc [--rom FILE]"
    default = f"{board[0].parent}/../firmware/firmware.bin: the firmware cannot be read"
    for arguments, message in (
        ([], default),
        (["--rom", str(large)], f"{large}: the firmware has 65537 bytes; the ROM takes 1 to 65536"),
        (["--rom", str(empty)], f"{empty}: the firmware has 0 bytes; the ROM takes 1 to 65536"),
        (["--rom", str(board[1]), "--port", port], "bind to the TCP port: Address already in use"),
        (["--port", "70000"], "--port wants a number from 0 to 65535, not 70000"),
        (["--port", "1x"], "--port wants a number from 0 to 65535, not 1x"),
        (["--port"], "--port wants a value"),
        (["--fast"], usage),
    ):
        done = subprocess.run([board[0], *arguments], capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Vsoc: {message}"), done.stderr
    taken.close()
    with pytest.raises(SimulatorError) as caught, Simulation(board[0], rom=large):
        pass
    assert (
        str(caught.value)
        == f"Vsoc did not start: Vsoc: {large}: the firmware has 65537 bytes; the ROM takes 1 to 65536"
    )


def test_runs_the_firmware_beside_it(board: tuple[Path, Path], tmp_path: Path) -> None:
    """Without --rom it takes ../firmware/firmware.bin, wherever it is called from."""
    for folder in ("sim", "firmware"):
        (tmp_path / folder).mkdir()
    os.link(board[0], tmp_path / "sim" / "Vsoc")
    (tmp_path / "firmware" / "firmware.bin").write_bytes(board[1].read_bytes())
    with Simulation(tmp_path / "sim" / "Vsoc") as simulation:
        assert Probe(simulation.port).receive(1) == b"!"
