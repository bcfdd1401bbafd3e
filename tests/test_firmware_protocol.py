"""The serial protocol of docs/protocol.md: every command and every error, byte for byte, and any garbage in between."""

from __future__ import annotations

import itertools
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from firmware_device import READY, Device, wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_manifest import EXAMPLE

from accel.graph import IntType
from accel.graph.head import results
from accel.manifest import Input, InputEncoding, Manifest, Output, input_bytes
from firmware import host

MODEL = replace(
    EXAMPLE,
    name="tiny",
    input=Input((10,), 10, 10, 4, IntType(-128, 127)),
    output=Output((3,), 3, 12, 1, IntType(-500, 500), (0.01,), (0.0,)),
)
INPUTS = np.array([range(10), range(-5, 5)])
OUTPUTS = np.array([[100, -7, 250], [-500, 500, 499]])
NUMBERS = ",".join(results(MODEL, INPUTS[0], OUTPUTS[0]))
LOADED = "m-load-done\r\nm-ready\r\n"
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path | str]:
    folder = tmp_path_factory.mktemp("device")
    program = host.build(manifest=MODEL, out_dir=folder, board="arty")
    return [program, "--answers", host.write_answers(folder / "answers.bin", MODEL, INPUTS, OUTPUTS)]


@pytest.fixture
def device(built: list[Path | str]) -> Iterator[Device]:
    with Device(Path(built[0]), *built[1:]) as device:
        yield device


def test_a_session(device: Device) -> None:
    """As the public runner holds it, and our own commands after it."""
    assert device.greeting == b"m-init-done\r\nm-ready\r\n"
    transcript = [
        ("name", "m-name-dut-[headrace]"),
        (
            "profile",
            "m-profile-[ULPMark for tinyML Firmware V0.0.1]",
            "m-model-[kws01]",
            "m-headrace-[tiny,arty,host]",
        ),
        ("timestamp", "m-lap-us-0"),
        ("db load 10", "m-[Expecting 10 bytes]"),
        ("db 00010203",),
        ("db 0405060708",),
        ("db print", "m-buffer-00-01-02-03-04-05-06-07", "m-buffer-08"),
        ("db 09ffEEff", "m-load-done"),
        ("db print", "m-buffer-00-01-02-03-04-05-06-07", "m-buffer-08-09"),
        (
            "infer 400 3",
            "m-warmup-start-3",
            "m-warmup-done",
            "m-infer-start-400",
            "m-lap-us-30",
            "m-lap-us-4030",
            "m-infer-done",
            f"m-results-[{NUMBERS}]",
        ),
        ("results", f"m-results-[{NUMBERS}]"),
        ("timestamp", "m-lap-us-4030"),
        ("scores", "m-scores-[100,-7,250]"),
        ("cycles", "m-cycles-[1000,1000,1000]"),
        ("stalls", "m-stalls-[0,1000,1,999]"),
        ("hash", "m-hash-[8f3a91c2]"),
        ("clock", "m-clock-[100000000]"),
        ("engine", "m-engine-[host]"),
        ("selftest", "m-selftest-[pass]"),
        ("results", "e-[No inference yet]"),
    ]
    for command, *replies in transcript:
        assert device.ask(command) == "".join(f"{line}\r\n" for line in [*replies, "m-ready"]), command
    assert NUMBERS == "0.172,0.059,0.769"


def test_defaults_of_infer(device: Device) -> None:
    assert device.load(wire(INPUTS[1], "int8")) == LOADED
    for command in ("infer", "infer 1", "infer 1 10 surplus"):
        lines = device.lines(command)
        assert (lines[0], lines[2]) == ("m-warmup-start-10", "m-infer-start-1")
    assert device.lines("infer 1 0")[0] == "m-warmup-start-0"
    assert device.lines("scores") == ["m-scores-[-500,500,499]"]  # the payload stays for the next infer


def test_help_names_every_command(device: Device) -> None:
    names = {re.split(r"[ :]", line)[0] for line in device.lines("help")}
    for name in names:
        assert not device.lines(name)[0].startswith("e-[Unknown") or name == "help"
    page = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text()
    assert names == {name for name in re.findall(r"^\| `(\w+)[^`]*%`", page, flags=re.MULTILINE)}


