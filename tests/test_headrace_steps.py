"""Steps: done once, done again when something changed or was interrupted, nothing half-written left behind."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.steps import Runner, Step, StepError, digest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("one")
    return path


def copying(tmp_path: Path, source: Path) -> Step:
    """A step that copies a file, prints from Python and from a child process, and fails unless its folder is empty."""
    folder = tmp_path / "build" / "copy"

    def action() -> None:
        assert not list(folder.iterdir())
        print("python speaks")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'child speaks')"], check=True)
        (folder / "copy.txt").write_text(source.read_text())

    return Step("copy", "source.txt to copy.txt", folder, action, inputs=[source], tools={"pytest": "9"})


def test_a_step_is_done_once_and_again_when_anything_changed(
    tmp_path: Path, source: Path, capfd: pytest.CaptureFixture
) -> None:
    said: list[str] = []
    runner = Runner(tmp_path / "build", said.append)
    step = copying(tmp_path, source)
    assert runner.run(step) is True
    assert said[0] == "copy: source.txt to copy.txt"
    assert said[1].startswith("copy: done in ")
    assert "speaks" not in "".join(capfd.readouterr())
    assert (tmp_path / "build/logs/copy.log").read_text() == "python speaks\nchild speaks"
    record = json.loads((tmp_path / "build/steps/copy.json").read_text())
    assert record["tools"] == {"pytest": "9"} and record["seconds"]["copy"] > 0

    assert runner.run(step) is False and len(said) == 2
    os.utime(source)  # a new date alone is no change
    assert runner.run(step) is False
    source.write_text("two")
    assert runner.run(step) is True
    assert (step.folder / "copy.txt").read_text() == "two"
    for changed in (
        replace(step, settings={"width": 8}),
        replace(step, tools={"pytest": "10"}),
        replace(step, code=["headrace"]),
        replace(step, inputs=[source, tmp_path / "build" / "steps"]),
    ):
        assert changed.key() != step.key()
    (step.folder / "copy.txt").unlink()
    step.folder.rmdir()
    assert runner.run(step) is True


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_step_leaves_nothing_and_is_done_again(
    tmp_path: Path, source: Path, interruption: type[BaseException]
) -> None:
    runner = Runner(tmp_path / "build", lambda line: None)
    step = copying(tmp_path, source)
    runner.run(step)
    source.write_text("two")

    def interrupted() -> None:
        (step.folder / "half").write_text("hal")
        raise interruption

    with pytest.raises(interruption):
        runner.run(replace(step, action=interrupted))
    assert not step.folder.exists()
    assert runner.run(step) is True and runner.run(step) is False
    assert [path.name for path in step.folder.iterdir()] == ["copy.txt"]


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """A process that had no chance to clean up leaves a folder without a key; the next call empties it first."""
    script = """
import os, signal, sys
from pathlib import Path
from headrace.steps import Runner, Step
folder = Path(sys.argv[1]) / "made"
def action():
    assert not list(folder.iterdir())
    (folder / "file").write_text("half")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
print(Runner(Path(sys.argv[1])).run(Step("make", "a file", folder, action)))
"""
    out = tmp_path / "build"
    command = [sys.executable, "-c", script, str(out)]
    assert subprocess.run([*command, "die"], check=False).returncode == -9
    assert (out / "made/file").exists() and not (out / "steps/make.key").exists()
    done = subprocess.run([*command, "live"], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("True\n") and (out / "steps/make.key").exists()


def test_a_step_makes_later_records_stale(tmp_path: Path, source: Path) -> None:
    runner = Runner(tmp_path / "build", lambda line: None)
    later = Step("later", "copy.txt to later.txt", tmp_path / "build" / "later", lambda: None)
    first = replace(copying(tmp_path, source), stale=["later"])
    runner.run(first)
    runner.run(later)
    runner.run(first)  # nothing changed, nothing is stale
    assert (tmp_path / "build/steps/later.json").exists() and runner.run(later) is False
    source.write_text("two")
    runner.run(first)
    assert not (tmp_path / "build/steps/later.json").exists() and runner.run(later) is True


def test_a_failed_step_names_its_log(tmp_path: Path) -> None:
    out = tmp_path / "build"

    def action() -> None:
        print("about to fail")
        raise ValueError("no such layer")

    with pytest.raises(StepError) as caught:
        Runner(out, lambda line: None).run(Step("fail", "nothing", out / "made", action))
    log = out / "logs" / "fail.log"
    assert str(caught.value) == f"fail: no such layer (log: {log})"
    assert log.read_text().startswith("about to fail\nTraceback")
    assert (out / "made").exists() and not (out / "steps" / "fail.key").exists()  # for whoever looks for the reason

    def with_a_log_of_its_own() -> None:
        raise ValueError("no such layer; log: made/tool.log")

    with pytest.raises(StepError, match=r"^fail: no such layer; log: made/tool.log$"):
        Runner(out, lambda line: None).run(Step("fail", "nothing", out / "made", with_a_log_of_its_own))


def test_a_library_that_sets_up_logging_writes_to_the_log_of_its_own_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])

    def action() -> None:
        if not logging.root.handlers:  # as LiteX does
            logging.basicConfig(level=logging.INFO)
        logging.getLogger("SoC").info("here I am")

    for name in ("first", "second"):
        Runner(tmp_path, lambda line: None).run(Step(name, "nothing", tmp_path / name, action))
        assert (tmp_path / "logs" / f"{name}.log").read_text() == "INFO:SoC:here I am\n"
    assert logging.root.handlers == []


def test_two_builds_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    first, second = Runner(tmp_path / "build"), Runner(tmp_path / "build")
    with first.locked(), pytest.raises(StepError) as caught, second.locked():
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'build'}: another headrace is at work there; wait for it, or choose another folder with -o"
    )
    with second.locked():
        pass


def test_digest_sees_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen = {digest(folder), digest(tmp_path / "missing")}
    (folder / "a").write_text("x")
    seen.add(digest(folder))
    (folder / "a").rename(folder / "b")
    seen.add(digest(folder))
    (folder / "b").write_text("y")
    seen.add(digest(folder))
    assert len(seen) == 5
