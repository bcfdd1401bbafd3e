"""The built FPGA in report.html and in the terminal: bars against the device, clocks, seeds, the critical path."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

from fake_device import make_model
from rich.console import Console
from test_bench_report import Page

from bench import fpga, print_implementation, record_step, write_report
from toolchain.implementation import ImplementationReport, SeedResult
from toolchain.timing import Clock, CriticalPath, Hop, Use

CLOCKS = (Clock("sys_clk", 92.9e6, 75e6), Clock("crystal", 900e6, 100e6))
HOPS = (
    Hop("clk-to-q", 0.5, "core.array0.x_FDRE_Q"),
    Hop("routing", 4.25, "core.array0.x[3]"),
    Hop("routing", 4.0, "core.array0.x[3]"),
    Hop("logic", 0.25, "$abc$12"),
    Hop("setup", 0.5, "core.array0.product_FDRE_Q"),
)
REPORT = ImplementationReport(
    bitstream="soc.bit",
    device="xc7a100tcsg324-1",
    seed=2,
    clocks=CLOCKS,
    paths=(CriticalPath("sys_clk", "sys_clk", HOPS, ("core.array0.x", "core.array0.product")),),
    utilization={"lut": Use(26749, 63400), "ff": Use(15532, 126800), "bram36": Use(32.5, 135), "dsp": Use(230, 240)},
    synthesis=None,
    seeds=(
        SeedResult(1, 300, 0.5, (Clock("sys_clk", 46.45e6, 75e6),)),
        SeedResult(2, 571, 1.2, CLOCKS),
        SeedResult(3, 9, error="ERROR: Unable to find legal placement (log: seed-3.log)"),
    ),
    seconds={"synthesis": 209.6, "place and route": 570.6, "bitstream": 0.04},
    tools={},
    logs={},
    patched=False,
)


def test_bars() -> None:
    assert [(b.name, round(b.percent, 1), b.text, b.kind, b.detail) for b in fpga.utilization_bars(REPORT)] == [
        ("LUT", 42.2, "42 %", "", "26,749 of 63,400"),
        ("FF", 12.2, "12 %", "", "15,532 of 126,800"),
        ("BRAM36", 24.1, "24 %", "", "32.5 of 135"),
        ("DSP48E1", 95.8, "96 %", "bad", "230 of 240"),
    ]
    ecp5 = fpga.utilization_bars(replace(REPORT, device="LFE5U-85F-6BG381C"))
    assert [bar.name for bar in ecp5] == ["LUT4", "FF", "BRAM36", "MULT18"]
    missed = replace(REPORT, clocks=(Clock("sys_clk", 60e6, 75e6), CLOCKS[1]))
    assert [(b.percent, b.text, b.kind, b.detail) for b in fpga.clock_bars(missed)] == [
        (80.0, "60.0 MHz", "bad", "misses 75.0 MHz, as routed"),
        (100.0, "900.0 MHz", "", "meets 100.0 MHz, as routed"),
    ]
    assert [(b.name, b.percent, b.text, b.kind, b.detail) for b in fpga.seed_bars(REPORT)] == [
        ("seed 1", 50.0, "46.5 MHz", "soft", "300 s"),
        ("seed 2", 100.0, "92.9 MHz", "", "571 s"),
        ("seed 3", 0.0, "failed", "soft", "ERROR: Unable to find legal placement (log: seed-3.log)"),
    ]
    assert [(b.name, b.text, b.kind) for b in fpga.path_bars(REPORT.paths[0])] == [
        ("x", "0.8 ns", ""),  # with what Yosys made up after it
        ("x", "8.2 ns", "second"),
        ("product", "0.5 ns", ""),
    ]
    assert fpga.path_bars(CriticalPath("a", "a", (), ())) == []
    assert [fpga.duration(s) for s in (0.04, 9.94, 10.4, 59.4, 59.6, 725)] == [
        "0.0 s", "9.9 s", "10 s", "59 s", "1 min 0 s", "12 min 5 s",
    ]  # fmt: skip


def test_in_the_page(tmp_path: Path) -> None:
    """It is there as long as the step that made it counts, and takes nothing from the rest of the page."""
    make_model(tmp_path / "model")
    (tmp_path / "bitstream").mkdir()
    REPORT.save(tmp_path / "bitstream" / "report.json")

    def page() -> Page:
        return Page(write_report(model_dir=tmp_path / "model", out_dir=tmp_path).read_text())

    assert fpga.load(tmp_path) is None and "The FPGA" not in page().text
    record_step(tmp_path, "bitstream", seconds=REPORT.seconds)
    assert fpga.load(tmp_path) == REPORT
    text = page().text
    for said in (
        "Built, not measured yet.",
        "The whole SoC as routed, against all of xc7a100tcsg324-1.",
        "26,749 of 63,400",
        "Every clock is met, with seed 2, the best of 3.",
        "meets 75.0 MHz, as routed",
        "From sys_clk to sys_clk, 9.5 ns (8.2 ns of it routing): core.array0.x → core.array0.product",
        "Time a step",
        "9 min 31 s",
    ):
        assert said in text, said
    replace(REPORT, clocks=(Clock("sys_clk", 60e6, 75e6),), patched=True, paths=(), seeds=REPORT.seeds[1:2]).save(
        tmp_path / "bitstream" / "report.json"
    )
    text = page().text
    assert "A clock is missed, with seed 2." in text and "only what block memories hold is newer" in text
    assert "Critical path" not in text


def test_in_the_terminal() -> None:
    file = StringIO()
    print_implementation(Console(file=file, width=110), REPORT)
    lines = [" ".join(line.replace("━", "").replace("╸", "").split()) for line in file.getvalue().splitlines()]
    assert lines == [
        "xc7a100tcsg324-1, seed 2",
        "LUT 42 % 26,749 of 63,400",
        "FF 12 % 15,532 of 126,800",
        "BRAM36 24 % 32.5 of 135",
        "DSP48E1 96 % 230 of 240",
        "sys_clk 92.9 MHz meets 75.0 MHz, as routed",
        "crystal 900.0 MHz meets 100.0 MHz, as routed",
        "critical path: 9.5 ns (8.2 ns of it routing): core.array0.x → core.array0.product",
        "synthesis 3 min 30 s, place and route 9 min 31 s, bitstream 0.0 s",
    ]
    assert file.getvalue().splitlines()[1].split()[1] == 12 * "━" + "╸"  # 42 % of 30 characters
