"""The resources of synthesized models as a table in Markdown; arguments are names of registered models."""

from __future__ import annotations

import sys
from pathlib import Path

from accel.manifest import Manifest
from toolchain.yosys import SynthesisReport


def table(folders: list[Path]) -> str:
    """One row a build folder that `headrace synth` has filled."""
    rows = [
        "| model | MACs | cycles, estimated | LUT | FF | BRAM36 | DSP | Yosys, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for folder in folders:
        manifest, report = Manifest.load(folder / "model"), SynthesisReport.load(folder / "synthesis" / "report.json")
        macs = sum(layer.macs for node in manifest.pipeline for layer in node.layers)
        total = report.total
        cells = [f"{macs:,}", f"{manifest.estimate.cycles:,}", f"{total.lut:,}", f"{total.ff:,}", f"{total.bram36:g}"]
        rows.append(f"| {' | '.join([manifest.name, *cells, f'{total.dsp:,}', f'{report.seconds:.0f}'])} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table([Path("build") / f"sim-{name}-stream" for name in sys.argv[1:]]))
