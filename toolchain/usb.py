"""The board on the USB cable: its serial port, and bitstreams into it by openFPGALoader."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from serial.tools import list_ports

from toolchain import programs

GET_LOADER = (
    "on Debian and Ubuntu: sudo apt install openfpgaloader, else see "
    "https://trabucayre.github.io/openFPGALoader/guide/install.html"
)


class UsbError(RuntimeError):
    """No board, more than one, or one that cannot be programmed; the message says what to do."""


def serial_port(vendor: int, product: int, interface: int = 0, *, title: str) -> str:
    """The serial port of the one board, ``title``, whose USB chip has this identity. Raises UsbError.

    ``interface``: the number of the UART among the chip's interfaces, for systems that tell (Linux does).
    """
    ports = []
    for port in list_ports.comports():
        number = re.search(r":\d+\.(\d+)$", port.location or "")
        if (port.vid, port.pid) == (vendor, product) and (number is None or int(number[1]) == interface):
            ports.append(port.device)
    if not ports:
        raise UsbError(
            f"no serial port of {title} (USB {vendor:04x}:{product:04x}) is there: plug it in, see that you may "
            "use it (on Linux: group dialout), or name its port with --port (PORT= for make)"
        )
    if len(ports) > 1:
        raise UsbError(
            f"{', '.join(sorted(ports))} may each be the {title}: name its port with --port (PORT= for make)"
        )
    return ports[0]


def load(bitstream: Path, *, programmer: str, flash: bool = False) -> None:
    """Put ``bitstream`` into the FPGA, until power goes, or, with ``flash``, into the memory that it starts from.

    ``programmer`` is openFPGALoader's name of the board; its output goes to ours. Raises UsbError, MissingError.
    """
    loader = programs.program("openFPGALoader", GET_LOADER)
    command = [*loader.command, "--board", programmer, *(["--write-flash"] if flash else []), str(bitstream)]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise UsbError(
            f"openFPGALoader --board {programmer} ended with status {status}: see above; is the board plugged in, "
            "and may you use it (udev rules of openFPGALoader)?"
        )
