"""From a board and an accelerator to the SoC's files: Verilog, and headers for the firmware."""

from __future__ import annotations

import re
from pathlib import Path

from litex.soc.integration import export

from accel import manifest
from soc.constraints import FORMATS, constraints
from soc.soc import BUFFER, Hardware, HeadraceSoC

TOP = "soc"
BLOCK = 64  # words of an initial block: Yosys takes time by the square of it


def generate(
    out_dir: Path, *, board: Hardware, accelerator: Path, memory: manifest.Memory = BUFFER, rom: bytes | None = None
) -> Path:
    """Write the SoC below ``out_dir`` and return its Verilog, ``out_dir / "soc.v"``, one self-contained file.

    ``accelerator`` is the Verilog file of the module ``headrace``, ``memory`` the window for which it was compiled.
    ``rom``, the firmware, goes into the Verilog as numbers; without, the memory ``rom`` is empty, for the simulator to
    fill. For the firmware there are ``generated/csr.h``, ``mem.h``, ``soc.h`` and ``regions.ld``, which depend on
    the board alone; for a real board, ``soc.xdc`` or ``soc.lpf``. The same arguments give the same bytes.

    Raises ValueError when the window is not the SoC's, or when the firmware is too long.
    """
    if memory != BUFFER:
        raise ValueError(
            f"the accelerator was compiled for {memory.size} bytes of DMA memory at {memory.base:#010x}, "
            f"this SoC has {BUFFER.size} at {BUFFER.base:#010x}; compile the model again"
        )
    design = HeadraceSoC(board=board, rom=rom)
    design.finalize()
    verilog = design.platform.get_verilog(design, name=TOP)
    text = _inline_memories(verilog.main_source, verilog.data_files)
    # VexRiscv shows its registers to Verilator's C++, which keeps the whole design from being flattened.
    sources = [Path(source[0]).read_text().replace("/* verilator public */", "") for source in design.platform.sources]
    family = design.platform.device_family
    if family == "ecp5":
        text = _either_order(text)
    generated = out_dir / "generated"
    generated.mkdir(parents=True, exist_ok=True)
    regions, constants = design.mem_regions, design.constants
    csr_base = regions["csr"].origin
    files = {
        out_dir / "soc.v": "\n".join([text, *sources, gateware(accelerator, family)]),
        out_dir / "regions.ld": export.get_linker_regions(regions),
        generated / "mem.h": export.get_mem_header(regions),
        generated / "soc.h": export.get_soc_header(constants),
        generated / "csr.h": export.get_csr_header(design.csr_regions, constants, csr_base=csr_base),
    }
    if board.crystal is not None:
        pins = constraints(design.platform, verilog.ns, crystal=board.crystal)
        files[out_dir / f"{TOP}.{FORMATS[family]}"] = pins
    for path, content in files.items():
        path.write_text(unsigned(content))
    return out_dir / "soc.v"


def _inline_memories(verilog: str, data_files: dict[str, str]) -> str:
    """Replace each $readmemh, whose path would mean something else in every working directory, by the file's words."""

    def blocks(match: re.Match[str]) -> str:
        file, memory = match.groups()
        lines = data_files[file].split()
        words = [f"\t{memory}[{i}] = {4 * len(word)}'h{word};" for i, word in enumerate(lines)]
        chunks = ("\n".join(words[i : i + BLOCK]) for i in range(0, len(words), BLOCK))
        return "\n".join(f"initial begin\n{chunk}\nend" for chunk in chunks)

    return re.sub(r'initial begin\n\t\$readmemh\("([^"]+)", (\w+)\);\nend', blocks, verilog)


def _either_order(verilog: str) -> str:
    """Leave open what a port of the buffer reads while the other writes the same word; nobody looks at it then.

    The ECP5's block RAM does not say, and Yosys would make the buffer of flip-flops rather than guess.
    """
    return re.sub(r"^reg (\[31:0\] buffer\[)", r"(* no_rw_check *) reg \1", verilog, flags=re.MULTILINE)


def gateware(accelerator: Path, family: str) -> str:
    """The Verilog of the accelerator, as Yosys shall see it for this family of devices, as LiteX calls it."""
    verilog = accelerator.read_text()
    if family != "ecp5":
        return verilog
    # Small ROMs in LUTs, not in LUT RAM, which the ECP5 cannot give contents to start with.
    return re.sub(
        r'\(\* ram_style = "distributed" \*\)(\s+)\(\* rom_style = "distributed" \*\)',
        r'(* ram_style = "logic" *)\1(* rom_style = "logic" *)',
        verilog,
    )


def unsigned(text: str) -> str:
    """LiteX signs its files with the time and with the commit of whatever folder it lies in: leave that out.

    The drawing of the hierarchy names the cells of a module in the order of a set, which is another one each time.
    """
    text = re.sub(r"^[│ ]*└─── \[\w+\]\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"( on|Date +:) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.?", "", text)
    return re.sub(r"( \([0-9a-f-]{7,40}\)$|LiteX sha1 : \S+)", "", text, flags=re.MULTILINE)
