"""One inference on the device, checked against the exact reference;

and whether the device is the one that was asked for.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from accel.manifest import Manifest
from bench.client import Client, Inference
from bench.errors import BenchError, DeviceError, Garbled
from bench.reference import Expected
from bench.results import Cycles


@dataclass(frozen=True)
class Outcome:
    """What one input gave. ``exact``: it equals the reference, every integer and every digit; None without one."""

    inference: Inference
    exact: bool | None


def run_input(
    client: Client, data: bytes, *, inferences: int = 1, warmup: int = 0, expected: Expected | None = None
) -> Outcome:
    """Load ``data`` and run it. Lost bytes, silence and resets are answered by doing it again, a few times.

    An output that differs from ``expected`` is believed only when the device holds the right input and says the same
    twice: a bad line is no bad accelerator. The inference itself is *not* repeated then, lest a fault that comes and
    goes be hidden. Raises `BenchError`.
    """
    tries = 0

    def once() -> Outcome:
        nonlocal tries
        tries += 1
        client.load(data, verify=tries > 1)
        inference = client.infer(inferences, warmup)
        if expected is None:
            return Outcome(inference, None)
        answer = Expected(tuple(client.numbers(client.ask("scores", "scores"), "scores")), inference.results)
        if answer != expected:
            client.verify(data)
            again = Expected(
                tuple(client.numbers(client.ask("scores", "scores"), "scores")),
                tuple(client.ask("results", "results").split(",")),
            )
            if again != answer:
                raise Garbled(f"{client.port}: the device printed one output in two ways")
        return Outcome(inference, answer == expected)

    return client.attempt("the device could not be benchmarked", once)


def cycle_counters(client: Client) -> Cycles:
    """Cycle and stall counters of the last inference. Engines without stall counters have no streams."""

    def once() -> Cycles:
        counters = client.numbers(client.ask_surely("cycles", "cycles"), "cycles")
        if len(counters) != 3:
            raise Garbled(f"{client.port}: m-cycles-[…] has {len(counters)} numbers instead of 3")
        try:
            stalls = client.ask_surely("stalls", "stalls")
        except DeviceError:
            stalls = ""
        numbers = [int(number) for number in stalls.split(",")] if re.fullmatch(r"\d+(,\d+)*", stalls) else []
        streams = [[starved, blocked] for starved, blocked in zip(numbers[::2], numbers[1::2], strict=False)]
        inference, face, accelerator = counters
        return Cycles(accelerator=accelerator, face=face, inference=inference, streams=streams)

    return client.attempt("the cycle counters could not be read", once)


def check_device(client: Client, manifest: Manifest, *, engine: str, clock_hz: int | None, advice: str) -> int:
    """Compare what the device says of itself with what was asked for; returns its clock in Hz.

    ``advice`` says how to load the right model. Raises `BenchError`.
    """

    def wrong(what: str) -> BenchError:
        return BenchError(f"{client.port}: {what}. {advice}")

    def once() -> int:
        task = client.ask_surely("profile", "model")
        if task != manifest.task:
            raise wrong(f"the device runs the task {task}, not {manifest.task} of model {manifest.name}")
        try:
            found = client.ask_surely("hash", "hash")
        except DeviceError as error:
            if "Model mismatch" in str(error):
                raise wrong(f"firmware and gateware are of different builds ({error})") from error
            raise
        if found.lower() != manifest.hash:
            raise wrong(f"the device holds model {found}, not {manifest.hash} ({manifest.name})")
        if (running := client.ask_surely("engine", "engine")) != engine:
            raise wrong(f"the device runs engine {running}, not {engine}")
        clock = client.numbers(client.ask_surely("clock", "clock"), "clock")[0]
        if clock < 1 or clock_hz not in (None, clock):
            raise wrong(f"the device runs at {clock} Hz, not {clock_hz} Hz")
        with suppress(DeviceError):  # a device without modes tells its time as text
            client.ask("mode performance", "mode")
        return clock

    return client.attempt("the device does not say what it is", once)
