"""`headrace train`: the models trained here, again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.options import Model
from models.registry import DEFAULT
from models.train import train


def main(
    model: Model = DEFAULT,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="[default: build/train/MODEL]")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Not the recipe's: another model, for images on a GPU or all cores.")
    ] = None,
    restart: Annotated[bool, typer.Option(help="Begin anew, not after the last whole epoch.")] = False,
) -> None:
    """Train a model that was trained here again, to the same bytes (`make train` installs PyTorch and Brevitas)."""
    typer.echo(train(model, out, epochs=epochs, restart=restart))
