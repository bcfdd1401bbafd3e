"""The resources of synthesized models beside what was estimated, in Markdown; arguments are folders or model names.

It fails where the estimate of a model is not true: DSP48E1 or block RAM differ, or LUTs by more than 15 %.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from accel.manifest import FILE_NAME, Manifest
from toolchain.yosys import SynthesisReport

MOST = 0.15  # of the LUTs, by which an estimate may be wrong
COLUMNS = (
    "model",
    "MACs",
    "cycles",
    "LUT",
    "estimated",
    "",
    "FF",
    "BRAM36",
    "estimated",
    "DSP",
    "estimated",
    "Yosys, s",
)

Synthesized = tuple[Manifest, SynthesisReport]


def synthesized(folder: Path) -> Synthesized:
    """What is in a build folder that `headrace synth` has filled, or in that of a compiled model."""
    inner = folder if (folder / FILE_NAME).is_file() else folder / "model"
    return Manifest.load(inner), SynthesisReport.load(folder / "synthesis" / "report.json")


def table(some: Iterable[Synthesized]) -> str:
    """A row a model."""
    rows = [f"| {' | '.join(COLUMNS)} |", f"|---|{'--:|' * (len(COLUMNS) - 1)}"]
    for manifest, report in some:
        macs = sum(layer.macs for node in manifest.pipeline for layer in node.layers)
        total, estimate = report.total, manifest.estimate
        cells = [f"{macs:,}", f"{estimate.cycles:,}"]
        cells += [f"{total.lut:,}", f"{estimate.lut:,}", f"{estimate.lut / total.lut - 1:+.1%}", f"{total.ff:,}"]
        cells += [f"{total.bram36:g}", f"{estimate.bram36:g}", f"{total.dsp}", f"{estimate.dsp}"]
        rows.append(f"| {' | '.join([manifest.name, *cells, f'{report.seconds:.0f}'])} |")
    return "\n".join(rows)


def untrue(some: Iterable[Synthesized]) -> list[str]:
    """The models whose estimate is not true."""
    names = []
    for manifest, report in some:
        total, estimate = report.total, manifest.estimate
        exact = (estimate.bram36, estimate.dsp) == (total.bram36, total.dsp)
        if not exact or abs(estimate.lut / total.lut - 1) > MOST:
            names.append(manifest.name)
    return names


def main(names: Iterable[str]) -> None:
    """Print the table. Exits with the names of models whose estimate is not true."""
    some = [synthesized(Path(name) if "/" in name else Path("build") / f"sim-{name}-stream") for name in names]
    print(table(some))
    if wrong := untrue(some):
        sys.exit(f"the estimate of {', '.join(wrong)} is not true to synthesis; see accel/dataflow/cost.py")


if __name__ == "__main__":
    main(sys.argv[1:])
