"""The board on the USB cable: which port is its own, and openFPGALoader's command lines."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain import usb
from toolchain.programs import MissingError


def test_the_port_is_known_by_its_usb_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[SimpleNamespace] = []

    def plug(device: str, vid: int | None, pid: int | None, location: str | None) -> None:
        there.append(SimpleNamespace(device=device, vid=vid, pid=pid, location=location))

    def find(title: str = "Arty") -> str:
        return usb.serial_port(0x0403, 0x6010, 1, title=title)

    monkeypatch.setattr(usb.list_ports, "comports", lambda: there)
    plug("/dev/ttyS0", None, None, None)
    plug("/dev/ttyUSB9", 0x0403, 0x6015, "1-3:1.0")
    with pytest.raises(usb.UsbError) as caught:
        find()
    assert str(caught.value) == (
        "no serial port of Arty (USB 0403:6010) is there: plug it in, see that you may use it (on Linux: group "
        "dialout), or name its port with --port (PORT= for make)"
    )
    plug("/dev/ttyUSB0", 0x0403, 0x6010, "1-1.2:1.0")
    plug("/dev/ttyUSB1", 0x0403, 0x6010, "1-1.2:1.1")
    assert find() == "/dev/ttyUSB1"
    assert usb.serial_port(0x0403, 0x6015, title="ULX3S") == "/dev/ttyUSB9"
    plug("/dev/cu.usbserial-1", 0x0403, 0x6010, None)
    with pytest.raises(usb.UsbError) as caught:
        find()
    assert str(caught.value) == (
        "/dev/cu.usbserial-1, /dev/ttyUSB1 may each be the Arty: name its port with --port (PORT= for make)"
    )


def test_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        usb.load(tmp_path / "soc.bit", programmer="ulx3s")
    assert re.fullmatch(
        r"openFPGALoader is neither on PATH .* is not set; " + re.escape(usb.GET_LOADER), str(caught.value)
    )

    calls, status = tmp_path / "calls", tmp_path / "status"
    script = tmp_path / "openFPGALoader"
    script.write_text(f'#!/bin/sh\necho "$@" >>{calls}\nread s <{status}\nexit $s\n')
    script.chmod(0o755)
    status.write_text("0\n")
    usb.load(tmp_path / "soc.bit", programmer="ulx3s")
    usb.load(tmp_path / "soc.bit", programmer="arty_a7_100t", flash=True)
    assert [line for line in calls.read_text().splitlines() if line != "--version"] == [
        f"--board ulx3s {tmp_path}/soc.bit",
        f"--board arty_a7_100t --write-flash {tmp_path}/soc.bit",
    ]
    status.write_text("3\n")
    with pytest.raises(usb.UsbError) as failed:
        usb.load(tmp_path / "soc.bit", programmer="ulx3s")
    assert str(failed.value) == (
        "openFPGALoader --board ulx3s ended with status 3: see above; is the board plugged in, and may you use it "
        "(udev rules of openFPGALoader)?"
    )
