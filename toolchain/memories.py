"""New contents for the block memories of a design that is placed and routed already.

Placement and routing do not depend on what a block memory holds: where two netlists differ in nothing else, the routed
file of the first becomes that of the second by exchanging the contents. A memory is found in the routed file by its
old contents, so no knowledge of where it was placed is needed; where that is ambiguous (two memories held the same and
are to hold different things) nothing is exchanged, and the caller places and routes again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

# Parameters that hold the contents, by the cell's type.
_CONTENTS = {
    "RAMB18E1": re.compile(r"INITP?_[0-9A-F]{2}"),
    "RAMB36E1": re.compile(r"INITP?_[0-9A-F]{2}"),
    "DP16KD": re.compile(r"INITVAL_[0-9A-F]{2}"),
}

Contents = dict[str, dict[str, str]]
"""Cell to parameter to bits, the most significant first."""


def split(netlist: Mapping[str, Any]) -> tuple[str, Contents]:
    """A sha256 over all of a Yosys netlist but what its block memories hold, and what they hold, cell by cell."""
    contents: Contents = {}
    modules = {}
    for module_name, module in netlist["modules"].items():
        if {"blackbox", "whitebox"} & module.get("attributes", {}).keys():
            continue  # a primitive, listed once more for each set of parameters, contents among them
        cells = {}
        for name, cell in module.get("cells", {}).items():
            pattern = _CONTENTS.get(cell["type"])
            if pattern is None:
                cells[name] = cell
                continue
            held = {key: value for key, value in cell["parameters"].items() if pattern.fullmatch(key)}
            contents[f"{module_name}/{name}"] = {"": cell["type"]} | {k: _bits(v) for k, v in held.items()}
            rest = {key: "" if key in held else value for key, value in cell["parameters"].items()}
            cells[name] = cell | {"parameters": rest}
        modules[module_name] = dict(module) | {"cells": cells}
    digest = hashlib.sha256(json.dumps(modules, sort_keys=True).encode()).hexdigest()
    return digest, contents


def _bits(value: str) -> str:
    return re.sub("[^01]", "0", str(value))


def exchange(routed: str, old: Contents, new: Contents) -> str | None:
    """The routed file (.fasm or ECP5 .config) with ``new`` for ``old``; None where it cannot be told which is which."""
    wanted: dict[str, str] = {}
    number: Counter[str] = Counter()
    for cell, parameters in old.items():
        for before, after in zip(_images(parameters), _images(new[cell]), strict=True):
            number[before] += 1
            if wanted.setdefault(before, after) != after:
                return None
    changed = {before for before, after in wanted.items() if before != after}
    pattern = _CONFIG_BLOCK if routed.startswith(".device") or ".bram_init" in routed else _FASM_BLOCK
    found = Counter(_image_of(match) for match in pattern.finditer(routed))
    if any(not before.strip("0 \n") or found[before] != number[before] for before in changed):
        return None
    return pattern.sub(lambda m: _written(m, wanted[image]) if (image := _image_of(m)) in changed else m[0], routed)


# A memory's contents as they stand in the routed file. ECP5: 2,048 words of 9 bits, 8 a line. 7-series: a site's lines
# INIT_00 to INIT_3F and INITP_00 to INITP_07, of which nextpnr writes those that the netlist gives.
_CONFIG_BLOCK = re.compile(r"(?P<head>\.bram_init \d+\n)(?P<words>(?:[0-9a-f]{3}[ \n])+)")
_FASM_BLOCK = re.compile(
    r"(?:^(?P<site>\S+\.RAMB18_Y[01])\.INITP?_[0-9A-F]{2}\[255:0\] = 256'b[01]+\n)(?:^(?P=site)\.INITP?_.*\n)*", re.M
)
_FASM_NAMES = [f"INIT_{n:02X}" for n in range(64)] + [f"INITP_{n:02X}" for n in range(8)]


def _images(parameters: Mapping[str, str]) -> list[str]:
    """What the routed file says of a cell: one image, two for a RAMB36 whose halves hold the even and the odd bits."""
    if parameters[""] == "DP16KD":
        words = []
        for n in range(64):
            row = parameters.get(f"INITVAL_{n:02X}", "").zfill(320)
            for column in range(16):  # 18 bits of each 20, the low nine first
                value = int(row[320 - 20 * column - 20 : 320 - 20 * column], 2)
                words += [f"{value & 511:03x}", f"{value >> 9 & 511:03x}"]
        return ["".join(" ".join(words[i : i + 8]) + "\n" for i in range(0, len(words), 8))]
    if parameters[""] == "RAMB18E1":
        return ["\n".join(parameters.get(name, "").zfill(256) for name in _FASM_NAMES)]
    halves = []
    for half in (0, 1):
        rows = []
        for prefix, count in (("INIT", 64), ("INITP", 8)):
            for n in range(count):
                low, high = (parameters.get(f"{prefix}_{2 * n + i:02X}", "").zfill(256) for i in (0, 1))
                both = high + low
                rows.append(both[1 - half :: 2])
        halves.append("\n".join(rows))
    return halves


def _image_of(match: re.Match[str]) -> str:
    if "words" in match.groupdict():
        return match["words"]
    held = dict(re.findall(r"\.(INITP?_..)\[255:0\] = 256'b([01]+)", match[0]))
    return "\n".join(held.get(name, "0" * 256) for name in _FASM_NAMES)


def _written(match: re.Match[str], image: str) -> str:
    if "words" in match.groupdict():
        return match["head"] + image
    rows = zip(_FASM_NAMES, image.split("\n"), strict=True)
    return "".join(f"{match['site']}.{name}[255:0] = 256'b{bits}\n" for name, bits in rows)
