"""What may go wrong between host and device, each with its way out."""

from __future__ import annotations


class BenchError(RuntimeError):
    """A benchmark that cannot go on. The message says why and what to do next; results already taken are on disk."""


class Interrupted(BenchError):
    """The user stopped the run."""


class LineError(BenchError):
    """One exchange with the device failed; trying again may help. ``advice`` is for the user when it does not."""

    advice = "log.txt has every line that was sent and received."


class PortError(LineError):
    """The port cannot be opened, or went away."""

    advice = "Check that the port exists and that no other program uses it."


class Silent(LineError):
    """No line, or no end of a reply, in time."""

    advice = (
        "Check power, cable and port, load the bitstream again or press the board's reset (a simulated board: see that "
        "the simulator still runs)."
    )


class Reset(LineError):
    """The device started anew in the middle of a reply."""

    advice = "Check the board's power supply; a device that resets at the same command each time is a firmware fault."


class Garbled(LineError):
    """A reply that breaks the protocol: bytes were lost or changed on the way."""

    advice = "Bytes are lost on the line: try a lower baud rate, another cable or hub. log.txt has every line."


class DeviceError(LineError):
    """The device answered ``e-[…]``."""
