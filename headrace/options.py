"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import boards

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name that `headrace models` lists, or a model file (.onnx, .tflite).")
]
Board = Annotated[
    str,
    typer.Option(
        metavar="BOARD",
        help=f"The board: {', '.join(boards.names())}, or one with its variant (arty-a7-35); sim is the simulated one.",
    ),
]
Engine = Annotated[str, typer.Option(metavar="ENGINE", help="What computes: stream, the streaming accelerator.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="The folder to write to (build/BOARD-MODEL-ENGINE)."),
]

# How a bitstream is made. Verbs that find one made take these as it was made with, where they are not given.
Flow = Annotated[
    str | None,
    typer.Option(
        "--flow", metavar="FLOW", envvar="FLOW", help="For a bitstream: open or vivado (the board's, or as before)."
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        envvar="SEEDS",
        help="For a bitstream: place and route N times, keep the best (4 times, or as before).",
    ),
]
AllowTimingFail = Annotated[
    bool | None,
    typer.Option(
        "--allow-timing-fail",
        envvar="ALLOW_TIMING_FAIL",
        help="Take a bitstream that misses its clock.",
        show_default=False,
    ),
]
