"""The SoC's files: stable, self-contained, true to docs/contracts.md."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from soc_probe import build_soc

import boards
from accel.dataflow.node_cost import face_cost
from accel.manifest import Memory
from boards.devices import SOC
from soc import ACCELERATOR, BUFFER, generate
from toolchain import yosys


def stub(folder: Path) -> Path:
    """An accelerator.v of which only the name counts."""
    file = folder / "accelerator.v"
    file.write_text("module headrace; endmodule\n")
    return file


def test_same_input_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the time, the place or the firmware is in them; headers do not depend on the accelerator either."""
    files: list[dict[str, str]] = []
    for name, change in (("a", False), ("b", True)):
        folder = tmp_path / name
        folder.mkdir()
        if change:
            monkeypatch.chdir(folder)
        build_soc(folder)
        files.append({str(f.relative_to(folder)): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()})
    assert files[0] == files[1]
    assert set(files[0]) == {
        *("accelerator.v", "soc.v", "regions.ld"),
        *("generated/csr.h", "generated/mem.h", "generated/soc.h"),
    }
    text = files[0]["soc.v"]
    assert "$readmem" not in text and str(tmp_path) not in text and "/site-packages/" not in text
    for module in ("soc", "VexRiscv", "headrace"):
        assert len(re.findall(rf"^module {module}\b", text, re.MULTILINE)) == 1

    firmware = bytes(range(7))
    generate(tmp_path / "b", board=boards.find("sim"), accelerator=stub(tmp_path), rom=firmware)
    for name in ("generated/csr.h", "generated/mem.h", "generated/soc.h", "regions.ld"):
        assert (tmp_path / "b" / name).read_text() == files[0][name]


def test_memory_map(tmp_path: Path) -> None:
    generate(tmp_path, board=boards.find("sim"), accelerator=stub(tmp_path))
    regions = dict(re.findall(r"(\w+) : ORIGIN = (\w+, LENGTH = \w+)", (tmp_path / "regions.ld").read_text()))
    assert {name: tuple(int(n, 16) for n in re.findall(r"0x\w+", where)) for name, where in regions.items()} == {
        "rom": (0, 64 << 10),
        "sram": (0x1000_0000, 16 << 10),
        "buffer": (0x8000_0000, 32 << 10),
        "accelerator": (0x9000_0000, 4 << 10),
        "csr": (0xF000_0000, 64 << 10),
    }
    assert (BUFFER.base, ACCELERATOR.base) == (0x8000_0000, 0x9000_0000)
    constants = dict(re.findall(r"#define (\w+) (\S+)", (tmp_path / "generated/soc.h").read_text()))
    assert int(constants["CONFIG_CLOCK_FREQUENCY"]) == boards.find("sim").clock_hz
    assert "ACCELERATOR_INTERRUPT" in constants
    assert "timer0_uptime_cycles_read" in (tmp_path / "generated/csr.h").read_text()


def test_firmware_inside(tmp_path: Path) -> None:
    """Little-endian words, in a memory no larger than a power of two needs to be."""
    firmware = bytes(i * 37 & 255 for i in range(4 * 300 + 2))
    text = generate(tmp_path, board=boards.find("sim"), accelerator=stub(tmp_path), rom=firmware).read_text()
    assert "reg [31:0] rom[0:511];" in text
    words = {int(i): int(word, 16) for i, word in re.findall(r"\brom\[(\d+)\] = 32'h(\w+);", text)}
    padded = firmware + bytes(2)
    assert words == {i: int.from_bytes(padded[4 * i : 4 * i + 4], "little") for i in range(301)}


def test_refusals(tmp_path: Path) -> None:
    accelerator, board = stub(tmp_path), boards.find("sim")
    for firmware in (b"", bytes(65537)):
        with pytest.raises(ValueError) as caught:
            generate(tmp_path, board=board, accelerator=accelerator, rom=firmware)
        assert str(caught.value) == f"the firmware has {len(firmware)} bytes; the ROM takes 1 to 65536"
    with pytest.raises(ValueError) as caught:
        generate(tmp_path, board=board, accelerator=accelerator, memory=Memory(0x4000_0000, 0x8000))
    assert str(caught.value) == (
        "the accelerator was compiled for 32768 bytes of DMA memory at 0x40000000, "
        "this SoC has 32768 at 0x80000000; compile the model again"
    )


@pytest.mark.slow
def test_share_of_the_device(tmp_path: Path) -> None:
    """The SoC with the largest firmware takes no more than what boards.devices keeps from the accelerator.

    Of the accelerator there is what lies around a core of two links.
    """
    build_soc(tmp_path)
    soc_v = generate(
        tmp_path,
        board=boards.find("sim"),
        accelerator=tmp_path / "accelerator.v",
        rom=random.Random(1).randbytes(65536),
    )
    report = yosys.synthesize(soc_v, "soc", family="xc7", out_dir=tmp_path / "synthesis")
    used, face = report.total, face_cost(2)
    assert (used.dsp, used.bram36) == (4, SOC.bram36)
    assert 0.9 * SOC.lut <= used.lut - face.lut <= SOC.lut
    assert 0.9 * SOC.ff <= used.ff - face.ff <= SOC.ff
