"""The tables of nodes: every number of the manifest and of the report in its place."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from test_manifest import EXAMPLE

from accel.graph import Affine
from accel.manifest import LinkEntry
from headrace import inspect, nodes
from headrace.inspect import summary
from models import evaluate, registry
from toolchain.yosys import Resources


def rows(table: Table) -> dict[str, list[str]]:
    """The lines of a table as printed, by their first word."""
    console = Console(width=240)
    with console.capture() as capture:
        console.print(table)
    return {line.split()[0]: line.split()[1:] for line in capture.get().splitlines()}


def test_a_row_a_node() -> None:
    found = rows(nodes.table(EXAMPLE))
    array = ["490→256", "32", "×", "20", "4", "200", "470", "9,000", "7,000", "30.5", "220", "88", "%", "600"]
    assert found["array0"] == array
    assert found["conv0"][:6] == ["3×3", "2→8", "on", "8×8", "4", "×"]
    assert found["table0"] == ["table", "4", "120", "90", "0", "0"]
    assert found["1"] == ["FIFOs", "40", "20", "0.5", "0", "600"]
    assert found["all"] == ["474", "9,120", "7,090", "30.5", "220", "88", "%"]


def test_synthesis_beside_the_estimate() -> None:
    array, core = Resources(9500, 6900, 30.0, 220, 0, 0, 0), Resources(44, 12, 0.5, 0, 0, 0, 0)
    modules = {"headrace.core.array0": array, "headrace.core": core, "headrace": Resources(700, 900, 0, 0, 0, 0, 0)}
    found = rows(nodes.beside(EXAMPLE, modules, Resources(10244, 7812, 30.5, 220, 0, 0, 0)))
    assert found["array0"][1:5] == ["9,500", "(9,000)", "6,900", "(7,000)"]
    assert found["table0"][1:3] == ["0", "(120)"]
    assert found["between"][4:6] == ["44", "(40)"]
    assert found["around"][-8:] == ["700", "(0)", "900", "(0)", "0", "(0)", "0", "(0)"]
    assert found["all"][:2] == ["10,244", "(9,120)"]


def test_the_summary_tells_what_binds() -> None:
    text = summary(EXAMPLE)
    assert text.startswith("kws-w3a3: 134,656 multiplications in 474 cycles, a frame every 300; 30 % of the LUT")
    assert text.endswith("weights fill 88 % of their block RAM; bound by dsp")
    assert summary(replace(EXAMPLE, budget=replace(EXAMPLE.budget, binding=None))).endswith("bound by nothing")
    assert summary(replace(EXAMPLE, budget=replace(EXAMPLE.budget, binding="rate"))).endswith("bound by rate")


def test_what_is_a_compiled_model(tmp_path: Path) -> None:
    assert nodes.compiled(str(tmp_path)) is None and nodes.compiled("mnist-w2a2") is None
    EXAMPLE.save(tmp_path)
    assert nodes.compiled(str(tmp_path)) == tmp_path
    links = (*EXAMPLE.links, LinkEntry("table0", "conv0", 0, 4, 3, 0))
    assert rows(nodes.table(replace(EXAMPLE, links=links)))["conv0"][-1] == "20"  # no FIFO, no depth


def test_inspect_takes_the_folder_of_a_compiled_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EXAMPLE.save(tmp_path)
    inspect.main(str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["table0", "array0", "conv0"]
    assert lines[-1] == summary(EXAMPLE)


def test_multiplications_are_those_of_the_registry(data: Path) -> None:
    for entry in registry.all():
        if entry.trained_here or (data / "models" / entry.file).exists():
            assert inspect.multiplications(evaluate.graph(entry)) == entry.macs, entry.name


def test_what_the_wire_carries(data: Path) -> None:
    graph = evaluate.graph(registry.find("ad01"))
    assert inspect.wire(graph, reals=True) == (
        "the wire carries float32 numbers, little-endian, which the device quantizes; an integer stands for itself "
        "times 0.391015232 plus -34.8003556"
    )
    channels = replace(graph.input, affine=Affine((Fraction(1, 4), Fraction(1, 2)), (Fraction(0),)))
    assert inspect.wire(replace(graph, input=channels), reals=False) == (
        "the wire carries the input's integers; an integer stands for itself times 0.25 to 0.5 (by channel) plus 0"
    )
