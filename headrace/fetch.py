"""`headrace fetch`: model files and their samples, checked by sha256, into the cache."""

from __future__ import annotations

from typing import Annotated

import typer

from models import fetch, registry


def main(
    names: Annotated[list[str], typer.Argument(metavar="MODEL…", help="Names that `headrace models` lists.")],
    samples: Annotated[bool, typer.Option(help="Also the samples for accuracy mode.")] = True,
) -> None:
    """Get model files and their samples, from HEADRACE_DATA or their public addresses, and print where they are."""
    for entry in [registry.find(name) for name in names]:
        typer.echo(fetch.model(entry))
        if samples and entry.datasets:
            typer.echo(fetch.samples(entry))
