"""The firmware image: the header of a model, both compilers, what is done again and what is said when it fails."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_manifest import EXAMPLE

import boards.sim
from accel.graph import IntType
from accel.manifest import Input, InputEncoding, Memory, Output
from firmware import build as firmware
from firmware.header import HeaderError, header
from soc.generate import generate


def constants(text: str) -> dict[str, str]:
    return dict(re.findall(r"^#define (\w+) (.+)$", text, flags=re.MULTILINE))


def test_header_of_a_model() -> None:
    values = constants(header(EXAMPLE))
    assert {name: values[name] for name in ("MODEL_NAME", "MODEL_TASK", "MODEL_BOARD", "MODEL_HASH")} == {
        "MODEL_NAME": '"kws-w3a3"',
        "MODEL_TASK": '"kws01"',
        "MODEL_BOARD": '"sim"',
        "MODEL_HASH": "0x8f3a91c2u",
    }
    assert (values["MODEL_INPUT_OFFSET"], values["MODEL_OUTPUT_OFFSET"]) == ("0u", "27648u")
    assert (values["MODEL_INPUT_AS_SENT"], values["MODEL_RESULTS"], values["HEAD_SOFTMAX"]) == ("1", "12", "1")
    assert values["HEAD_BIAS"] == "{INT64_C(0)}"
    assert values["MODEL_POLLS"] == f"{100_000 + 16 * EXAMPLE.estimate.cycles}u"
    assert constants(header(EXAMPLE, board="arty"))["MODEL_BOARD"] == '"arty"'


def test_header_of_an_input_that_is_converted() -> None:
    model = replace(
        EXAMPLE, input=Input((3,), 3, 6, 1, IntType(-300, 300)), input_encoding=InputEncoding("uint8", 1.0, 0.0)
    )
    values = constants(header(model))
    assert (values["MODEL_PAYLOAD_BYTES"], values["MODEL_INPUT_BYTES"], values["MODEL_INPUT_SIZE"]) == ("3u", "6u", "2")
    assert (values["MODEL_INPUT_OFFSET"], values["MODEL_OUTPUT_OFFSET"]) == ("27648u", "27656u")
    assert values["MODEL_INPUT_RANGE"] == '"in -300..300"'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"name": 'x"; system("'},
            "name must be 1 to 64 letters, digits, spaces or _ . + - ( ), as the serial line tells it, "
            "not 'x\"; system(\"'",
        ),
        (
            {"task": "kws]%\\"},
            "task must be 1 to 64 letters, digits, spaces or _ . + - ( ), as the serial line tells it, not 'kws]%\\\\'",
        ),
        (
            {"input": Input((27649,), 27649, 27649, 4, IntType(-128, 127))},
            "kws-w3a3: a sample has 27649 bytes, the db buffer of the protocol 27648",
        ),
        (
            {"output": Output((1281,), 1281, 5124, 4, IntType(0, 1000), (1.0,), (0.0,))},
            "kws-w3a3: db buffer, input and output need 32772 bytes of DMA memory, memory.size is 32768; "
            "compile for a board with a larger buffer",
        ),
    ],
)
def test_header_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(HeaderError) as caught:
        header(replace(EXAMPLE, **change))  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The headers of the simulated board's SoC."""
    folder = tmp_path_factory.mktemp("soc")
    (folder / "accelerator.v").write_text("")
    generate(folder, board=boards.sim.BOARD, accelerator=folder / "accelerator.v")
    return folder / "generated"