def test_the_baud_rate_is_set_and_kept_when_confirmed(built: list[Path | str]) -> None:
    with Device(Path(built[0]), *built[1:], "--cycles", "300000000", "--pins") as device:
        assert device.lines("baud") == ["m-baud-[115200]"]
        for wrong in ("1199", "6250001", "fast", "-9600"):
            assert device.lines(f"baud {wrong}") == ["e-[Baud rate must be 1200 to 6250000]"]
        assert device.lines("baud 921600") == ["m-baud-[921600]"]
        assert device.lines("baud") == ["m-baud-[921600]"]
        assert device.lines("baud 921600") == ["m-baud-[921600]"]  # it stays, however long nothing comes
        assert device.load(wire(INPUTS[0], "int8")) == LOADED
        device.ask("infer 1 0")
        assert device.lines("baud") == ["m-baud-[921600]"]
        assert device.lines("baud 9600") == ["m-baud-[9600]"]
        device.ask("infer 1 0")  # three seconds in which nobody confirmed
        assert device.lines("baud") == ["m-baud-[921600]"]


def test_energy_mode(built: list[Path | str]) -> None:
    """Timestamps are edges of the pin, on a board that has one; the LED shows that the last command was an error."""
    with Device(Path(built[0]), *built[1:]) as device:
        assert device.lines("mode") == ["m-mode-[performance]"]
        assert device.lines("mode energy") == ["e-[No timestamp pin on this board]"]
        assert device.lines("mode fast") == ["e-[Mode must be performance or energy]"]
    with Device(Path(built[0]), *built[1:], "--pins") as device:
        assert device.load(wire(INPUTS[0], "int8")) == LOADED
        assert device.lines("mode energy") == ["m-mode-[energy]"]
        assert device.lines("timestamp") == []
        infer = ["m-warmup-start-1", "m-warmup-done", "m-infer-start-2", "m-infer-done", f"m-results-[{NUMBERS}]"]
        assert device.lines("infer 2 1") == infer
        assert device.lines("infer 0")[0].startswith("e-[")
        assert device.lines("mode performance") == ["m-mode-[performance]"]
        assert device.lines("timestamp") == ["m-lap-us-70"]  # three inferences and edges, and one back to low
        device.process.terminate()
        assert device.process.stderr is not None
        edge = ["timestamp 0", "timestamp 1"]
        shown = device.process.stderr.read().decode().splitlines()
        assert shown == ["timestamp 1", *edge, *edge, *edge, "error 1", "error 0", "timestamp 0"]


ERRORS = [
    ("infer 0", "Inference iterations must be >0"),
    ("infer x", "Inference iterations must be >0"),
    ("infer -3 2", "Inference iterations must be >0"),
    ("infer 1 -1", "Inference warmup must be >=0"),
    ("infer 1 1e3", "Inference warmup must be >=0"),
    ("db", "Command 'db' requires a subcommand"),
    ("db load", "Command 'db load' requires the # of bytes"),
    ("db load 0", "Command 'db load' must be >0 bytes"),
    ("db load -1", "Command 'db load' must be >0 bytes"),
    ("db load 5x", "Command 'db load' must be >0 bytes"),
    ("db load 27649", "Command 'db load' must be <=27648 bytes"),
    ("db load 99999999999999999999999", "Command 'db load' must be <=27648 bytes"),
    ("db 00", "Command 'db load' must come first"),
    ("infer 1 0", "Input is incomplete: 0 of 10 bytes"),
    ("results", "No inference yet"),
    ("scores", "No inference yet"),
    ("cycles", "No inference yet"),
    ("stalls", "No inference yet"),
    ("selftest", "Self test: No answer is known for this input"),
    ("", "Unknown command: "),
    ("   ", "Unknown command: "),
    ("Name", "Unknown command: Name"),
    ("names", "Unknown command: names"),
    ("foo bar baz", "Unknown command: foo"),
    ("\0\x07\xff", "Unknown command: ???"),
    ("x" * 80, "Unknown command: " + "x" * 80),
    ("x" * 81, "Command longer than 80 characters"),
    ("db load 10" + "x" * 5000, "Command longer than 80 characters"),
]


