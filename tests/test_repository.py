"""The repository itself: its pages, its makefile, its lock files, and that nothing of one machine is in it."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import boards
from headrace.__main__ import VERBS
from headrace.target import Target
from models.registry import DEFAULT

ROOT = Path(__file__).parent.parent
TRACKED = [
    ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines() if name
]
PAGES = [path for path in TRACKED if path.suffix == ".md"]


def make(*arguments: str, ready: Path, **environment: str) -> list[str]:
    """The commands that `make -n` would run, in an environment that is ready."""
    (ready / ".ready").touch()
    (ready / ".ready-train").touch()
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", f"VENV={ready}", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.replace(str(ready), "VENV").splitlines()


def test_make_calls_one_verb_a_goal(tmp_path: Path) -> None:
    default = f"'{DEFAULT}' --board sim --engine stream"
    golden = {
        "build": f"VENV/bin/headrace build {default}",
        "run": f"VENV/bin/headrace run {default}",
        "load": f"VENV/bin/headrace load {default}",
        "bench": f"VENV/bin/headrace bench {default} --mode performance",
        "report": f"VENV/bin/headrace report {default}",
        "synth": f"VENV/bin/headrace synth {default}",
        "models": "VENV/bin/headrace models",
        "doctor": "VENV/bin/headrace doctor",
        "train": f"VENV/bin/headrace train '{DEFAULT}'",
        "clean": f"rm -rf 'build/sim-{DEFAULT}-stream'",
        "lint": "ci/lint",
        "test-slow": "ci/test -m slow",
    }
    for goal, command in golden.items():
        assert make(goal, ready=tmp_path) == [command], goal
    assert make("test", ready=tmp_path) == ["ci/lint", "ci/test"]
    wanted = make(
        "BOARD=sim", "MODEL=../mine/net.onnx", "ENGINE=stream", "MODE=accuracy", "bench", "clean", ready=tmp_path
    )
    assert wanted == [
        "VENV/bin/headrace bench '../mine/net.onnx' --board sim --engine stream --mode accuracy",
        "rm -rf 'build/sim-net-stream'",
    ]
    listed = subprocess.check_output(["make", "--no-print-directory", "help"], cwd=ROOT, text=True)
    assert all(f"  {goal} " in listed for goal in [*golden, "test", "format", "distclean"])
    assert f"BOARD is one of {' '.join(boards.names())};" in listed


@pytest.mark.parametrize(("given", "seen"), [("../shared data", f"{ROOT}/../shared data"), ("/data", "/data")])
def test_make_hands_on_a_relative_data_folder(tmp_path: Path, given: str, seen: str) -> None:
    headrace = tmp_path / "bin" / "headrace"
    headrace.parent.mkdir()
    headrace.write_text('#!/bin/sh\ncd / && echo "$HEADRACE_DATA"\n')
    headrace.chmod(0o755)
    (tmp_path / ".ready").touch()
    done = subprocess.run(
        ["make", "--no-print-directory", "--silent", f"VENV={tmp_path}", "models"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HEADRACE_DATA": given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{seen}\n"


def test_an_unfit_python_is_refused_in_words(tmp_path: Path) -> None:
    def venv(python: str) -> str:
        done = subprocess.run(
            [ROOT / "ci/venv", python, tmp_path / "venv"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and not (tmp_path / "venv").exists()
        return done.stderr

    assert venv("python9") == (
        "headrace: no python9 on PATH; install Python 3.11 or later, or name one: make PYTHON=/path/to/python3.12 …\n"
    )
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    old.chmod(0o755)
    assert venv(str(old)) == (
        "headrace: Python 3.8.1 is too old; Headrace needs 3.11 or later: make PYTHON=python3.12 …\n"
    )
    bare = tmp_path / "bare"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    bare.chmod(0o755)
    assert venv(str(bare)) == (
        f"headrace: {bare} cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv\n"
    )


def test_lock_files_agree_with_pyproject(tmp_path: Path) -> None:
    def check(root: Path) -> list[str]:
        script = root / "ci" / "check_lock.py"
        return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False).stdout.splitlines()

    assert check(ROOT) == ["lock files agree with pyproject.toml"]
    (tmp_path / "ci").mkdir()
    for name in ("pyproject.toml", "requirements.lock", "requirements-train.lock", "ci/check_lock.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    lock = tmp_path / "requirements.lock"
    text = lock.read_text()
    amaranth, litex = (re.search(rf"^{name}==.*\\\n( +--hash.*\n)+", text, re.M) for name in ("amaranth", "litex"))
    assert amaranth and litex
    lock.write_text(text.replace(amaranth[0], "amaranth==0.4.0\n").replace(litex[0], ""))
    found = check(tmp_path)
    assert "requirements.lock: amaranth is 0.4.0, pyproject.toml wants <0.6,>=0.5.10" in found
    assert "requirements.lock: litex is missing" in found
    assert "requirements.lock: amaranth==0.4.0 has no hash" in found
    assert found[-1] == "ci/lock writes both files again"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_openxc7_is_downloaded_once(tmp_path: Path) -> None:
    def package(name: str, program: str) -> Path:
        (tmp_path / "nothing").touch()
        with tarfile.open(tmp_path / name, "w:gz") as file:
            file.add(tmp_path / "nothing", f"openxc7/bin/{program}")
        return tmp_path / name

    def openxc7(source: Path, folder: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [ROOT / "ci/openxc7", folder],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "OPENXC7": f"file://{source}", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    good, bad = package("good.tgz", "nextpnr-xilinx"), package("bad.tgz", "nextpnr-ecp5")
    seen = f"ci/openxc7: sha256 {hashlib.sha256(good.read_bytes()).hexdigest()}, file://{good}\n"
    wrong = openxc7(good, "build/tools", OPENXC7_SHA256="00")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == f"{seen}ci/openxc7: its sha256 has to be 00\n"
    without = openxc7(bad, "build/tools")
    assert (without.returncode, without.stdout) == (1, "")
    assert without.stderr.endswith(f"ci/openxc7: file://{bad} has no bin/nextpnr-xilinx\n")
    gone = openxc7(tmp_path / "gone.tgz", "build/tools")
    assert gone.returncode == 1 and gone.stderr.endswith("gone.tgz could not be downloaded\n")
    assert list((tmp_path / "build").iterdir()) == []  # nothing half done
    done = openxc7(good, "build/tools")
    assert (done.stdout, done.stderr) == (f"{tmp_path}/build/tools/openxc7/bin\n", seen)
    good.unlink()
    again = openxc7(good, "build/tools")
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"


def test_the_index_lists_every_page() -> None:
    listed = re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs/index.md").read_text())
    assert sorted([*listed, "index.md"]) == sorted(path.name for path in PAGES if path.parent == ROOT / "docs")


def test_the_contracts_list_every_folder_of_a_build() -> None:
    target = Target.of(DEFAULT, board="sim", engine="stream")
    paths = [getattr(target, name) for name, value in vars(Target).items() if isinstance(value, property)]
    folders = {path.relative_to(target.out_dir).parts[0] for path in paths if isinstance(path, Path)}
    listed = re.findall(r"^\| (`.+/`) \|", (ROOT / "docs/contracts.md").read_text(), re.M)
    assert "bitstream" in folders and folders <= set(re.findall(r"`(\w+)/`", " ".join(listed)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist(page: Path) -> None:
    """Every `headrace VERB` and `make GOAL` in an indented or fenced block is one."""
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    code = re.findall(r"^(?: {4}|\t)(.*)$", page.read_text(), re.M)
    for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.S):
        code += block.splitlines()
    for line in code:
        command = line.split("#")[0].strip()
        if match := re.match(r"(?:\.venv/bin/)?headrace (\w+)", command):
            assert match[1] in VERBS, line
        if match := re.match(r"(?:\w+=\S+ )*make\b(.*)", command):
            for word in match[1].split():
                assert "=" in word or word in goals, line


def test_nothing_of_one_machine() -> None:
    """No absolute path of a developer's machine, and no package index by name, in any file we wrote."""
    pattern = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/\w|index-url +\w+:|(?:pypi|pythonhosted)\.org")
    for path in TRACKED:
        if path.suffix in (".npz", ".onnx", ".bin", ".png") or path == Path(__file__) or not path.is_file():
            continue
        found = pattern.search(path.read_text(errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


def test_no_merge_was_left_half_done() -> None:
    marks = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)
    assert [path.name for path in TRACKED if path.is_file() and marks.search(path.read_bytes())] == []
