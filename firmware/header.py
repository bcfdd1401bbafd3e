"""``model.h``: a manifest as the constants that the C sources are compiled with."""

from __future__ import annotations

import re
from collections.abc import Iterable

from accel.graph import IntType
from accel.graph.head import Head
from accel.manifest import WIRES, Manifest, input_bytes, output_bytes

DB_BYTES = 27_648
"""The largest payload of a benchmark (vww01, 96 x 96 x 3), and so the size of the db buffer."""

REAL_BYTES = 4
"""Of a float32 number on the wire."""


class HeaderError(ValueError):
    """A manifest for which no firmware can be made; names the field."""


def header(manifest: Manifest, *, board: str | None = None) -> str:
    """The text of ``model.h``. ``board`` is the name that `profile%` tells; the one of the manifest's budget otherwise.

    The window of the accelerator's DMA holds, from its base: the db buffer (the payload as it was sent), the input
    where its elements have another width than on the wire (otherwise the payload is the input), and the output.
    Raises HeaderError.
    """
    a, reals = manifest.input, manifest.input_encoding.reals
    wire = None if reals else WIRES[manifest.input_encoding.wire]
    wire_size, input_size = REAL_BYTES if wire is None else input_bytes(wire), input_bytes(a.type)
    payload = a.elements * wire_size
    if payload > DB_BYTES:
        advice = "; compile with an encoding of 8 bits" if reals else ""
        raise HeaderError(
            f"{manifest.name}: a sample has {payload} bytes, the db buffer of the protocol {DB_BYTES}{advice}"
        )
    input_offset = 0 if wire_size == input_size else DB_BYTES
    output_offset = DB_BYTES + (0 if wire_size == input_size else _words(a.bytes))
    end = output_offset + _words(manifest.output.bytes)
    if end > manifest.memory.size:
        raise HeaderError(
            f"{manifest.name}: db buffer, input and output need {end} bytes of DMA memory, memory.size is "
            f"{manifest.memory.size}; compile for a board with a larger buffer"
        )
    head = Head.of(manifest)
    values: dict[str, str | int] = {
        "MODEL_NAME": _string("name", manifest.name),
        "MODEL_TASK": _string("task", manifest.task),
        "MODEL_BOARD": _string("board", board or manifest.budget.board),
        "MODEL_HASH": f"0x{manifest.hash_value:08x}u",
        "MODEL_POLLS": f"{min(100_000 + 16 * manifest.estimate.cycles, 2**32 - 1)}u",
        "MODEL_MEMORY_BASE": f"0x{manifest.memory.base:08x}u",
        "MODEL_MEMORY_BYTES": f"{manifest.memory.size}u",
        "MODEL_DB_BYTES": f"{DB_BYTES}u",
        "MODEL_PAYLOAD_BYTES": f"{payload}u",
        "MODEL_INPUT_OFFSET": f"{input_offset}u",
        "MODEL_OUTPUT_OFFSET": f"{output_offset}u",
        "MODEL_WIRE_SIZE": wire_size,
        "MODEL_WIRE_REALS": int(reals),
        "MODEL_WIRE_SIGNED": int(wire is None or wire.signed),
        "MODEL_INPUT_AS_SENT": int(wire is not None and wire_size == input_size and a.type.contains(wire)),
        "MODEL_INPUT_SIZE": input_size,
        "MODEL_INPUT_ELEMENTS": f"{a.elements}u",
        "MODEL_INPUT_BYTES": f"{a.bytes}u",
        "MODEL_INPUT_LOWEST": f"({a.type.lo})",
        "MODEL_INPUT_HIGHEST": f"({a.type.hi})",
        "MODEL_INPUT_STEP": a.type.step,
        "MODEL_INPUT_RANGE": _string("input.type", _range(a.type)),
        "MODEL_OUTPUT_SIZE": output_bytes(manifest.output.type),
        "MODEL_OUTPUT_SIGNED": int(manifest.output.type.lo < 0),
        "MODEL_OUTPUT_ELEMENTS": f"{manifest.output.elements}u",
        "MODEL_OUTPUT_BYTES": f"{manifest.output.bytes}u",
        "MODEL_RESULTS": head.classes,
        f"HEAD_{head.kind.upper()}": 1,
    }
    if reals:
        values["MODEL_INPUT_SCALE"] = f"{a.quantizer.scale.hex()}f"
        values["MODEL_INPUT_ZERO_POINT"] = f"({a.quantizer.zero_point})"
    if head.kind == "softmax_int8":
        values["HEAD_MULTIPLIER"] = head.softmax.multiplier
        values["HEAD_SHIFT"] = head.softmax.shift
        values["HEAD_LOWEST"] = f"({head.softmax.lowest})"
    elif head.kind != "argmax":
        values["HEAD_SHIFT"] = head.fixed.shift
        values["HEAD_MULTIPLIER"] = _array(head.fixed.multiplier)
        values["HEAD_BIAS"] = _array(head.fixed.bias)
    if head.kind == "mse":
        values["HEAD_ERROR_BITS"] = head.error_bits
        if reals:
            values["HEAD_REACH_BITS"] = int(head.reach).bit_length() - 1
        else:
            values["HEAD_INPUT_MULTIPLIER"] = _array(head.input_fixed.multiplier)
            values["HEAD_INPUT_BIAS"] = _array(head.input_fixed.bias)
    lines = [f"#define {name} {value}" for name, value in values.items()]
    return "\n".join(
        [
            "/* Written by firmware/header.py from manifest.json. */",
            "#ifndef MODEL_H",
            "#define MODEL_H",
            "",
            *lines,
            "",
            "#endif",
            "",
        ]
    )


def _words(size: int) -> int:
    return -(-size // 4) * 4


def _string(field: str, text: str) -> str:
    """A C string of what the serial protocol can carry between brackets and commas."""
    if not re.fullmatch(r"[A-Za-z0-9_.+() -]{1,64}", text):
        raise HeaderError(
            f"{field} must be 1 to 64 letters, digits, spaces or _ . + - ( ), as the serial line tells it, not {text!r}"
        )
    return f'"{text}"'


def _range(kind: IntType) -> str:
    if (kind.lo, kind.hi, kind.step) == (-1, 1, 2):
        return "-1 or 1"
    return f"in {kind.lo}..{kind.hi}" + (f" by {kind.step}" if kind.step > 1 else "")


def _int64(value: int) -> str:
    return f"INT64_C({value})"


def _array(values: Iterable[int]) -> str:
    return "{" + ", ".join(map(_int64, values)) + "}"
