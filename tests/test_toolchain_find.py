"""Finding tools, and `headrace doctor`: real tools, tools too old, broken or missing on a faked PATH."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.find import TOOLS, Tool, check, check_all, package, version_of


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def doctor(**environment: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "COLUMNS": "60", **environment}
    return subprocess.run(
        [sys.executable, "-m", "headrace", "doctor"], env=environment, capture_output=True, text=True, check=False
    )


def test_every_required_tool_is_here_with_a_version() -> None:
    for found in check_all():
        if found.tool.required:
            assert found.found, f"{found.tool.name}: {found.reason}"
            assert re.fullmatch(r"\d+(\.\w+)+", found.version), (found.tool.name, found.version)


def test_doctor_lists_each_tool_on_a_line_of_its_own(tmp_path: Path) -> None:
    done = doctor(HEADRACE_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[: len(TOOLS)]] == [tool.name for tool in TOOLS]
    assert lines[-2:] == [f"HEADRACE_DATA: {tmp_path}", "All that make bench and make test need is there."]
    assert f"HEADRACE_DATA: {tmp_path / 'no'}: no such folder" in doctor(HEADRACE_DATA=str(tmp_path / "no")).stdout


def test_path_is_honoured_and_a_broken_tool_is_reported(tmp_path: Path) -> None:
    fake = tmp_path / "bin"
    script(fake / "yosys", "echo 'Yosys 0.99+7 (git sha1 0000000)'")
    gcc = script(fake / "riscv64-unknown-elf-gcc", "echo riscv64-unknown-elf-gcc 12.2.0")
    script(fake / "riscv64-unknown-elf-objcopy", "")
    cxx = script(fake / "g++", "echo 'cannot find cc1plus' >&2; exit 1")
    done = doctor(PATH=str(fake))
    line = {text.split("  ")[0]: text for text in done.stdout.splitlines()}
    assert line["Yosys"].split()[1:3] == ["0.99+7", f"{fake}/yosys"]
    assert line["RISC-V C compiler"].split()[3:5] == ["12.2.0", f"{gcc}"]
    assert (
        f"{cxx} does not run (cannot find cc1plus) → on Debian and Ubuntu: sudo apt install g++"
        in (line["C++ compiler"])
    )
    assert "not on PATH → on Debian and Ubuntu: sudo apt install make" in line["make"]
    assert done.returncode == 1
    assert done.stderr == "headrace: C++ compiler missing; the list above says how to get it\n"

    # An old Yosys is passed over for the wheel's.
    script(fake / "yosys", "echo 'Yosys 0.23 (git sha1 0000000)'")
    assert "(pyosys)" in next(text for text in doctor(PATH=str(fake)).stdout.splitlines() if text.startswith("Yosys"))


def test_missing_packages_and_silent_programs(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^not installed$"):
        package("no-such-package", "no_such_package")
    silent = script(tmp_path / "silent", "exit 3")
    with pytest.raises(RuntimeError, match=re.escape(f"{silent} does not run (silent)")):
        version_of([str(silent)])
    assert version_of([str(script(tmp_path / "plain", "echo hello"))]) == "unknown"
    missing = check(Tool("x", "nothing", False, "", lambda: package("no-such-package", "no_such_package")))
    assert missing.found is None and missing.reason == "not installed" and missing.version == "–"


@pytest.mark.skipif(
    any(map(os.path.exists, ("/snap/openxc7", "/opt/openxc7", "/usr/share/nextpnr"))),
    reason="openXC7's tools are where they would be found before those of this test",
)
def test_databases_are_found_as_the_build_finds_them(tmp_path: Path) -> None:
    """openXC7's tools below ~/.apio, and a nextpnr that a variable names; neither is on PATH."""
    apio, mine = tmp_path / "home/.apio/packages/openxc7", tmp_path / "mine"

    def rows(**environment: str) -> dict[str, str]:
        done = doctor(PATH="/usr/bin:/bin", HOME=str(tmp_path / "home"), **environment)
        return {line.split("  ")[0]: line for line in done.stdout.splitlines()}

    def nextpnr(prefix: Path) -> str:
        said = "echo 'nextpnr-xilinx -- Next Generation (Version 0.8.2)'"
        return str(script(prefix / "bin/nextpnr-xilinx", said))

    def data(prefix: Path, *names: str) -> None:
        for name in names:
            (prefix / name).parent.mkdir(parents=True)
            (prefix / name).touch()

    nextpnr(apio)
    missing = f"has no artix7/xc7a100tcsg324-1/part.yaml in {apio}/share/nextpnr/external/prjxray-db, "
    assert missing in rows()["prjxray-db"]
    data(apio, "lib/external/prjxray-db/artix7/xc7a100tcsg324-1/part.yaml", "chipdb/xc7a100tcsg324.bin")
    row = rows()
    assert f"  {apio}/lib/external/prjxray-db/artix7  " in row["prjxray-db"]
    assert f"  {apio}/chipdb/xc7a100tcsg324.bin  " in row["chip database"]
    assert row["nextpnr-xilinx"].split()[1:3] == ["0.8.2", f"{apio}/bin/nextpnr-xilinx"]

    data(mine, "share/nextpnr/prjxray-db/artix7/xc7a100tcsg324-1/part.yaml")
    named = nextpnr(mine)
    assert f"  {mine}/share/nextpnr/prjxray-db/artix7  " in rows(NEXTPNR_XILINX=named)["prjxray-db"]
    both = f"  {mine}/share/nextpnr/prjxray-db/artix7, {apio}/lib/external/prjxray-db/artix7  "
    assert both in rows(NEXTPNR_HIMBAECHEL=named)["prjxray-db"]


def test_the_loader_and_how_to_get_it(tmp_path: Path) -> None:
    loader = script(tmp_path / "loader", '[ "$1" = -V ] && echo openFPGALoader v1.1.1')
    lines = doctor(OPENFPGALOADER=str(loader)).stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("openFPGALoader"))
    assert line.split()[1:] == ["1.1.1", str(loader), "for", "load"]
    script(loader, "echo 'loader: error while loading shared libraries: libftdi1.so.2: cannot open it' >&2; exit 127")
    lines = doctor(OPENFPGALOADER=str(loader)).stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("openFPGALoader"))
    assert f"{loader} does not run, as the shared library libftdi1.so.2 is missing → on Debian and Ubuntu: sudo" in line
