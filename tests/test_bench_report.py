"""report.html: whole, self-contained, and true to its files."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_device import make_model

from accel.manifest import LinkEntry, Manifest, NodeEntry
from bench import BenchError, Results, record_step, write_report
from bench.accuracy import Row, line
from bench.drawing import NARROW, WIDE, pipeline_svg
from bench.report import confusion, score_strip
from bench.results import BitExact, Cycles, Latency, Run
from bench.terminal import microseconds

VOID = {"meta", "br", "rect", "path"}


class Page(HTMLParser):
    """Checks that tags nest; keeps the text and every address that a browser would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.loads: list[str] = []
        self.count: Counter[str] = Counter()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.loads += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def results(manifest: Manifest) -> Results:
    return Results(
        model=manifest.name,
        board="sim",
        engine="stream",
        mode="accuracy",
        samples=8,
        accuracy=0.75,
        auc=0.9,
        latency_us=Latency(5.25, [5.25] * 5, [1000] * 5, "Cycles of the simulated SoC at 100 MHz."),
        throughput_inf_per_s=190476.2,
        cycles=Cycles(482, 511, 531, [[30, 2], [0, 4]]),
        clock_hz=100_000_000,
        bit_exact=BitExact(8, 1),
        golden=BitExact(8, 2),
    )


def write_rows(folder: Path, rows: list[Row]) -> None:
    (folder / "samples.csv").write_text("file,label,predicted,scores\n" + "".join(map(line, rows)))


def test_a_whole_report(tmp_path: Path) -> None:
    manifest = replace(make_model(tmp_path / "model", name="<kws> & co"), task="kws01")
    manifest.save(tmp_path / "model")
    results(manifest).save(tmp_path)
    Run(manifest.name, manifest.hash, "sim", "stream", True, 100_000_000).claim(tmp_path)
    write_rows(tmp_path, [Row(f"{i}", i % 4, str(i % 4 if i < 6 else 0), ("0.1",) * 4) for i in range(8)])
    routed = {"device": "xc7a100t", "lut": 15000, "ff": 190, "bram36": 0.5, "dsp": 8, "stage": "routing"}
    record_step(tmp_path, "route", resources=routed, tools={"nextpnr": "7c0c1c40"}, fmax_hz=98_500_000)
    path = write_report(model_dir=tmp_path / "model", out_dir=tmp_path, class_names=("yes", "no", "up", "down"))
    assert path == tmp_path / "report.html"
    html = path.read_text()
    page = Page(html)
    assert page.loads == []
    assert "url(" not in html and "@import" not in html and "<script" not in html
    for said in (
        "<kws> & co",
        "on a simulated SoC, engine stream, 100 MHz · model 8f3a91c2",
        "Simulated board.",
        "5.25 µs",
        "75.00 %",
        "of 8 samples equal the reference",
        "of 8 samples equal the golden outputs",
        "Counted after routing, against the budget on sim; fastest clock 98.5 MHz.",
        "15,000 of 30,000",
        "50 %",
        "531 cycles from start to known end",
        "core 482",
        "DMA 29",
        "CPU 20",
        "DMA → array0",
        "array0 → DMA",
        "4 PE × 2 SIMD = 8 multipliers in DSP",
        "dense0: 70 → 4, w3 a8, accumulators out, 35 steps",
        "starved 30, blocked 2 cycles",
        "int8 reference model, GAP9",
        "475 µs",
        "7c0c1c40",
        "down",
    ):
        assert said in page.text, said
    # A mismatch is shown in the colour of errors.
    assert html.count('class="card bad"') == 2
    # Both drawings are there, one for wide screens and one for narrow ones.
    assert page.count["svg"] == 2
    # The same files give the same page, and dark and print styles are in it.
    assert (
        write_report(model_dir=tmp_path / "model", out_dir=tmp_path).read_text().count("prefers-color-scheme: dark")
        == 1
    )
    assert "@media print" in html


