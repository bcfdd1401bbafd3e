"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name that `headrace models` lists, or a model file (.onnx).")
]
Board = Annotated[str, typer.Option(metavar="BOARD", help="The board: sim is the simulated one.")]
Engine = Annotated[str, typer.Option(metavar="ENGINE", help="What computes: stream, the streaming accelerator.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="The folder to write to. [default: build/BOARD-MODEL-ENGINE]"),
]