@pytest.mark.parametrize(("command", "message"), ERRORS, ids=[repr(c[:20]) for c, _ in ERRORS])
def test_errors(built: list[Path | str], command: str, message: str) -> None:
    with Device(Path(built[0])) as device:
        assert device.ask(command) == f"e-[{message}]\r\nm-ready\r\n"
        assert device.lines("name") == ["m-name-dut-[headrace]"]


def test_errors_while_loading(device: Device) -> None:
    device.ask("db load 10")
    assert device.lines("db 000") == ["e-[Insufficent number of hex digits]"]
    assert device.lines("db 00zz") == ["e-[Invalid hex digit 'zz']"]
    assert device.lines("db 0011g022") == ["e-[Invalid hex digit 'g0']"]
    assert device.lines("db print") == []  # a wrong line leaves nothing behind: it can be sent again
    assert device.lines("infer 1 0") == ["e-[Input is incomplete: 0 of 10 bytes]"]
    device.ask("db 0001020304")
    assert device.lines("infer 1 0") == ["e-[Input is incomplete: 5 of 10 bytes]"]
    assert device.lines("db 0506070809zz") == ["m-load-done"]  # what is surplus is disregarded
    assert device.lines("db 00") == ["e-[Command 'db load' must come first]"]
    assert device.lines("infer 1 0")[-1] == f"m-results-[{NUMBERS}]"
    assert device.lines("db load 30000") == ["e-[Command 'db load' must be <=27648 bytes]"]
    assert device.lines("infer 1 0") == ["e-[Input is incomplete: 0 of 10 bytes]"]
    device.load(bytes(9))
    assert device.lines("infer 1 0") == ["e-[Input has 9 bytes, the model needs 10]"]
    assert device.load(bytes(27648)) == LOADED
    assert device.lines("infer 1 0") == ["e-[Input has 27648 bytes, the model needs 10]"]
    assert device.lines("scores") == ["m-scores-[100,-7,250]"]  # untouched by the largest payload
    device.load(wire(INPUTS[0], "int8"))
    assert device.lines("infer 1 0")[-1] == f"m-results-[{NUMBERS}]"


def test_errors_of_the_engine(built: list[Path | str]) -> None:
    program, *options = built
    with Device(Path(program), *options, "--fail", "25", "--clock", "12500000", "--cycles", "100") as device:
        device.load(bytes(10))
        unknown = "e-[No answer is known for this input]"
        assert device.lines("infer 1 1") == ["m-warmup-start-1", unknown]
        assert device.lines("infer 1 0")[-2:] == ["m-lap-us-0", unknown]
        device.load(wire(INPUTS[0], "int8"))
        assert device.lines("infer 100 20") == [
            "m-warmup-start-20",
            "m-warmup-done",
            "m-infer-start-100",
            "m-lap-us-160",
            "e-[Accelerator error 5: bus error reading]",
        ]
        assert device.lines("results") == ["e-[No inference yet]"]
        assert device.lines("infer 100 20")[-2:] == ["m-infer-done", f"m-results-[{NUMBERS}]"]
    with Device(Path(program), *options, "--hash", "12345678") as device:
        device.load(wire(INPUTS[0], "int8"))
        mismatch = "Model mismatch: gateware 12345678, firmware 8f3a91c2"
        for command in ("hash", "infer 1 0", "selftest"):
            assert device.lines(command) == [f"e-[{mismatch}]"]


def test_time_wraps_and_rounds_down(built: list[Path | str]) -> None:
    program, *options = built
    with Device(Path(program), *options, "--clock", "83333333", "--cycles", "4000000000") as device:
        device.load(wire(INPUTS[0], "int8"))
        start, stop = (int(line[9:]) for line in device.lines("infer 90 1") if line.startswith("m-lap"))
        assert start == 4_000_000_000 * 10**6 // 83_333_333
        assert stop == 91 * 4_000_000_000 * 10**6 // 83_333_333 % 2**32


def test_ctrl_c_interrupts(device: Device) -> None:
    device.load(wire(INPUTS[0], "int8"))
    device.write(b"infer 4000000000 0%")
    time.sleep(0.2)
    device.write(b"name%" * 100 + b"\x03")  # type-ahead does not stand in its way
    reply = device.read(1).decode().split("\r\n")
    assert reply[2] == "m-infer-start-4000000000"
    assert reply[4:] == ["e-[Interrupted]", "m-ready", ""]
    device.write(b"db load 5\x03name%")  # and on the command line it takes back what was typed
    assert device.read(1) == b"m-name-dut-[headrace]\r\n" + READY


