"""Project X-Ray's xc7frames2bit in edalize."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.edatool import Edatool
from edalize.utils import EdaCommands


class Xc7frames2bit(Edatool):
    """From configuration frames to the bitstream of a 7-series part."""

    description = "Configuration frames to a bitstream"

    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "part": {"type": "str", "desc": "Part with package and speed grade, e.g. xc7a100tcsg324-1"},
        "part_file": {"type": "str", "desc": "part.yaml of the part in the Project X-Ray database"},
    }

    def setup(self, edam: dict[str, Any]) -> None:
        """From one file of type xc7Frames to NAME.bit."""
        super().setup(edam)
        frames = [file["name"] for file in self.files if file.get("file_type") == "xc7Frames"]
        if len(frames) != 1:
            raise RuntimeError(f"xc7frames2bit needs one file of type xc7Frames, not {len(frames)}")
        bit = f"{self.name}.bit"
        command = ["xc7frames2bit", "--part_file", self._require_tool_option("part_file")]
        command += ["--part_name", self._require_tool_option("part"), "--frm_file", frames[0], "--output_file", bit]
        rest = [file for file in self.files if file.get("file_type") != "xc7Frames"]
        self.edam = {**edam, "files": [*rest, {"name": bit, "file_type": "bitstream"}]}
        self.commands = EdaCommands()
        self.commands.add(command, [bit], frames)
        self.commands.set_default_target(bit)
