"""The SoC with a tiny core and a tiny firmware (probe.c), and the host's end of its UART."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

from stream_core import StreamCore

import boards
from accel.dataflow.pipeline import Stream
from accel.graph import IntType
from accel.rtl.face import Face
from accel.rtl.verilog import to_verilog
from firmware.build import SOURCES, compiler
from firmware.build import _litex as litex_includes
from soc import BUFFER, generate, simulator

HASH = 0x8F3A_91C2
SOURCE = Stream(490, IntType(-128, 127), 4)
SINK = Stream(490, IntType(-500, 500), 4)


def face() -> Face:
    """490 bytes in, the same as 490 words out."""
    core = StreamCore(source=SOURCE, sink=SINK)
    return Face(core, source=SOURCE, sink=SINK, hash_value=HASH, memory_base=BUFFER.base, memory_size=BUFFER.size)


def build_soc(folder: Path) -> Path:
    """The SoC's files below ``folder``, with soc.v, without firmware."""
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = folder / "accelerator.v"
    accelerator.write_text(to_verilog(face(), "headrace"))
    return generate(folder, board=boards.find("sim"), accelerator=accelerator)


def build_firmware(soc_dir: Path) -> Path:
    """probe.c for the SoC in ``soc_dir``."""
    tool = compiler()
    script, elf, image = (soc_dir / f"probe.{end}" for end in ("ld", "elf", "bin"))
    script.write_text((soc_dir / "regions.ld").read_text() + (SOURCES / "firmware.ld").read_text())
    command = [*tool.cc, *tool.flags, "-O2", "-ffreestanding", "-fno-builtin", "-nostdlib", "-static"]
    command += [*(f"-I{d}" for d in (soc_dir, *litex_includes())), "-T", str(script)]
    command += [str(Path(__file__).parent / "probe.c"), *tool.libraries, "-o", str(elf)]
    subprocess.run(command, check=True)
    subprocess.run([*tool.objcopy, "-O", "binary", str(elf), str(image)], check=True)
    return image


def build_simulator(soc_v: Path, folder: Path) -> Path:
    """The simulator of a soc.v."""
    return simulator.build(soc_v, out_dir=folder, clock_hz=boards.find("sim").clock_hz)


class Probe:
    """Speaks with probe.c over a socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, "the simulator hung up"
            data += part
        return data

    def ask(self, *commands: tuple[str, int, int]) -> list[int]:
        """Sends commands all at once and returns their answers."""
        self.socket.sendall(b"".join(struct.pack("<cII", c.encode(), a, b) for c, a, b in commands))
        return list(struct.unpack(f"<{len(commands)}I", self.receive(4 * len(commands))))
