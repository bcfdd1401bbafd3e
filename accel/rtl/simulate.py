"""The core alone, verilated: frames through it, results and cycles back."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accel.dataflow.pipeline import Pipeline, Stream
from accel.rtl.core import Core
from accel.rtl.verilate import build
from accel.rtl.verilog import to_verilog


class SimulationError(RuntimeError):
    """The core broke the rules of its streams, or stopped."""


FAILURES = {
    3: "the output's payload changed before it was taken",
    4: "the output's valid fell before its payload was taken",
    5: "no output for {limit} cycles",
}


@dataclass(frozen=True)
class Result:
    """What came out of the core, and when.

    ``outputs``: int64, shape (frames, elements). ``first`` and ``last``: the cycles of each frame's first input and
    last output beat; ``cycles`` counts from one to the other, both included.
    """

    outputs: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @property
    def cycles(self) -> np.ndarray:
        return self.last - self.first + 1


class Simulator:
    """A pipeline's core, built with Verilator in ``out_dir`` (kept there for the next time)."""

    def __init__(self, pipeline: Pipeline, out_dir: Path) -> None:
        self.pipeline = pipeline
        out_dir.mkdir(parents=True, exist_ok=True)
        source = out_dir / "core.v"
        source.write_text(to_verilog(Core(pipeline), "core"))
        driver = Path(__file__).with_name("simulate.cpp")
        # less optimization: frames are few, and building takes longer than running them
        self.program = build([source], top="core", out_dir=out_dir, cpp=[driver], cxx_options=["-O1"])

    def run(
        self,
        x: np.ndarray,
        *,
        seed: int = 0,
        pauses: tuple[float, float] = (0.0, 0.0),
        clear: int = 0,
        limit: int = 1 << 20,
    ) -> Result:
        """Sends the frames ``x``, shape (frames, elements), one after another, without waiting for results.

        ``pauses`` are the chances that the input has nothing in a cycle and that the output is not ready. With
        ``clear`` the core is cleared in that cycle and everything is sent anew. Raises SimulationError when the core
        breaks a rule of its streams or gives nothing for ``limit`` cycles.
        """
        source, sink = self.pipeline.source, self.pipeline.sink
        beats, in_words = to_beats(x, source)
        out_words = words_of(sink)
        chances = [min(round(p * 256), 255) for p in pauses]
        header = [seed, *chances, clear, len(x), source.beats, sink.beats, limit, in_words, out_words]
        done = subprocess.run(
            [str(self.program)],
            input=np.array(header, dtype="<u4").tobytes() + beats.tobytes(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            reason = FAILURES.get(done.returncode, f"the simulator ended with {done.returncode}")
            raise SimulationError(f"{self.pipeline.graph.name}: {reason.format(limit=limit)}")
        size = 4 * len(x) * sink.beats * out_words
        outputs = from_beats(np.frombuffer(done.stdout[:size], dtype="<u4").reshape(len(x), -1, out_words), sink)
        times = np.frombuffer(done.stdout[size:], dtype="<u8").astype(np.int64).reshape(-1, 2)
        return Result(outputs, times[:, 0], times[:, 1])


def words_of(stream: Stream) -> int:
    """32-bit words of a payload."""
    return -(-stream.lanes * stream.type.width // 32)


def to_beats(x: np.ndarray, stream: Stream) -> tuple[np.ndarray, int]:
    """Payloads of frames, as 32-bit words: shape (frames * beats, words)."""
    type, words = stream.type, words_of(stream)
    values = (np.asarray(x, dtype=np.int64) + 1) // 2 if type.is_bipolar else np.asarray(x, dtype=np.int64)
    padded = np.zeros((len(x), stream.beats * stream.lanes), dtype=np.int64)
    padded[:, : stream.elements] = values.reshape(len(x), -1)
    bits = (padded.reshape(-1, stream.lanes, 1) >> np.arange(type.width)) & 1
    room = np.zeros((len(bits), words * 32), dtype=np.uint8)
    room[:, : stream.lanes * type.width] = bits.reshape(len(bits), -1)
    return np.packbits(room, axis=1, bitorder="little").view("<u4"), words


def from_beats(beats: np.ndarray, stream: Stream) -> np.ndarray:
    """Elements of frames, shape (frames, elements), from payloads of shape (frames, beats, words)."""
    type, frames = stream.type, len(beats)
    bits = np.unpackbits(np.ascontiguousarray(beats).view(np.uint8), axis=-1, bitorder="little")
    lanes = bits[..., : stream.lanes * type.width].reshape(frames, -1, type.width)[:, : stream.elements]
    values = lanes.astype(np.int64) @ (1 << np.arange(type.width, dtype=np.int64))
    if type.is_bipolar:
        return 2 * values - 1
    return values - ((values >> (type.width - 1)) << type.width) if type.signed else values
