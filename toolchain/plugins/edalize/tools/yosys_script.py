"""Yosys for edalize, driven by a plain script instead of Tcl."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.edatool import Edatool
from edalize.utils import EdaCommands


class Yosys_script(Edatool):
    """Synthesis with any build of Yosys, also those without Tcl (the Python and the WebAssembly packages)."""

    description = "Open source synthesis, driven by a plain script"

    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "arch": {"type": "str", "desc": "Target architecture, the part after synth_ of the command: xilinx, ecp5, …"},
        "yosys_synth_options": {"type": "str", "desc": "Options of the synth command", "list": True},
        "yosys_post_synth": {"type": "str", "desc": "Commands between synthesis and output", "list": True},
    }

    def setup(self, edam: dict[str, Any]) -> None:
        """From (System)Verilog files to NAME.json; NAME.stat.json counts its cells."""
        super().setup(edam)
        arch = self._require_tool_option("arch")
        options = self.tool_options.get("yosys_synth_options", [])
        defines = [f"-D{key}={self._param_value_str(value)}" for key, value in self.vlogdefine.items()]
        includes: list[str] = []
        reads, depends, unused = [], [], []
        for file in self.files:
            kind = file.get("file_type", "")
            if kind.startswith(("verilogSource", "systemVerilogSource")) and "simulation" not in file.get("tags", []):
                depends.append(file["name"])
                if not self._add_include_dir(file, includes):
                    system = ["-sv"] if kind.startswith("system") else []
                    reads.append(["read_verilog", *system, *defines, f'"{file["name"]}"'])
            else:
                unused.append(file)
        if not reads:
            raise RuntimeError("yosys_script: no Verilog file among the files")
        for read in reads:
            read[-1:-1] = [f"-I{folder}" for folder in includes]
        parameters = [
            f"chparam -set {key} " + (f'"{value}"' if isinstance(value, str) else self._param_value_str(value))
            for key, value in self.vlogparam.items()
        ]
        self.script = "\n".join(
            [
                *(" ".join(read) for read in reads),
                *(f"{parameter} {self.toplevel}" for parameter in parameters),
                " ".join([f"synth_{arch}", *options, "-top", self.toplevel]),
                *self.tool_options.get("yosys_post_synth", []),
                f"tee -q -o {self.name}.stat.json stat -json",
                f"write_json {self.name}.json",
                "",
            ]
        )
        self.edam = {**edam, "files": [*unused, {"name": f"{self.name}.json", "file_type": "jsonNetlist"}]}
        self.commands = EdaCommands()
        self.commands.add(["yosys", "-s", f"{self.name}.ys"], [f"{self.name}.json"], [f"{self.name}.ys", *depends])
        self.commands.set_default_target(f"{self.name}.json")

    def write_config_files(self) -> None:
        """Write NAME.ys, if it changed."""
        self.update_config_file(f"{self.name}.ys", self.script)
