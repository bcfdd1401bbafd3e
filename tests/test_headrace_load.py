"""The shipped model onto FPGA boards and through their benchmark, with mock tools and a device made of Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from fake_device import FakeDevice, TcpLine
from mock_tools import MockTools
from typer.testing import CliRunner

import boards
from headrace import flow
from headrace.__main__ import app
from toolchain import usb, yosys

PORTS = (  # identity and place of each serial port of a computer with both boards
    ("/dev/ttyS0", None, None, None),
    ("/dev/arty-jtag", 0x0403, 0x6010, "1-1:1.0"),
    ("/dev/arty", 0x0403, 0x6010, "1-1:1.1"),
    ("/dev/ulx3s", 0x0403, 0x6015, "1-2:1.0"),
)
PRINTED = (
    "Jtag frequency : requested 6.00MHz -> real 6.00MHz\n"
    "\rLoad SRAM: [=====     ] 50.00%\rLoad SRAM: [==========] 100.00%\nDone\n"
)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockTools]:
    mock = MockTools(tmp_path / "bin")
    mock.set(mhz={"1": 99.0})
    for name, value in mock.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("NEXTPNR", "OPENFPGALOADER", "FLOW"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEEDS", "1")
    yosys.find.cache_clear()
    yield mock
    yosys.find.cache_clear()


def headrace(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def plug(monkeypatch: pytest.MonkeyPatch, url: Callable[[str], str] = str) -> None:
    """Put the ports where the system lists them, under the names that ``url`` makes of theirs."""
    ports = [SimpleNamespace(device=url(at), vid=vid, pid=pid, location=where) for at, vid, pid, where in PORTS]
    monkeypatch.setattr(usb.list_ports, "comports", lambda: ports)


def change(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    """Let every board have other ``fields``."""
    find = boards.find
    monkeypatch.setattr(boards, "find", lambda name: replace(find(name), **fields))  # type: ignore[arg-type]


def no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*arguments: object, **options: object) -> None:
        raise AssertionError("a build was started")

    monkeypatch.setattr(flow, "build", build)


@pytest.mark.parametrize(("board", "programmer"), [("arty", "arty_a7_100t"), ("ulx3s", "ulx3s")])
def test_from_the_model_file_onto_a_board(
    board: str, programmer: str, tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "build"
    loaded = headrace("load", "--board", board, "--out", out)
    assert loaded.exit_code == 0, loaded.output
    bitstream = out / "bitstream/soc.bit"
    assert tools.calls[-1] == ["openFPGALoader", "--board", programmer, str(bitstream)]
    title = boards.find(board).title
    assert loaded.output.endswith(f"{PRINTED}{title}: {bitstream} is loaded\n")
    assert (out / "logs/load.log").read_bytes().decode() == PRINTED

    tools.forget()
    flashed = headrace("load", "--board", board, "--out", out, "--flash")
    assert flashed.output.endswith(f"{title}: {bitstream} is in its flash memory\n")
    assert tools.calls == [["openFPGALoader", "--board", programmer, "--write-flash", str(bitstream)]]

    device = FakeDevice.of(out / "model")
    device.clock_hz = boards.find(board).clock_hz
    with TcpLine(device) as wire:
        plug(monkeypatch, lambda at: wire.url if at == f"/dev/{board}" else at)
        benched = headrace("bench", "--board", board, "--out", out)
    assert benched.exit_code == 0, benched.output
    results = json.loads((out / "results.json").read_text())
    assert (results["board"], results["clock_hz"], results["fmax_hz"]) == (board, device.clock_hz, 99_000_000)
    assert results["latency_us"]["median"] == device.latency_us
    assert results["bit_exact"] == {"samples": 5, "mismatches": 0}
    assert results["resources"]["stage"] == "routing"
    assert (out / "report.html").is_file()


def test_the_loader_is_looked_for_before_the_build(
    tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_build(monkeypatch)
    (tools.folder / "openFPGALoader").unlink()
    monkeypatch.setenv("PATH", str(tools.folder))
    monkeypatch.setattr(usb.programs.importlib.util, "find_spec", lambda name: None)
    error = headrace("load", "--board", "ulx3s", "--out", tmp_path / "build").exception
    assert isinstance(error, usb.programs.MissingError)
    assert str(error).endswith(usb.GET_LOADER) and not (tmp_path / "build").exists()


def test_a_bitstream_from_elsewhere(tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_build(monkeypatch)
    file, out = tmp_path / "ours.bit", tmp_path / "build"
    file.write_text("bits")
    loaded = headrace("load", "--board", "arty-a7-35", "--bitstream", file, "--out", out)
    assert loaded.output == f"{PRINTED}Digilent Arty A7-35: {file} is loaded\n"
    assert tools.calls == [["openFPGALoader", "--board", "arty_a7_35t", str(file)]]

    tools.set(unplugged=True)
    error = headrace("load", "--board", "ulx3s", "--bitstream", file, "--out", out).exception
    assert isinstance(error, usb.UsbError) and str(error) == (
        "openFPGALoader --board ulx3s: unable to open ftdi device: -3 (device not found); is the board plugged in, "
        f"and may you use it (udev rules of openFPGALoader)? (log: {out}/logs/load.log)"
    )
    assert "JTAG init failed with: unable to open ftdi device" in (out / "logs/load.log").read_text()

    missing = headrace("load", "--board", "ulx3s", "--bitstream", tmp_path, "--out", out)
    assert str(missing.exception) == f"{tmp_path}: there is no such bitstream"
    nowhere = headrace("load", "--bitstream", file, "--out", out)
    assert str(nowhere.exception) == "--bitstream is for a board with an FPGA, not for the simulated one"
    assert len(tools.calls) == 2


def test_a_board_of_which_too_little_is_known(
    tools: MockTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_build(monkeypatch)
    change(monkeypatch, programmer=None, usb=None)
    loaded = headrace("load", "--board", "ulx3s", "--out", tmp_path)
    assert isinstance(loaded.exception, usb.UsbError) and str(loaded.exception) == (
        "Radiona ULX3S 85F: openFPGALoader's name for it (openFPGALoader --list-boards) is missing in its file in "
        "boards/, as programmer=; until it is there, load what `headrace build` makes with a program of your own"
    )
    benched = headrace("bench", "--board", "ulx3s", "--out", tmp_path)
    assert isinstance(benched.exception, usb.UsbError) and str(benched.exception) == (
        "Radiona ULX3S 85F: the USB identity of its serial port is missing in its file in boards/, as "
        "usb=Usb(vendor, product); name its port with --port (PORT= for make)"
    )
    assert tools.calls == []


@pytest.mark.parametrize(
    ("arguments", "identity", "port"),
    [
        (["--board", "arty"], True, "/dev/arty"),
        (["--board", "arty-a7-35"], True, "/dev/arty"),
        (["--board", "ulx3s"], True, "/dev/ulx3s"),
        (["--board", "ulx3s", "--port", "/dev/mine"], True, "/dev/mine"),
        (["--board", "ulx3s", "--port", "/dev/mine"], False, "/dev/mine"),
        (["--board", "sim", "--port", "/dev/mine"], True, "/dev/mine"),
    ],
)
def test_the_port_that_is_benchmarked(
    arguments: list[str], identity: bool, port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(monkeypatch)
    if not identity:
        change(monkeypatch, usb=None)
    done: list[object] = []
    monkeypatch.setattr(flow, "build", lambda target, *told, **options: done.append(target.board.name))
    monkeypatch.setattr("headrace.bench.choose_samples", lambda target, mode, samples: None)
    monkeypatch.setattr("bench.bench", lambda *, target, **options: done.append(target.port))
    monkeypatch.setattr("bench.write_report", lambda **options: "report.html")
    result = headrace("bench", *arguments, "--out", tmp_path)
    assert result.exit_code == 0, result.exception
    assert done == [arguments[1], port]