def test_commands_sent_ahead_wait(device: Device) -> None:
    device.load(wire(INPUTS[0], "int8"))
    replies = device.ask("infer 40 0", "scores", "\r\nclock", "\nengine\n").split("m-ready\r\n")
    assert [r.strip() for r in replies[1:]] == ["m-scores-[100,-7,250]", "m-clock-[100000000]", "m-engine-[host]", ""]


# --- What the bytes on the wire become ---

CONVERSIONS = [
    ("uint8", IntType(0, 255), [0, 1, 127, 128, 255], None),
    ("int8", IntType(-128, 127), [-128, -1, 0, 1, 127], None),
    ("int8", IntType(-8, 7), [-8, -1, 0, 1, 7], (8, "in -8..7")),
    ("uint8", IntType(0, 15), [0, 1, 2, 14, 15], (16, "in 0..15")),
    ("int8", IntType.bipolar(), [-1, 1, 1, -1, -1], (0, "-1 or 1")),
    ("int16", IntType(-300, 300), [-300, -256, -1, 255, 300], (-301, "in -300..300")),
    ("uint16", IntType(0, 65535), [0, 1, 255, 256, 65535], None),
    ("int8", IntType(-300, 300), [-128, -1, 0, 1, 127], None),
    ("uint8", IntType(0, 1000), [0, 1, 127, 128, 255], None),
    ("int16", IntType(-2, 2), [-2, -1, 0, 1, 2], (256, "in -2..2")),
    ("uint8", IntType(0, 6, 2), [0, 2, 4, 6, 6], (3, "in 0..6 by 2")),
]


@pytest.mark.parametrize(("kind", "type_", "values", "wrong"), CONVERSIONS, ids=[f"{c[0]}-{c[1]}" for c in CONVERSIONS])
def test_conversion(
    tmp_path: Path, kind: str, type_: IntType, values: list[int], wrong: tuple[int, str] | None
) -> None:
    size = 5 * input_bytes(type_)
    model: Manifest = replace(MODEL, input=Input((5,), 5, size, 4, type_), input_encoding=InputEncoding(kind, 1.0, 0.0))
    program = host.build(manifest=model, out_dir=tmp_path)
    answers = host.write_answers(tmp_path / "answers.bin", model, np.array([values]), OUTPUTS[:1])
    with Device(program, "--answers", answers) as device:
        assert device.load(wire(np.array(values), kind)) == LOADED
        for _ in range(2):  # the payload is still there the second time
            assert device.lines("infer 1 0")[-1] == f"m-results-[{NUMBERS}]"
        if wrong:
            device.load(wire(np.array([*values[:3], wrong[0], 1]), kind))
            assert device.lines("infer 1 0") == [f"e-[Input element 3 is {wrong[0]}, not {wrong[1]}]"]


# --- Transports ---


