"""Amaranth to Verilog, by Yosys inside this process."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring
from pyosys import libyosys

# What amaranth.back.verilog does, but for `-norename`: internal names would carry numbers of earlier runs in this
# process, and the same component has to give the same text.
PASSES = (
    "read_rtlil {source}",
    "proc -nomux -norom",
    "memory_collect",
    "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding",
    "attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding",
    # a ROM in LUTs stays by itself: see `accel.rtl.rom.LogicRom`
    "setattr -mod -set keep_hierarchy 1 a:rom_style=logic %m",
    # and so do registers that are to be several: see `accel.rtl.spread`
    "setattr -mod -set keep_hierarchy 1 a:keep=true %m",
    "write_verilog {target}",
)


def to_verilog(component: wiring.Component, name: str) -> str:
    """Verilog of ``component`` and all it contains, top module ``name``, with the contents of memories inside.

    Ports are the members of its signature, joined by two underscores (``input__valid``), and ``clk`` and ``rst``.
    """
    text = rtlil.convert(component, name=name, emit_src=False)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.il", Path(folder) / "out.v"
        source.write_text(text)
        design = libyosys.Design()
        for command in PASSES:
            libyosys.Pass.call(design, "tee -q " + command.format(source=source, target=target))
        # the one name that still carries such a number
        text = re.sub(r"\\\$auto\$verilog_backend\S*", r"\\$initial", target.read_text())
        # abc9 names bit 0 of a port `x` as Amaranth names field 0 of it, and Yosys stops where a module has both
        return re.sub(r"\\\S*\[\S*", lambda name: name[0].replace("[", "<").replace("]", ">"), text)
