"""`headrace`: picks the verb, and turns every failure into one line that says what to do."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

# In the order of use; a verb is the function `main` of the module of the same name.
VERBS = (
    "models",
    "fetch",
    "inspect",
    "compile",
    "simulate",
    "synth",
    "route",
    "build",
    "run",
    "load",
    "bench",
    "report",
    "train",
    "doctor",
)


class Verbs(TyperGroup):
    """The verbs, each imported when it is asked for: `headrace models` need not wait for LiteX."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # names alone, for "did you mean"

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        one = typer.Typer(add_completion=False)
        one.command(cmd_name)(importlib.import_module(f"headrace.{cmd_name}").main)
        return get_command(one)


app = typer.Typer(
    cls=Verbs, add_completion=False, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback()
def headrace(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also: HEADRACE_DEBUG=1).")] = False,
) -> None:
    """From a quantized neural network to a benchmarked streaming accelerator."""
    if debug:
        os.environ["HEADRACE_DEBUG"] = "1"


def main(arguments: list[str] | None = None) -> None:
    """The command line. Ends the process: 0, or 1 after a failure, 2 after a wrong command line, 130 after Ctrl-C."""
    if data := os.environ.get("HEADRACE_DATA"):
        os.environ["HEADRACE_DATA"] = str(Path(data).resolve())  # tools run in other folders
    signal.signal(signal.SIGTERM, terminate)
    try:
        get_command(app)(args=arguments, prog_name="headrace")
    except Exception as error:
        if os.environ.get("HEADRACE_DEBUG", "0") not in ("", "0"):
            raise
        print(f"headrace: {explain(error)}", file=sys.stderr)
        sys.exit(1)


def explain(error: Exception) -> str:
    """What to print for ``error``: its text where it was written for users, else also that it is our fault."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror}"
    if isinstance(error, (RuntimeError, ValueError, LookupError)) and error.args:
        return str(error.args[0]) if isinstance(error, KeyError) else str(error)
    kind = type(error).__name__
    return f"{kind}: {error}\nThis should not have happened; HEADRACE_DEBUG=1 with the same command shows where it did."


def terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends us as Ctrl-C does, so that simulators are stopped and half-written folders removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
