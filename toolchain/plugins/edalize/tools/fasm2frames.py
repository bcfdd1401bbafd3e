"""Project X-Ray's fasm2frames in edalize."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.edatool import Edatool
from edalize.utils import EdaCommands


class Fasm2frames(Edatool):
    """From FPGA assembly to the configuration frames of a 7-series part."""

    description = "FPGA assembly to configuration frames"

    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "part": {"type": "str", "desc": "Part with package and speed grade, e.g. xc7a100tcsg324-1"},
        "db_root": {"type": "str", "desc": "Folder of the part's family in the Project X-Ray database"},
        "fasm2frames_options": {"type": "str", "desc": "Additional options", "list": True},
    }

    def setup(self, edam: dict[str, Any]) -> None:
        """From one file of type fasm to NAME.frames."""
        super().setup(edam)
        fasm = [file["name"] for file in self.files if file.get("file_type") == "fasm"]
        if len(fasm) != 1:
            raise RuntimeError(f"fasm2frames needs one file of type fasm, not {len(fasm)}")
        frames = f"{self.name}.frames"
        command = ["fasm2frames", "--part", self._require_tool_option("part")]
        command += ["--db-root", self._require_tool_option("db_root")]
        command += [*self.tool_options.get("fasm2frames_options", []), fasm[0], frames]
        rest = [file for file in self.files if file.get("file_type") != "fasm"]
        self.edam = {**edam, "files": [*rest, {"name": frames, "file_type": "xc7Frames"}]}
        self.commands = EdaCommands()
        self.commands.add(command, [frames], fasm)
        self.commands.set_default_target(frames)
