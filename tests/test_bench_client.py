"""The client: what it makes of every fault a line and a device can have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_device import FakeDevice, PtyLine, TcpLine, make_inputs, make_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.client import Client
from bench.device import run_input
from bench.errors import BenchError, DeviceError, Garbled, LineError, PortError, Reset, Silent

QUICK = 0.02  # time scale: 0.1 s a line


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_model(folder)
    return folder


@pytest.fixture
def device(model_dir: Path) -> FakeDevice:
    return FakeDevice.of(model_dir)


@pytest.mark.parametrize("line", [TcpLine, PtyLine])
def test_whole_exchange(line: Callable[[FakeDevice], TcpLine | PtyLine], device: FakeDevice) -> None:
    (data,) = make_inputs(device.manifest, 1)
    told: list[str] = []
    with line(device) as wire, Client(wire.url, log=lambda who, text: told.append(f"{who}: {text}")) as client:
        client.synchronise()
        client.load(data, verify=True)
        inference = client.infer(1000, 1)
        (expected,) = device.reference([data])
        assert (inference.results, inference.elapsed_us) == (expected.results, 12500)
        assert client.numbers(client.ask("scores", "scores"), "scores") == list(expected.integers)
        # 70 bytes go in pieces of 31, 31 and 8; no command is longer than the device's buffer.
        pieces = [text for text in device.commands if re.fullmatch(r"db [0-9a-f]{3,}", text)]
        assert [len(text) for text in pieces] == [65, 65, 19]
        with pytest.raises(DeviceError, match=re.escape("answered e-[Unknown command: splash] to 'splash now'")):
            client.command("splash now")
    assert "host: infer 1000 1%" in told
    assert "dut: m-load-done" in told


@pytest.mark.parametrize(
    ("action", "kind", "message"),
    [
        ("silent", Silent, "no answer to 'engine' within 0.1 s"),
        ("reset", Reset, "the device reset itself during 'engine'"),
        ("hash", Garbled, "0 lines m-engine-[…] in the reply to 'engine' instead of one"),
        ("splash", DeviceError, "the device answered e-[Unknown command: splash] to 'engine'"),
        ("unplug", PortError, "read failed: socket disconnected"),
    ],
)
def test_each_fault_by_its_name(device: FakeDevice, action: str, kind: type[LineError], message: str) -> None:
    device.behaviour = lambda number, text: action if number == 1 else None
    with TcpLine(device) as wire, Client(wire.url, time_scale=QUICK) as client:
        client.synchronise()
        with pytest.raises(kind) as caught:
            client.ask("engine", "engine")
        assert str(caught.value) == f"{wire.url}: {message}"
        # And one attempt later all is well: in step, on a new connection if need be.
        assert client.attempt("no engine", lambda: client.ask("engine", "engine")) == "stream"


def test_faults_that_stay_end_in_advice(device: FakeDevice) -> None:
    with TcpLine(device) as wire, Client(wire.url, time_scale=QUICK) as client:
        device.behaviour = lambda number, text: "reset" if text == "engine" else None
        with pytest.raises(BenchError) as caught:
            client.attempt("no engine", lambda: client.ask("engine", "engine"))
        assert str(caught.value) == (
            f"no engine: {wire.url}: the device reset itself during 'engine'. Check the board's power supply; a device "
            "that resets at the same command each time is a firmware fault."
        )
        assert device.commands.count("engine") == 3
        device.behaviour = lambda number, text: "dead"
        with pytest.raises(BenchError) as caught:
            client.attempt("no engine", lambda: client.ask("engine", "engine"))
        assert str(caught.value) == (
            f"no engine: {wire.url}: no answer to 'sync-5' within 0.1 s. Check power, cable and port, load the "
            "bitstream again or press the board's reset (a simulated board: see that the simulator still runs)."
        )
    with pytest.raises(BenchError, match=r"nobody: nowhere: .*Check that the port exists and that no other program"):
        nobody = Client("nowhere")
        nobody.attempt("nobody", nobody.synchronise)


def test_in_step_after_anything(device: FakeDevice) -> None:
    """Half a command in the device, an old reply on the line, noise everywhere: one synchronisation suffices."""
    device.receive(b"db load 4%db 00")
    device.behaviour = lambda number, text: "noise"
    with TcpLine(device) as wire, Client(wire.url, time_scale=QUICK) as client:
        client._send("infer 5 1")
        client._send("profile")
        client.synchronise()
        assert client.ask("clock", "clock") == "100000000"
        with pytest.raises(Garbled, match=re.escape("m-x-[1,,2] is not a list of integers")):
            client.numbers("1,,2", "x")


@given(st.booleans(), st.integers(0, 500), st.one_of(st.none(), st.integers(0, 255)), st.integers(0, 200))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_bad_byte_is_never_a_result(model_dir: Path, outwards: bool, place: int, new: int | None, gap: int) -> None:
    """Any two bytes lost or changed on the way: the sample comes out right, or the run ends; it is never wrong."""
    device = FakeDevice.of(model_dir)
    (data,) = make_inputs(device.manifest, 1)
    (expected,) = device.reference([data])
    bad = {place, place + gap}
    way = "to_device" if outwards else "to_host"
    change = {way: lambda at, byte: new if at in bad else byte}
    with TcpLine(device, **change) as wire, Client(wire.url, time_scale=0.01) as client:
        try:
            client.attempt("no start", client.synchronise)
            outcome = run_input(client, data, expected=expected)
        except BenchError as error:
            assert "attempt" not in str(error) and ": socket://" in str(error)
        else:
            assert outcome.exact
            assert outcome.inference.results == expected.results


def test_a_wrong_accelerator_is_not_excused(device: FakeDevice) -> None:
    """A difference that is no fault of the line is reported, and the inference is not tried again."""
    (data,) = make_inputs(device.manifest, 1)
    (expected,) = device.reference([data])
    device.wrong = lambda _, right: type(right)((right.integers[0] + 1, *right.integers[1:]), right.results)
    with TcpLine(device) as wire, Client(wire.url) as client:
        client.synchronise()
        assert run_input(client, data, expected=expected).exact is False
    assert [text for text in device.commands if text.startswith("infer")] == ["infer 1 0"]
