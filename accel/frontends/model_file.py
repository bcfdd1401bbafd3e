"""From a file to a Graph: finds the format by content and calls the frontend for it."""

from __future__ import annotations

from pathlib import Path

from accel.frontends import onnx_file, tflite, tflite_file
from accel.frontends.errors import FrontendError
from accel.frontends.interpreter import Encoding, interpret
from accel.graph import Graph
from accel.graph.graph import HEADS

WAY_OUT = "export the model as QONNX or QCDQ ONNX, or convert it to int8 TFLite"
#: Offset and bytes by which formats are told that are not read; what is none of these is taken for ONNX.
UNREADABLE = {
    (0, b"\x89HDF"): "HDF5 (Keras)",
    (0, b"PK\x03\x04"): "a zip archive (PyTorch or Keras)",
    (0, b"\x80\x02"): "a Python pickle (PyTorch)",
}


def load(
    path: str | Path, *, name: str | None = None, encoding: Encoding | None = None, head: str | None = None
) -> Graph:
    """The network in a model file, on integers, with the exact activations of the file (``accel.passes.lower`` them).

    ``name`` is the graph's, by default the file's without its suffix. ``encoding`` says what the integers on the wire
    mean; without one, the wire carries the integers of the network's first quantizer (or those of its integer input).
    ``head`` replaces the Softmax, ArgMax or TopK at the end of the file, or adds one; ``"scores"`` leaves it out.

    The graph's input and output are images, channels innermost whatever the file's order, where operators on images
    read and make them; else vectors, in the order in which the file's tensors are flattened. Raises FrontendError for
    every file that cannot be read.
    """
    if head is not None and head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, not {head!r}")
    path = Path(path)
    content = _content(path)
    for (offset, magic), kind in UNREADABLE.items():
        if content[offset : offset + len(magic)] == magic:
            raise FrontendError(f"is {kind}, not ONNX or TFLite", WAY_OUT, file=str(path))
    name = path.stem if name is None else name
    if tflite.is_tflite(content):
        return tflite.read(str(path), content, name=name, encoding=encoding, head=head)
    return interpret(onnx_file.read(str(path), content), name=name, encoding=encoding, head=head)


def reads_reals(path: str | Path) -> bool:
    """Whether the file is TFLite and its input float32, which its first operator quantizes. Raises FrontendError."""
    content = _content(Path(path))
    return tflite.is_tflite(content) and tflite_file.read(str(path), content).input.type == "float32"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FrontendError(f"cannot be opened ({error.strerror})", "check the path", file=str(path)) from error
