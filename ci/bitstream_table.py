"""A table in Markdown of built bitstreams: ci/bitstream_table.py BOARD MODEL..."""

from __future__ import annotations

import sys

from bench.fpga import duration, load, utilization_bars
from headrace.target import Target


def row(board: str, model: str) -> str:
    """The line of one build, below the header of `table`."""
    report = load(Target.of(model, board=board, engine="stream").out_dir)
    if report is None:
        return f"| {model} | not built | | | |"
    used = ", ".join(f"{bar.name} {bar.detail}" for bar in utilization_bars(report))
    clocks = ", ".join(f"{c.name} {c.achieved_hz / 1e6:.1f} of {c.required_hz / 1e6:.1f}" for c in report.clocks)
    return f"| {model} | {report.device} | {used} | {clocks} | {duration(sum(report.seconds.values()))} |"


def table(board: str, models: list[str]) -> str:
    header = ["| model | device | used | MHz, as routed | time |", "|---|---|---|---|---|"]
    return "\n".join([*header, *(row(board, model) for model in models)])


if __name__ == "__main__":
    print(table(sys.argv[1], sys.argv[2:]))
