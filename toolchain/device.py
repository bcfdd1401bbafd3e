"""The name of a part, taken apart into what tools want to be told of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_XC7_FAMILIES = {"a": "artix7", "k": "kintex7", "s": "spartan7", "z": "zynq7"}
_ECP5_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA", "TG": "TQFP"}


class DeviceError(ValueError):
    """A part that no flow here builds for."""


@dataclass(frozen=True)
class Device:
    """A part: ``family`` is xc7 or ecp5.

    ``die``, ``package`` and ``speed`` are spelt as the family's tools do: xc7a100t, csg324 and 1; 85k, CABGA381 and 6.
    ``series`` is the folder of Project X-Ray's database (artix7) or the ECP5's variant (empty, um or um5g).
    """

    part: str
    family: str
    series: str
    die: str
    package: str
    speed: str

    @classmethod
    def of(cls, part: str) -> Device:
        """From an orderable name: xc7a100tcsg324-1, LFE5U-85F-6BG381C. Raises `DeviceError`."""
        if match := re.fullmatch(r"(xc7([aksz])\d+t?)i?([a-z]+\d+)-(\d)L?", part):
            return cls(part, "xc7", _XC7_FAMILIES[match[2]], match[1], match[3], match[4])
        if match := re.fullmatch(r"LFE5(U|UM|UM5G)-(\d+)F-(\d)(BG|MG|TG)(\d+)[CI]?", part):
            series = match[1].lower().removeprefix("u")
            return cls(
                part,
                "ecp5",
                f"u{series}" if series else "",
                f"{match[2]}k",
                _ECP5_PACKAGES[match[4]] + match[5],
                match[3],
            )
        raise DeviceError(f"{part}: not a part that is known here, such as xc7a100tcsg324-1 or LFE5U-85F-6BG381C")

    @property
    def constraints_suffix(self) -> str:
        """What the names of constraint files for it end in."""
        return ".xdc" if self.family == "xc7" else ".lpf"

    @property
    def ecp5_options(self) -> list[str]:
        """What nextpnr-ecp5 is told."""
        return [
            f"--{self.series}-{self.die}" if self.series else f"--{self.die}",
            "--package",
            self.package,
            "--speed",
            self.speed,
        ]