def test_image(tmp_path: Path, generated: Path) -> None:
    image = firmware.build(manifest=EXAMPLE, generated_dir=generated, out_dir=tmp_path)
    assert image == tmp_path / "firmware.bin"
    size = image.stat().st_size
    sizes = firmware.sizes(tmp_path / "firmware.elf")
    assert sizes.rom == size < 32 * 1024
    assert sizes.ram < 8 * 1024
    assert int.from_bytes(image.read_bytes()[:4], "little") == 0x30401073  # csrw mie, zero: the CPU resets to address 0
    assert b"ULPMark for tinyML Firmware V0.0.1" in image.read_bytes()
    log = (tmp_path / "firmware.log").read_text()
    assert log.endswith(f"rom {sizes.rom} bytes, ram {sizes.ram} bytes\n")

    time = image.stat().st_mtime_ns
    firmware.build(manifest=EXAMPLE, generated_dir=generated, out_dir=tmp_path)
    assert image.stat().st_mtime_ns == time
    firmware.build(manifest=replace(EXAMPLE, hash="12345678"), generated_dir=generated, out_dir=tmp_path)
    assert image.stat().st_mtime_ns > time

    elsewhere = replace(EXAMPLE, memory=Memory(0x40000000, 0x8000))
    with pytest.raises(firmware.FirmwareError) as caught:
        firmware.build(manifest=elsewhere, generated_dir=generated, out_dir=tmp_path)
    assert f"failed (all of it in {tmp_path / 'firmware.log'}):" in str(caught.value)
    assert "the model was compiled for another DMA window than the buffer of this SoC" in str(caught.value)
    assert str(caught.value).splitlines()[1] in (tmp_path / "firmware.log").read_text()
    firmware.build(manifest=EXAMPLE, generated_dir=generated, out_dir=tmp_path)  # a failure is not taken for a result


TOOL = """#!{python}
import pathlib, sys
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("riscv64-unknown-elf-gcc (mock) 12.2.0")
    sys.exit()
with open("{log}", "a") as log:
    print(*[pathlib.Path(sys.argv[0]).name, *arguments], file=log)
out = arguments[arguments.index("-o") + 1] if "-o" in arguments else arguments[-1]
elf = bytearray(52)
elf[42:44] = (32).to_bytes(2, "little")
pathlib.Path(out).write_bytes(elf)
"""

GOLDEN = """\
riscv64-unknown-elf-gcc -march=rv32im -misa-spec=2.2 -mabi=ilp32 -nostartfiles -O2 -std=gnu11 -ffreestanding \
-fno-builtin -fwrapv -fno-common -fomit-frame-pointer -Wall -Wextra -Werror -Wshadow -Wundef -Wconversion \
-Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough -Wvla -ffunction-sections -fdata-sections \
-Wl,--gc-sections -nostdlib -static -I$SRC -I$OUT -isystem $SOC -isystem $LITEX/software/include \
-isystem $LITEX/cores/cpu/vexriscv -T $OUT/firmware.ld $SRC/crt0.S $SRC/main.c $SRC/protocol.c $SRC/settings.c \
$SRC/input.c $SRC/head.c $SRC/print.c $SRC/uart.c $SRC/pins.c $SRC/timer.c $SRC/memory.c \
$SRC/engine_stream.c -lgcc -o $OUT/firmware.elf
riscv64-unknown-elf-objcopy -O binary $OUT/firmware.elf $OUT/firmware.bin
"""


def test_gcc_from_path(tmp_path: Path, generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("gcc", "objcopy"):
        path = tools / f"riscv64-unknown-elf-{name}"
        path.write_text(TOOL.format(python=sys.executable, log=log))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    firmware.build(manifest=EXAMPLE, generated_dir=generated, out_dir=tmp_path / "out")
    said = log.read_text()
    litex = Path(re.findall(r"-isystem (\S+)/software/include", said)[0])
    assert litex.name == "soc"
    for path, name in (
        (firmware.SOURCES, "$SRC"),
        (tmp_path / "out", "$OUT"),
        (generated.parent, "$SOC"),
        (litex, "$LITEX"),
    ):
        said = said.replace(str(path), name)
    assert said == GOLDEN


def test_errors(tmp_path: Path, generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(firmware.FirmwareError) as caught:
        firmware.build(manifest=EXAMPLE, generated_dir=generated, out_dir=tmp_path, engine="steam")
    engines = sorted(path.stem.removeprefix("engine_") for path in firmware.SOURCES.glob("engine_*.c"))
    assert str(caught.value) == f"engine must be one of {', '.join(engines)}, not 'steam'"
    with pytest.raises(firmware.FirmwareError) as caught:
        firmware.build(manifest=EXAMPLE, generated_dir=tmp_path / "generated", out_dir=tmp_path)
    missing = "csr.h, mem.h, soc.h, regions.ld"
    assert str(caught.value) == f"{tmp_path / 'generated'}: {missing} is missing; write the SoC first"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(firmware.FirmwareError) as caught:
        firmware.compiler()
    assert str(caught.value) == (
        "no RISC-V compiler was found: pip install ziglang, or install riscv64-unknown-elf-gcc"
    )
