"""The rate of the serial line: found where the device is at another one, raised for large inputs, then put back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.client import Client
from bench.errors import DeviceError, LineError, Silent

FAST = 921_600  # bits a second
RATES = (115_200, FAST, 9_600)  # those that a device may have been left at
LARGE_INPUT = 2_048  # bytes; at 115,200 such an input takes half a second to load
TRIAL_S = 2.0  # after which the device takes back a rate that nobody confirmed


def meet(client: Client) -> None:
    """Bring host and device into step; a device that is silent at the client's rate is looked for at the others.

    Raises `Silent` or `PortError`, with the client at its own rate again.
    """
    own = client.baud
    try:
        client.synchronise()
        return
    except Silent as silent:
        if "://" in client.port:  # no wires, no rates
            raise
        first = silent
    for rate in RATES:
        if rate == own:
            continue
        client.retune(rate)
        with suppress(Silent):
            client.synchronise(attempts=1)
            return
    client.retune(own)
    raise first


def change(client: Client, baud: int) -> bool:
    """Move device and client to ``baud``; where either cannot, both stay. Returns whether they are there.

    Raises `LineError` where the device is lost.
    """
    old = client.baud
    if old == baud:
        return True
    try:
        client.ask(f"baud {baud}", "baud")
    except DeviceError:  # it does not know the command, or not the rate
        return False
    client.retune(baud)
    try:
        client.ask(f"baud {baud}", "baud")
    except LineError:
        client.retune(old)
        time.sleep(TRIAL_S * client.time_scale)
        client.synchronise()
        return False
    return True


@contextmanager
def fast_line(client: Client, input_bytes: int) -> Iterator[None]:
    """A faster line while large inputs are loaded; the rate of before at the end, however that comes."""
    old = client.baud
    if input_bytes > LARGE_INPUT and old < FAST:
        client.attempt("the baud rate could not be changed", lambda: change(client, FAST))
    try:
        yield
    finally:
        if client.baud != old:
            with suppress(LineError):  # the next run finds the device wherever it is
                change(client, old)
