"""A device made of Python, which speaks the serial protocol over TCP or a pseudo-terminal and fails on demand."""

from __future__ import annotations

import os
import re
import socket
import threading
import tty
from collections.abc import Callable
from pathlib import Path

import numpy as np

from accel.graph import Affine, ArgMax, Dense, Graph, IntType, Tensor, load, save
from accel.manifest import (
    BudgetEntry,
    Estimate,
    Input,
    InputEncoding,
    LayerEntry,
    LinkEntry,
    Manifest,
    Memory,
    NodeEntry,
    Output,
    output_bytes,
)
from bench.reference import Expected, Reference, reference_of

Change = Callable[[int, int], int | None]
"""From a byte's place on the line (counted from 0) and its value to what arrives; None: it is lost."""


def make_model(
    folder: Path, *, inputs: int = 70, classes: int = 4, head: str = "softmax", name: str = "tiny"
) -> Manifest:
    """A dense layer of random weights, written as `headrace compile` writes a model."""
    weights = np.random.default_rng(7).integers(-3, 4, size=(classes, inputs))
    dense = Dense("dense0", ("x",), "scores", weights, IntType(-4, 3))
    operators = (dense, ArgMax("argmax0", ("scores",), "y")) if head == "argmax" else (dense,)
    output = operators[-1].output
    graph = Graph(name, Tensor("x", (inputs,), IntType(-128, 127), Affine()), output, operators, head)
    y = graph.tensors[output]
    layer = LayerEntry("dense0", inputs, classes, 3, 8, None, inputs * classes, 35)
    node = NodeEntry("array0", "array", 40, 300, 200, 0.5, 8, 4, 2, 1, "dsp", "bram", (layer,))
    manifest = Manifest(
        name=name,
        task="tiny01",
        hash="8f3a91c2",
        input=Input((inputs,), inputs, inputs, 4, IntType(-128, 127)),
        output=Output(y.shape, y.size, y.size * output_bytes(y.type), 1, y.type, (0.001,), (0.0,)),
        head=head,
        input_encoding=InputEncoding(),
        pipeline=(node,),
        estimate=Estimate(40, 300, 200, 0.5, 8),
        budget=BudgetEntry("sim", 30000, 60000, 60.0, 230, "dsp"),
        memory=Memory(0x80000000, 0x8000),
        versions={"amaranth": "0.5.10"},
        seconds={"compile": 1.5},
        links=(LinkEntry("", "array0", 0, 4, 8, 0), LinkEntry("array0", "", 0, 1, y.type.width, 0)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    manifest.save(folder)
    save(graph, folder / "graph.npz")
    return manifest


def make_inputs(manifest: Manifest, count: int, seed: int = 1) -> list[bytes]:
    """Random inputs as they go over the wire."""
    values = np.random.default_rng(seed).integers(-128, 128, size=(count, manifest.input.elements))
    return [row.astype(np.int8).tobytes() for row in values]


class FakeDevice:
    """The device. ``behaviour`` is called with each command's number (from 0) and text before it is obeyed.

    It returns None, or ``"silent"`` (no reply to this one), ``"dead"`` (never again), ``"reset"`` (in the middle of the
    reply), ``"noise"`` (rubbish between the lines), ``"unplug"`` (the connection ends), or other text to obey instead.
    """

    def __init__(self, manifest: Manifest, reference: Reference, *, latency_us: float = 12.5) -> None:
        self.manifest = manifest
        self.reference = reference
        self.latency_us = latency_us
        self.engine = "stream"
        self.clock_hz = 100_000_000
        self.behaviour: Callable[[int, str], str | None] = lambda number, text: None
        self.wrong: Callable[[bytes, Expected], Expected] = lambda data, right: right
        self.commands: list[str] = []
        self.dead = False
        self.reset()

    @classmethod
    def of(cls, model_dir: Path, **options: float) -> FakeDevice:
        """A device that holds the model in ``model_dir``."""
        manifest = Manifest.load(model_dir)
        return cls(manifest, reference_of(load(model_dir / "graph.npz"), manifest), **options)

    def reset(self) -> None:
        self.typed = b""
        self.buffer = bytearray()
        self.wanted = 0
        self.now_us = 4_294_900_000.0  # soon to wrap
        self.answer: Expected | None = None

    @property
    def boot(self) -> bytes:
        return b"m-init-done\r\nm-ready\r\n"

    def receive(self, data: bytes) -> bytes:
        """Bytes in, bytes out. Raises ConnectionError for ``"unplug"``."""
        out = b""
        for byte in data:
            if byte == ord("%"):
                text, self.typed = self.typed.decode("latin1"), b""
                out += self.command(text)
            else:
                self.typed = (self.typed + bytes([byte]))[-80:]
        return out

    def command(self, text: str) -> bytes:
        number = len(self.commands)
        self.commands.append(text)
        action = self.behaviour(number, text)
        if action == "dead":
            self.dead = True
        if self.dead or action == "silent":
            return b""
        if action == "unplug":
            raise ConnectionError
        lines = [*self.obey(action if action not in (None, "reset", "noise") else text), "m-ready"]
        if action == "noise":
            lines = [part for line in lines for part in (b"\xff\xfe rubbish [".decode("latin1"), line)]
        reply = "".join(f"{line}\r\n" for line in lines).encode("latin1")
        if action == "reset":
            self.reset()
            return reply[: len(reply) // 2] + b"\r\n" + self.boot
        return reply

    def obey(self, text: str) -> list[str]:
        m = self.manifest
        words = text.split(" ")
        if words[0] == "db":
            return self.obey_db(words[1:])
        if words[0] == "infer":
            return self.obey_infer(words[1:])
        right = self.answer or Expected((), ())
        replies = {
            "name": ["m-name-dut-[headrace]"],
            "profile": ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", f"m-model-[{m.task}]"],
            "hash": [f"m-hash-[{m.hash}]"],
            "engine": [f"m-engine-[{self.engine}]"],
            "clock": [f"m-clock-[{self.clock_hz}]"],
            "cycles": ["m-cycles-[1050,1020,990]"],
            "stalls": ["m-stalls-[10,20,30,40]"],
            "scores": [f"m-scores-[{','.join(map(str, right.integers))}]"],
            "results": [f"m-results-[{','.join(right.results)}]"],
        }
        return replies.get(text, [f"e-[Unknown command: {words[0]}]"])

    def obey_db(self, words: list[str]) -> list[str]:
        if not words:
            return ["e-[Command 'db' requires a subcommand]"]
        if words[0] == "load":
            if len(words) < 2 or not words[1].isdigit() or int(words[1]) == 0:
                return ["e-[Command 'db load' must be >0 bytes]"]
            self.wanted, self.buffer = int(words[1]), bytearray()
            return [f"m-[Expecting {self.wanted} bytes]"]
        if words[0] == "print":
            rows = [self.buffer[i : i + 8] for i in range(0, len(self.buffer), 8)]
            return ["m-buffer-" + "-".join(f"{byte:02x}" for byte in row) for row in rows]
        if len(words[0]) % 2:
            return ["e-[Insufficent number of hex digits]"]
        if not re.fullmatch("[0-9a-f]*", words[0]):
            return [f"e-[Invalid hex digit '{words[0][:2]}']"]
        before = len(self.buffer)
        self.buffer = (self.buffer + bytes.fromhex(words[0]))[: self.wanted]
        return ["m-load-done"] if before < self.wanted == len(self.buffer) else []

    def obey_infer(self, words: list[str]) -> list[str]:
        try:
            count, warmup = int(words[0]), int(words[1])
        except (IndexError, ValueError):
            count, warmup = 1, 10
        data = bytes(self.buffer[: self.manifest.input.bytes]).ljust(self.manifest.input.bytes, b"\0")
        self.answer = self.wrong(data, self.reference([data])[0])
        start = self.now_us
        self.now_us += count * self.latency_us
        return [
            f"m-warmup-start-{warmup}",
            "m-warmup-done",
            f"m-infer-start-{count}",
            f"m-lap-us-{int(start) % 2**32}",
            f"m-lap-us-{int(self.now_us) % 2**32}",
            "m-infer-done",
            f"m-results-[{','.join(self.answer.results)}]",
        ]


class TcpLine:
    """A `FakeDevice` behind ``url``, while the context lasts; ``to_device`` and ``to_host`` lose or change bytes."""

    def __init__(
        self,
        device: FakeDevice,
        *,
        to_device: Change = lambda place, byte: byte,
        to_host: Change = lambda place, byte: byte,
    ) -> None:
        self.device = device
        self.ways = [to_device, to_host]
        self.counts = [0, 0]
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self.server.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self) -> TcpLine:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def way(self, which: int, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            new = self.ways[which](self.counts[which], byte)
            self.counts[which] += 1
            if new is not None:
                out.append(new)
        return bytes(out)

    def serve(self) -> None:
        first = self.device.boot
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(self.way(1, first))
                    first = b""
                    while data := connection.recv(4096):
                        connection.sendall(self.way(1, self.device.receive(self.way(0, data))))
                except OSError:
                    continue


class PtyLine:
    """A `FakeDevice` behind a pseudo-terminal, while the context lasts."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.ours, self.theirs = os.openpty()
        tty.setraw(self.theirs)
        self.url = os.ttyname(self.theirs)

    def __enter__(self) -> PtyLine:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.theirs)

    def serve(self) -> None:
        try:
            while data := os.read(self.ours, 4096):
                os.write(self.ours, self.device.receive(data))
        except OSError:
            os.close(self.ours)
