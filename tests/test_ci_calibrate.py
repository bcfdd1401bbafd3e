"""The factors of the cost model, fitted anew to what a synthesis found, which is made up here."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from accel.dataflow.budget import RESOURCES, Cost
from accel.dataflow.cost import array_parts, multipliers_cost
from accel.dataflow.fitted import LUTS, Fitted
from accel.dataflow.node_cost import resources_of
from ci.calibrate import ARRAYS, CONVOLUTIONS, Measured, array, convolution, cost_of_parts, fit, line


def test_factors_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where synthesis takes other LUTs for adders, comparators and control, the fit says so and leaves the rest."""
    arrays, convolutions = [array(entry) for entry in ARRAYS], [convolution(entry) for entry in CONVOLUTIONS]
    parts = [(name, partial(cost_of_parts, node, (name,))) for node in arrays for name in array_parts(node)]
    parts += [("whole", partial(resources_of, node)) for node in convolutions]
    shipped = replace(LUTS)
    other = replace(shipped, adder=1.5 * shipped.adder, comparator=0.6 * shipped.comparator, array_control=40.0)
    with monkeypatch.context() as patch:
        for name, value in asdict(other).items():
            patch.setattr(LUTS, name, value)
        multipliers_cost.cache_clear()
        found = [expected() for _, expected in parts]
    multipliers_cost.cache_clear()
    some = [
        Measured("net", name, expected, {each: getattr(cost, each) for each in RESOURCES})
        for (name, expected), cost in zip(parts, found, strict=True)
    ]
    wrong = [abs(each.expected().lut / each.found["lut"] - 1) for each in some if each.found["lut"]]
    fitted = fit(some, LUTS)
    assert shipped == LUTS  # as they were
    for name, value in asdict(fitted).items():
        assert value == pytest.approx(asdict(other)[name], rel=0.05), name
    for name, value in asdict(fitted).items():
        monkeypatch.setattr(LUTS, name, value)
    multipliers_cost.cache_clear()
    better = [abs(each.expected().lut / each.found["lut"] - 1) for each in some if each.found["lut"]]
    assert max(better) < 0.03 < max(wrong)
    multipliers_cost.cache_clear()


def test_the_file_of_factors(tmp_path: Path) -> None:
    path = tmp_path / "fitted.toml"
    LUTS.save("0.99", path)
    assert Fitted.load(path) == LUTS and "Fitted to Yosys 0.99" in path.read_text()
    path.write_text("adder = 1.0\n")
    with pytest.raises(TypeError, match="missing 12 required"):
        Fitted.load(path)


def test_a_line_of_the_table() -> None:
    measured = Measured("3 layers", "units", lambda: Cost(lut=90, dsp=2), {"lut": 100, "ff": 0, "bram36": 0, "dsp": 2})
    assert line(measured).split() == ["3", "layers", "units", "100", "90", "-10%", "0", "0", "0", "0", "2", "2", "+0%"]
