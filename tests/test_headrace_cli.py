"""The command line: every verb explains itself, every failure is one line with a way out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import boards
from headrace.__main__ import VERBS, app, explain
from models import registry

runner = CliRunner()
KNOWN = ", ".join(entry.name for entry in registry.all())
BOARDS = ", ".join(boards.names())
ROUTED = " or ".join(name for name in boards.names() if boards.find(name).flow == "open")


def headrace(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        cwd=cwd,
        env=inherited | {"NO_COLOR": "1", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_of_every_verb() -> None:
    overview = runner.invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert overview.exit_code == 0
    for verb in VERBS:
        assert f" {verb} " in overview.stdout
        result = runner.invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        assert f"Usage: headrace {verb} " in result.output or f"Usage: root {verb} " in result.output
    none = runner.invoke(app, [])
    assert none.exit_code == 2 and "Usage:" in none.output
    typo = runner.invoke(app, ["bensh"])
    assert typo.exit_code == 2 and "No such command 'bensh'. Did you mean 'bench'?" in typo.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["bench", "mnist-w2a3"],
            f"no model is called 'mnist-w2a3'. Did you mean mnist-w2a2 or kws-w3a3? Known: {KNOWN}; "
            "or give the path of a file (.onnx or .tflite)",
        ),
        (["build", "--board", "spartan"], f"BOARD must be one of {BOARDS}, not 'spartan'"),
        (["build", "--engine", "cfu"], "ENGINE must be stream, not 'cfu'"),
        (["compile", "missing.onnx"], "missing.onnx: there is no such model file"),
        (["synth", "--family", "ice40"], "--family must be one of xc7, ecp5, not 'ice40'"),
        (["route", "--board", "sim"], f"only boards of the open flow are routed: --board {ROUTED}"),
        (["inspect", "Makefile"], "Makefile: a model file ends in .onnx or .tflite"),
        (["fetch", "kws01"], "HEADRACE_DATA={} is not a folder; correct it or unset it"),
        (["train", "kws01"], "only mnist-w2a2, cnv-w1a1, resnet8-w4a4, dscnn-w4a4 can be trained here, not 'kws01'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_failure_is_one_line_with_a_way_out(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "Makefile").touch()
    data = str(tmp_path / "no data")
    done = headrace(*arguments, cwd=tmp_path, HEADRACE_DATA="no data")
    assert done.stderr == f"headrace: {message.format(data)}\n"
    assert done.returncode == 1 and done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    for done in (
        headrace("--debug", "inspect", "missing.onnx", cwd=tmp_path),
        headrace("inspect", "missing.onnx", cwd=tmp_path, HEADRACE_DEBUG="1"),
    ):
        assert done.returncode == 1
        assert "Traceback" in done.stderr and "RegistryError: missing.onnx: there is no such model file" in done.stderr


def test_a_fault_of_ours_is_named_as_one() -> None:
    assert explain(RuntimeError("a reason")) == "a reason"
    assert explain(KeyError("a reason")) == "a reason"
    assert explain(PermissionError(13, "Permission denied", "build")) == "build: Permission denied"
    assert explain(TypeError("bad operand")) == (
        "TypeError: bad operand\n"
        "This should not have happened; HEADRACE_DEBUG=1 with the same command shows where it did."
    )


def test_models_and_inspect_print_what_they_know() -> None:
    listed = headrace("models")
    assert listed.returncode == 0 and listed.stderr == ""
    for entry in registry.all():
        (line,) = (line for line in listed.stdout.splitlines() if line.split()[:1] == [entry.name])
        assert entry.task in line and entry.licence in line
    seen = headrace("inspect")
    lines = seen.stdout.splitlines()
    assert lines[1].split() == ["input", "input", "784", "0", "to", "255", "8"]
    assert lines[-2:] == [
        "the wire carries the input's integers; an integer stands for itself times 0.00390625 plus 0",
        "mnist-w2a2: 5 operators, 54,912 multiplications an inference",
    ]
