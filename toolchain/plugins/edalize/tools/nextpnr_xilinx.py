"""nextpnr for Xilinx 7-series parts in edalize: nextpnr-xilinx, or nextpnr-himbaechel with its Xilinx uarch."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.edatool import Edatool
from edalize.utils import EdaCommands


class Nextpnr_xilinx(Edatool):
    """Place and route to FPGA assembly (.fasm); the two programs differ in how they are told the same things."""

    description = "Place and route for Xilinx 7-series FPGAs"

    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "variant": {"type": "str", "desc": "Program to call: xilinx (default) or himbaechel"},
        "device": {"type": "str", "desc": "Part with package and speed grade, e.g. xc7a100tcsg324-1 (himbaechel)"},
        "nextpnr_options": {"type": "str", "desc": "Additional options", "list": True},
    }

    def setup(self, edam: dict[str, Any]) -> None:
        """From a netlist (jsonNetlist), constraints (xdc) and a chip database (chipdb) to NAME.fasm."""
        super().setup(edam)
        taken: dict[str, list[str]] = {"jsonNetlist": [], "xdc": [], "chipdb": []}
        for file in self.files:
            taken.get(file.get("file_type", ""), []).append(file["name"])
        unused = [file for file in self.files if file.get("file_type") not in taken]
        for kind in ("jsonNetlist", "chipdb"):
            if len(taken[kind]) != 1:
                raise RuntimeError(f"nextpnr_xilinx needs one file of type {kind}, not {len(taken[kind])}")
        if not taken["xdc"]:
            raise RuntimeError("nextpnr_xilinx needs a file of type xdc")
        (netlist,), (chipdb,), fasm = taken["jsonNetlist"], taken["chipdb"], f"{self.name}.fasm"
        variant = self.tool_options.get("variant", "xilinx")
        if variant == "xilinx":
            command = ["nextpnr-xilinx", "--chipdb", chipdb]
            for xdc in taken["xdc"]:
                command += ["--xdc", xdc]
            command += ["--json", netlist, "--fasm", fasm]
        elif variant == "himbaechel":
            command = ["nextpnr-himbaechel", "--chipdb", chipdb, "--device", self._require_tool_option("device")]
            for xdc in taken["xdc"]:
                command += ["-o", f"xdc={xdc}"]
            command += ["--json", netlist, "-o", f"fasm={fasm}"]
        else:
            raise RuntimeError(f"nextpnr_xilinx: variant must be xilinx or himbaechel, not {variant!r}")
        command += self.tool_options.get("nextpnr_options", [])
        self.edam = {**edam, "files": [*unused, {"name": fasm, "file_type": "fasm"}]}
        self.commands = EdaCommands()
        self.commands.add(command, [fasm], [netlist, *taken["xdc"]])
        self.commands.set_default_target(fasm)