def test_before_anything_was_measured(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    page = Page(write_report(model_dir=tmp_path / "model", out_dir=tmp_path / "out").read_text())
    assert "Not measured yet. Every number on this page is the compiler's estimate." in page.text
    assert "Confusion matrix" not in page.text and "Beside published" not in page.text
    with pytest.raises(BenchError, match=r"results.json: not a JSON object"):
        (tmp_path / "results.json").write_text("3")
        write_report(model_dir=tmp_path / "model", out_dir=tmp_path)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_sticks_out_of_the_drawing(tmp_path: Path, width: int) -> None:
    """Every rectangle lies inside the picture, below the one before, and text has room at 0.57 em a character."""
    manifest = make_model(tmp_path)
    (array,) = manifest.pipeline
    wide = replace(array, node="array1", pe=128, simd=1, layers=array.layers * 6)
    layer = replace(array.layers[0], name="conv1", kernel=(3, 3), activation="requantize")
    conv = replace(array, kind="conv", layers=(layer,), capacity=70, buffer="lut")
    nodes = (
        NodeEntry("table0", "table", 4, 1, 1, 0.0, 0),
        array,
        wide,
        *(NodeEntry(f"{kind}0", kind, 4, 1, 1, 0.0, 0) for kind in ("concat", "repack", "upsample", "topk", "pad")),
        NodeEntry("join0", "add", 4, 1, 1, 0.0, 0),
        replace(conv, node="conv1", pe=16, simd=8, taps=9),
        NodeEntry("argmax0", "argmax", 4, 1, 1, 0.0, 0),
    )
    links = [LinkEntry(*ends, 0, 4, 8, 0) for ends in itertools.pairwise(["", *(node.node for node in nodes), ""])]
    links += [LinkEntry("", "join0", 1, 16, 12, 12_345), LinkEntry("array0", "join0", 2, 16, 12, 600)]
    drawn = replace(manifest, pipeline=nodes, links=tuple(links))
    picture = ElementTree.fromstring(pipeline_svg(drawn, [[1_000_000, 2_000_000]] * 9, width=width))
    height = float(picture.attrib["height"])
    bottom = 0.0
    for box in picture.iter("rect"):
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        if box.attrib["class"] != "cells":
            assert y >= bottom
            bottom = y + h
    for words in picture.iter("text"):
        size = 13 if words.attrib.get("class") in ("small", "right") else 14
        if words.attrib.get("class") != "right":
            assert float(words.attrib["x"]) + 0.57 * size * len(words.text or "") <= width, words.text
    assert re.match(
        "Pipeline: memory, table0, array0, array1, concat0, .* argmax0, memory", picture.attrib["aria-label"]
    )
    said = " ".join(words.text or "" for words in picture.iter("text"))
    assert "from the input: 16 lanes × 12 bits" in said and "FIFO of 12,345" in said and "from array0: 16 lanes" in said
    assert "16 PE × 8 SIMD × 9 taps 1,152 multipliers" in said and "conv1: 3 × 3, " in said


def test_confusion_and_scores() -> None:
    rows = [Row("a", 0, "0", ("1.0", "0.0")), Row("b", 0, "1", ("0.0", "1.0")), Row("c", 1, "1", ("0.0", "1.0"))]
    matrix = confusion(rows, ("cat",))
    assert matrix["names"] == ["cat", "1"]
    assert [[cell["count"] for cell in line["cells"]] for line in matrix["lines"]] == [[1, 1], [0, 1]]
    assert [line["recall"] for line in matrix["lines"]] == ["50 %", "100 %"]
    strip = score_strip([Row("a", 0, "1.0", ("1.0",)), Row("b", 1, "3.0", ("3.0",)), Row("c", 1, "2.0", ("2.0",))])
    assert strip == {"low": "1", "high": "3", "normal": [0.0], "anomalous": [100.0, 50.0]}


def test_times_are_readable() -> None:
    shown = [microseconds(us) for us in (0.25, 5.25, 33.2, 1517, 33180, 2_500_000)]
    assert shown == ["250 ns", "5.25 µs", "33.2 µs", "1.517 ms", "33.18 ms", "2.5 s"]
