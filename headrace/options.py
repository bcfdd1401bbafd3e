"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name that `headrace models` lists, or a model file (.onnx, .tflite).")
]
Board = Annotated[
    str, typer.Option(metavar="BOARD", help="The board: sim is the simulated one; arty-a7-35 is a variant of arty.")
]
Engine = Annotated[str, typer.Option(metavar="ENGINE", help="What computes: stream, the streaming accelerator.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="The folder to write to. [default: build/BOARD-MODEL-ENGINE]"),
]

# How a bitstream is made. The variables reach every verb that may have to make it: all of them mean the same one.
Flow = Annotated[
    str | None,
    typer.Option(
        "--flow", metavar="FLOW", envvar="FLOW", help="For a bitstream: open or vivado. [default: the board's]"
    ),
]
Seeds = Annotated[
    int,
    typer.Option(min=1, metavar="N", envvar="SEEDS", help="For a bitstream: place and route N times, keep the best."),
]
AllowTimingFail = Annotated[
    bool,
    typer.Option("--allow-timing-fail", envvar="ALLOW_TIMING_FAIL", help="Take a bitstream that misses its clock."),
]
