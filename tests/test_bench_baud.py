"""The rate of the serial line, on a pseudo-terminal that knows the host's: bytes at another rate are lost."""

from __future__ import annotations

import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_device import FakeDevice, PtyLine, TcpLine, make_model

from bench import baud
from bench.client import Client
from bench.errors import Silent

QUICK = 0.02  # time scale: 0.1 s a line, 40 ms of trial
HERTZ = {termios.B9600: 9600, termios.B115200: 115200, termios.B921600: 921600}


class RatedLine(PtyLine):
    """Both ways are cut where host and device differ. The device obeys `baud` as docs/protocol.md says.

    ``fastest``: above it nothing arrives, whatever both sides say.
    """

    fastest = 1_000_000
    rate = 115200
    kept = 0  # to go back to, while a rate is on trial

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device)
        receive, device.receive = device.receive, lambda data: self.cut(receive, data)  # type: ignore[method-assign]

    def host(self) -> int:
        return HERTZ[termios.tcgetattr(self.ours)[4]]

    def cut(self, receive: object, data: bytes) -> bytes:
        assert callable(receive)
        if self.host() != self.rate or self.rate > self.fastest:
            if self.kept and self.host() == self.kept:  # the trial is over by then
                self.rate, self.kept = self.kept, 0
            else:
                return b""
        if not data.startswith(b"baud "):
            return bytes(receive(data))
        asked = int(data[5:].strip(b"%"))
        if asked == self.rate:
            self.kept = 0
        else:
            self.kept, self.rate = self.kept or self.rate, asked
        return f"m-baud-[{asked}]\r\nm-ready\r\n".encode()


@pytest.fixture
def device(tmp_path: Path) -> FakeDevice:
    make_model(tmp_path)
    return FakeDevice.of(tmp_path)


@pytest.fixture
def line(device: FakeDevice) -> Iterator[RatedLine]:
    with RatedLine(device) as line:
        yield line


def test_large_inputs_go_at_a_higher_rate_and_it_is_put_back(line: RatedLine) -> None:
    with Client(line.url, time_scale=QUICK) as client:
        baud.meet(client)
        for size, rate in ((baud.LARGE_INPUT, 115200), (baud.LARGE_INPUT + 1, 921600)):
            with baud.fast_line(client, size):
                assert (client.baud, line.rate, line.kept) == (rate, rate, 0)
                assert client.ask("engine", "engine") == "stream"
            assert (client.baud, line.rate, line.kept) == (115200, 115200, 0)
        with pytest.raises(KeyError), baud.fast_line(client, 3072):
            raise KeyError
        assert (client.baud, line.rate) == (115200, 115200)


def test_a_line_that_is_too_bad_stays_at_its_rate(line: RatedLine) -> None:
    line.fastest = 500_000
    with Client(line.url, time_scale=QUICK) as client:
        baud.meet(client)
        assert not baud.change(client, 921600)
        assert (client.baud, client.ask("engine", "engine")) == (115200, "stream")
        assert baud.change(client, 9600) and baud.change(client, 9600)
        assert (client.baud, client.ask("engine", "engine")) == (9600, "stream")


def test_a_device_that_knows_no_rates_stays_where_it_is(device: FakeDevice) -> None:
    with TcpLine(device) as wire, Client(wire.url, time_scale=QUICK) as client:
        baud.meet(client)
        assert not baud.change(client, 921600)
        with baud.fast_line(client, 3072):
            assert client.baud == 115200


def test_a_device_at_another_rate_is_found(line: RatedLine) -> None:
    line.rate = 9600
    with Client(line.url, time_scale=QUICK) as client:
        baud.meet(client)
        assert (client.baud, client.ask("engine", "engine")) == (9600, "stream")


def test_nobody_at_any_rate(line: RatedLine) -> None:
    line.fastest = 0
    with Client(line.url, time_scale=QUICK) as client:
        with pytest.raises(Silent) as caught:
            baud.meet(client)
        assert str(caught.value) == f"{line.url}: no answer to 'sync-3' within 0.1 s"
        assert client.baud == 115200
