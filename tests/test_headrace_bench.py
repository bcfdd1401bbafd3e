"""The shipped model from its file to a report on the simulated SoC, as a stranger types it; stopped, gone on with."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from models import fetch, registry

SAMPLES = 4
# A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
WITH_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import headrace.__main__ as h; h.main()"
)


def headrace(*arguments: object) -> str:
    """What the command printed. Fails the test unless it ended well."""
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build, whose first attempt was stopped by Ctrl-C while the simulator was being made."""
    folder = tmp_path_factory.mktemp("bench") / "build"
    first = subprocess.Popen(
        [sys.executable, "-c", WITH_CTRL_C, "build", "-o", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert first.stdout is not None
    said = []
    for line in first.stdout:
        said.append(line.split(":")[0])
        if line.startswith("simulator: verilating"):
            os.killpg(first.pid, signal.SIGINT)
            break
    _, errors = first.communicate(timeout=60)
    assert said == ["compile", "compile", "soc", "soc", "firmware", "firmware", "simulator"]
    assert first.returncode == 130 and "Traceback" not in errors
    assert (folder / "firmware/firmware.bin").exists() and not (folder / "sim").exists()

    lines = headrace("build", "-o", folder).splitlines()
    assert [line.split(":")[0] for line in lines] == ["simulator", "simulator", f"{folder} is up to date"]
    assert headrace("build", "-o", folder) == f"{folder} is up to date\n"
    return folder


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The first of the shipped samples, in the official layout."""
    source = fetch.samples(registry.find(registry.DEFAULT))
    folder = tmp_path / "few"
    folder.mkdir()
    index = (source / "y_labels.csv").read_text().splitlines()[:SAMPLES]
    (folder / "y_labels.csv").write_text("\n".join(index) + "\n")
    for line in index:
        shutil.copy(source / line.split(",")[0].strip(), folder)
    return folder


def test_performance(out: Path) -> None:
    headrace("bench", "-o", out)
    results = json.loads((out / "results.json").read_text())
    manifest = json.loads((out / "model/manifest.json").read_text())
    assert (results["model"], results["board"], results["engine"]) == ("mnist-w2a2", "sim", "stream")
    assert results["bit_exact"] == {"samples": 5, "mismatches": 0}
    cycles = results["cycles"]
    assert cycles["accelerator"] <= cycles["face"] < cycles["inference"] < cycles["face"] + 40
    assert results["latency_us"]["median"] == pytest.approx(cycles["inference"] / 100, rel=0.1)
    assert results["seconds"].keys() >= {"compile", "soc", "firmware", "simulator"}
    assert results["tools"].keys() >= {"litex", "amaranth", "verilator", "c++", "firmware compiler", "headrace"}
    assert results["resources"]["stage"] == "estimate" and results["resources"]["lut"] == manifest["estimate"]["lut"]
    assert "<svg" in (out / "report.html").read_text()


def test_accuracy(out: Path, few: Path) -> None:
    headrace("bench", "--mode", "accuracy", "--samples", few, "-o", out)
    rows = list(csv.DictReader((out / "samples.csv").open()))
    assert len(rows) == SAMPLES
    results = json.loads((out / "results.json").read_text())
    assert results["accuracy"] == sum(row["label"] == row["predicted"] for row in rows) / SAMPLES
    assert results["bit_exact"]["mismatches"] == 0
    (out / "report.html").unlink()
    assert headrace("report", "-o", out) == f"{out / 'report.html'}\n" and (out / "report.html").exists()


@pytest.fixture
def board(out: Path) -> Iterator[tuple[subprocess.Popen, int, str]]:
    """`headrace run`: the process, its TCP port and its pseudo-terminal."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_CTRL_C, "run", "-o", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("Simulated board, until Ctrl-C.")
        tcp = re.fullmatch(r"uart: tcp 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        pty = re.fullmatch(r"uart: pty (\S+)\n", process.stdout.readline())
        assert tcp and pty
        yield process, int(tcp[1]), pty[1]
    finally:
        process.kill()
        process.communicate()


def test_run_leaves_a_board_that_anything_can_talk_to(
    out: Path, few: Path, board: tuple[subprocess.Popen, int, str]
) -> None:
    process, port, pty = board
    with serial.Serial(pty, timeout=30) as line:
        line.write(b"hash%")
        said = line.read_until(b"m-ready\r\n").decode()
        if "m-init-done" in said:  # unless pyserial, which throws away what is there as it opens a port, was too late
            said = line.read_until(b"m-ready\r\n").decode()
    manifest = json.loads((out / "model/manifest.json").read_text())
    assert f"m-hash-[{manifest['hash']}]" in said
    url = f"socket://127.0.0.1:{port}"
    headrace("bench", "--mode", "accuracy", "--samples", few, "--port", url, "-o", out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors and process.returncode in (0, 130, -signal.SIGINT)


def test_load_says_that_there_is_nothing_to_load(out: Path) -> None:
    assert headrace("load", "-o", out).startswith("The simulated board needs no loading: ")
