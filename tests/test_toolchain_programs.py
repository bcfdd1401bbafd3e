"""Finding programs, chip databases and Project X-Ray's database, and what is said where one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from mock_tools import MockTools

from toolchain import programs, yosys
from toolchain.device import Device, DeviceError

ARTY = Device.of("xc7a100tcsg324-1")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing installed but what is in its Python environment."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    for name in ("CHIPDB", "PRJXRAY_DB_DIR", "NEXTPNR", "NEXTPNR_XILINX", "NEXTPNR_HIMBAECHEL", "NEXTPNR_XILINX_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("_FOLDERS", "_DATABASES", "_CHIPDBS"):
        monkeypatch.setattr(programs, name, ())
    return tmp_path


def test_parts() -> None:
    assert (ARTY.family, ARTY.series, ARTY.die, ARTY.package, ARTY.speed) == (
        "xc7",
        "artix7",
        "xc7a100t",
        "csg324",
        "1",
    )
    assert Device.of("xc7a35ticsg324-1L").die == "xc7a35t" and Device.of("xc7z020clg400-1").series == "zynq7"
    assert Device.of("LFE5U-85F-6BG381C").ecp5_options == ["--85k", "--package", "CABGA381", "--speed", "6"]
    assert Device.of("LFE5UM5G-45F-8BG381C").ecp5_options == ["--um5g-45k", "--package", "CABGA381", "--speed", "8"]
    assert Device.of("LFE5UM-25F-7MG285I").ecp5_options == ["--um-25k", "--package", "CSFBGA285", "--speed", "7"]
    with pytest.raises(DeviceError) as error:
        Device.of("10CL025")
    assert str(error.value) == "10CL025: not a part that is known here, such as xc7a100tcsg324-1 or LFE5U-85F-6BG381C"


def test_what_is_missing_is_said_with_ways_to_get_it(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        with pytest.raises(programs.MissingError) as error:
            programs.xc7(ARTY)
        return str(error.value)

    absent = "is neither on PATH nor where its packages put it, and"
    assert said() == (
        f"no nextpnr for xc7a100tcsg324-1: nextpnr-himbaechel {absent} NEXTPNR_HIMBAECHEL= is not set; nextpnr-xilinx "
        f"{absent} NEXTPNR_XILINX= is not set; {programs.GET_OPENXC7}"
    )
    monkeypatch.setenv("NEXTPNR_XILINX", "/nowhere/nextpnr")
    assert "NEXTPNR_XILINX=/nowhere/nextpnr: no such program" in said()
    monkeypatch.setenv("NEXTPNR", "vpr")
    assert said() == "NEXTPNR must be himbaechel or xilinx, not 'vpr'"

    mock = MockTools(bare / "tools", names=("nextpnr-himbaechel", "nextpnr-xilinx", "fasm2frames"))
    data = mock.database()
    monkeypatch.setenv("FASM2FRAMES", str(bare / "tools" / "fasm2frames"))
    for variant, name in (("himbaechel", "chipdb-xc7a100t.bin"), ("xilinx", "xc7a100tcsg324.bin")):
        monkeypatch.setenv("NEXTPNR", variant)
        monkeypatch.setenv(f"NEXTPNR_{variant.upper()}", str(bare / "tools" / f"nextpnr-{variant}"))
        monkeypatch.setenv("CHIPDB", str(bare / "empty"))
        assert f"no chip database {name} for nextpnr-{variant} in {bare / 'empty'}; " in said()
        monkeypatch.setenv("CHIPDB", str(data / name))
        assert said() == f"xc7frames2bit {absent} XC7FRAMES2BIT= is not set; {programs.GET_OPENXC7}"
        monkeypatch.setenv("CHIPDB", str(data / "artix7/xc7a100tcsg324-1/part.yaml"))
        assert f"not the chip database of xc7a100tcsg324-1 for nextpnr-{variant} ({name})" in said()


def test_databases_of_the_usual_places(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = bare / "prefix"
    nextpnr = prefix / "bin" / "nextpnr-himbaechel"
    with pytest.raises(programs.MissingError) as error:
        programs.database(ARTY, nextpnr)
    assert str(error.value).startswith("Project X-Ray's database has no artix7/xc7a100tcsg324-1/part.yaml in ")
    assert "set PRJXRAY_DB_DIR= to a copy of" in str(error.value)
    for place in ("share/nextpnr/external/prjxray-db", "share/nextpnr/prjxray-db", "lib/external/prjxray-db"):
        part = prefix / place / "artix7/xc7a100tcsg324-1/part.yaml"
        part.parent.mkdir(parents=True)
        part.touch()
        assert programs.database(ARTY, nextpnr) == (prefix / place / "artix7").resolve()
        part.unlink()
    chips = prefix / "share/nextpnr/himbaechel/xilinx/chipdb-xc7a50t.bin"
    chips.parent.mkdir(parents=True)
    chips.touch()
    # The 35T is a 50T of which less is sold.
    assert programs.chipdb(Device.of("xc7a35tcsg324-1"), "himbaechel", nextpnr) == chips.resolve()
    packaged = prefix / "chipdb" / "xc7a100tcsg324.bin"  # as apio has it
    packaged.parent.mkdir()
    packaged.touch()
    assert programs.chipdb(ARTY, "xilinx", nextpnr) == packaged.resolve()
    monkeypatch.setenv("CHIPDB", str(chips.parent))
    assert programs.chipdb(Device.of("xc7a50tcsg324-1"), "himbaechel", nextpnr) == chips.resolve()


def test_himbaechel_is_preferred_and_links_start_the_programs(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mock = MockTools(bare / "tools")
    for name, value in mock.environment().items():
        monkeypatch.setenv(name, value)
    yosys.find.cache_clear()
    try:
        tools = programs.xc7(ARTY)
        assert (tools.variant, tools.reports, tools.scripts) == ("himbaechel", True, False)
        (mock.folder / "nextpnr-himbaechel").unlink()
        tools = programs.xc7(ARTY)
        assert (tools.variant, tools.reports) == ("xilinx", False)
        assert tools.versions["nextpnr-xilinx"] == "1.2.3" and tools.versions["yosys"] == "0.60"
    finally:
        yosys.find.cache_clear()
    tools.links(bare / "links")
    assert (bare / "links/yosys").read_text() == f'#!/bin/sh\nexec {mock.folder}/yosys "$@"\n'
    assert sorted(path.name for path in (bare / "links").iterdir()) == [
        "fasm2frames", "nextpnr-xilinx", "xc7frames2bit", "yosys",
    ]  # fmt: skip


def test_the_ecp5_needs_nothing_but_wheels(bare: Path) -> None:
    yosys.find.cache_clear()
    tools = programs.ecp5()
    assert set(tools.programs) == {"yosys", "nextpnr-ecp5", "ecppack"}
    assert all(tools.versions.values())