def serve(built: list[Path | str], *options: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([*map(str, built), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def receive(line: socket.socket, replies: int) -> bytes:
    """What comes until so many replies have ended."""
    said = b""
    while said.count(READY) < replies and (more := line.recv(100)):
        said += more
    return said


def test_over_tcp(built: list[Path | str]) -> None:
    process, line = serve(built, "--port", "0")
    match = re.fullmatch(r"uart: tcp 127\.0\.0\.1:(\d+)", line)
    assert match
    try:
        # not pyserial, which throws away what has come when it opens
        with socket.create_connection(("127.0.0.1", int(match[1])), timeout=10) as first:
            assert receive(first, 1) == b"m-init-done\r\nm-ready\r\n"  # it was kept until somebody listened
            first.sendall(b"db load 10%")
            assert receive(first, 1) == b"m-[Expecting 10 bytes]\r\nm-ready\r\n"
        with socket.create_connection(("127.0.0.1", int(match[1])), timeout=10) as line_:
            line_.sendall(b"db 00%db print%")
            assert receive(line_, 2) == b"m-ready\r\nm-buffer-00\r\nm-ready\r\n"
    finally:
        process.kill()
        process.communicate()


def test_over_a_pseudo_terminal(built: list[Path | str]) -> None:
    process, line = serve(built, "--pty")
    assert line.startswith("uart: pty /dev/")
    try:
        with serial.Serial(line.removeprefix("uart: pty "), 115200, timeout=10) as port:
            port.write(b"name%")
            said = b""
            while not said.endswith(
                b"m-name-dut-[headrace]\r\nm-ready\r\n"
            ):  # pyserial may have flushed what was before
                more = port.read_until(READY)
                assert more
                said += more
    finally:
        process.kill()
        process.communicate()


# --- Garbage ---

VERBS = (
    "name",
    "profile",
    "timestamp",
    "help",
    "db",
    "load",
    "print",
    "infer",
    "results",
    "scores",
    "cycles",
    "stalls",
)
NOUNS = (
    "hash",
    "clock",
    "engine",
    "selftest",
    "10",
    "0",
    "1",
    "3",
    "27648",
    "27649",
    "-1",
    "99999999999",
    "00",
    "7f80",
)
WORDS = st.sampled_from((*VERBS, *NOUNS, bytes(range(10)).hex(), "zz", "%", "\r\n", "\x03"))
MARKERS = itertools.count()
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.lists(st.lists(WORDS, max_size=4).map(" ".join), max_size=8).map(lambda c: "%".join(c).encode()),
)


def still_well(device: Device) -> None:
    """After Ctrl-C, a whole good session gives what it should. What the garbage itself provoked is read over."""
    marker = f"here{next(MARKERS)}".encode()
    device.write(b"\x03" + marker + b"%")
    while not device.read(1).endswith(b"e-[Unknown command: " + marker + b"]\r\n" + READY):
        pass
    assert device.load(wire(INPUTS[1], "int8")) == LOADED
    assert device.lines("infer 2 1")[-1] == f"m-results-[{','.join(results(MODEL, INPUTS[1], OUTPUTS[1]))}]"
    assert device.lines("scores") == ["m-scores-[-500,500,499]"]


@pytest.fixture(scope="module")
def lasting(built: list[Path | str]) -> Iterator[Device]:
    with Device(Path(built[0]), *built[1:]) as device:
        yield device


@SETTINGS
@given(garbage=GARBAGE)
def test_no_garbage_hurts(lasting: Device, garbage: bytes) -> None:
    lasting.write(garbage)
    still_well(lasting)


def test_a_percent_sign_is_enough_to_recover(lasting: Device) -> None:
    """A host that does not know Ctrl-C ends what it left half with a %."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        garbage = (
            bytes(rng.integers(0, 256, rng.integers(0, 120)).astype(np.uint8)).replace(b"%", b"").replace(b"\x03", b"")
        )
        lasting.write(garbage + b"%")
        assert lasting.read(1).startswith(b"e-[")
        assert lasting.lines("name") == ["m-name-dut-[headrace]"]


def test_a_long_night(built: list[Path | str]) -> None:
    """A megabyte of commands, whole and torn, at one blow; every % is answered, and the sanitizers stay silent."""
    rng = np.random.default_rng(6)
    verbs = ["name", "db", "db load", "db print", "db load 27648", "infer 0", "results", "scores", "", "db load 10"]
    verbs += ["db " + "5a" * 31, "db " + "0102" * 40, "selftest", "stalls", "cycles", "profile", "timestamp"]
    pieces, size = [], 0
    while size < 1_000_000:
        piece = verbs[rng.integers(len(verbs))].encode()
        dice = rng.integers(10)
        if dice == 0:
            piece = bytes(rng.integers(0, 256, rng.integers(300), dtype=np.uint8)).replace(b"\x03", b"c")
        elif dice < 4 and piece:
            at = rng.integers(len(piece))
            piece = piece[:at] + bytes([rng.integers(32, 256)]) + piece[at + rng.integers(2) :]
        pieces.append(piece)
        size += len(piece) + 1
    night = b"%".join(pieces) + b"%"
    done = subprocess.run([*map(str, built)], input=night + b"\x03hash%", capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stderr == b""
    assert done.stdout.endswith(b"m-hash-[8f3a91c2]\r\nm-ready\r\n")
    assert done.stdout.count(READY) == night.count(b"%") + 2
