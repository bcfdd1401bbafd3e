"""An FPGA's build as a stranger types it: real synthesis for the Arty, then mock tools, to the board and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from mock_tools import NAMES, MockTools
from onnx_networks import Network

from toolchain import yosys

# A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
WITH_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import headrace.__main__ as h; h.main()"
)


def small_model(path: Path) -> Path:
    """A dense layer of 8 inputs and 4 outputs."""
    net = Network((1, 8))
    x = net.add("Quant", "x", 1.0, 0.0, 4.0, signed=0, narrow=0, rounding_mode="ROUND")
    weights = np.arange(32, dtype=np.float64).reshape(8, 4) % 7 - 3
    w = net.add("Quant", weights, 1.0, 0.0, 3.0, signed=1, narrow=1, rounding_mode="ROUND")
    return net.save(path, net.add("MatMul", x, w))


def test_arty(tmp_path: Path) -> None:
    tools = MockTools(tmp_path / "bin", names=tuple(name for name in NAMES if name != "yosys"))
    real = yosys.find()
    found = {"YOSYS": real.command[0]} if real.kind == "yosys" else {}
    env = {k: v for k, v in os.environ.items() if k not in ("YOSYS", "SEEDS", "FLOW", "ALLOW_TIMING_FAIL", "NEXTPNR")}
    env |= {name: value for name, value in tools.environment().items() if name != "YOSYS"} | found
    model, out = small_model(tmp_path / "small.onnx"), tmp_path / "out"

    def command(verb: str) -> list[str]:
        return [sys.executable, "-c", WITH_CTRL_C, verb, str(model), "--board", "arty", "-o", str(out)]

    def headrace(verb: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        tools.forget()
        return subprocess.run(
            [*command(verb), *options], env=env | variables, capture_output=True, text=True, check=False
        )

    def called() -> list[str]:
        return [call[0] for call in tools.calls]

    # Interrupted while the second seed is placed and routed; the first one is kept.
    tools.set(slow=["2"], mhz={"1": 40, "2": 45})
    first = subprocess.Popen(
        command("build"), env=env | {"SEEDS": "2"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 600
    while not (out / "bitstream/seed-1/result.json").is_file():
        assert time.monotonic() < deadline and first.poll() is None, first.communicate()
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    said, errors = first.communicate(timeout=60)
    assert first.returncode == 130 and "Traceback" not in errors
    assert said.splitlines()[-1] == "interrupted; the same command goes on where it was"
    assert f"synthesis: soc with Yosys {real.version}" in said and called().count("nextpnr-himbaechel") == 2

    # Only the second seed is left. Both miss the clock, which the report shows all the same.
    tools.set(slow=[])
    missed = headrace("build", SEEDS="2")
    assert missed.returncode == 1 and called() == ["nextpnr-himbaechel"]
    assert "headrace: timing: clk reaches 45.0 of 50.0 MHz with seed 2, the best of 2" in missed.stderr
    assert "LUT" in missed.stdout and "misses 50.0 MHz" in missed.stdout
    assert f"{out}/report.html" in missed.stdout and "misses 50.0" in (out / "report.html").read_text()
    assert not (out / "bitstream/soc.bit").exists()
    assert headrace("load").returncode == 1 and called() == []  # with the two seeds that it was built with

    taken = headrace("build", "--allow-timing-fail", SEEDS="1")
    assert taken.returncode == 0 and called() == ["fasm2frames", "xc7frames2bit"]
    assert f"{out} is up to date" in taken.stdout and (out / "bitstream/soc.bit").is_file()
    xdc = (out / "bitstream/soc.xdc").read_text()
    assert "create_clock" in xdc and "E3" in xdc  # the crystal

    # To the board as it was built: one seed, and with the clock that it missed.
    loaded = headrace("load")
    assert loaded.returncode == 0, loaded.stderr
    assert tools.calls == [["openFPGALoader", "--board", "arty_a7_100t", str(out / "bitstream/soc.bit")]]
    assert headrace("load", "--flash").returncode == 0 and "--write-flash" in tools.calls[0]
    assert headrace("build", SEEDS="1").returncode == 1 and called() == []  # asked for anew, it has to meet its clock
