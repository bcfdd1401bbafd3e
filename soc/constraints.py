"""Where a design's ports are on the board: LiteX's pins as the constraint files that the open tools read."""

from __future__ import annotations

from typing import Any

from litex.build.generic_platform import IOStandard, Misc

FORMATS = {"7series": "xdc", "ecp5": "lpf"}  # by LiteX's name of the device's family


def constraints(platform: Any, namespace: Any, *, crystal: tuple[str, float]) -> str:
    """The text for ``platform``, of which all pins have been requested; ``namespace`` is of its Verilog.

    ``crystal``: the port of the clock that comes from outside, and its Hz. nextpnr takes all other clocks, which a PLL
    makes of it, from there. Raises ValueError for a constraint that has no counterpart.
    """
    signals, _ = platform.resolve_signals(namespace)
    write = {"xdc": _xdc, "lpf": _lpf}[FORMATS[platform.device_family]]
    ports = [
        (name if len(pins) == 1 else f"{name}[{i}]", pin, others)
        for name, pins, others, _ in signals
        for i, pin in enumerate(pins)
    ]
    return "\n".join([*(write(*port) for port in sorted(ports)), *_clock(platform.device_family, *crystal), ""])


def _clock(family: str, port: str, hertz: float) -> list[str]:
    if FORMATS[family] == "xdc":
        return [f"create_clock -period {1e9 / hertz:.3f} [get_ports {port}]"]
    # Resets come through synchronizers; what they are asynchronous to is not a path to be timed.
    return ["BLOCK RESETPATHS;", "BLOCK ASYNCPATHS;", f'FREQUENCY PORT "{port}" {hertz / 1e6:g} MHZ;']


def _xdc(port: str, pin: str, others: list[Any]) -> str:
    properties = {"LOC": pin}
    for other in others:
        if isinstance(other, IOStandard):
            properties["IOSTANDARD"] = other.name
        else:
            name, value = _misc(port, other).replace("=", " ").split()
            properties[name] = value
    return "\n".join(f"set_property {name} {value} [get_ports {{{port}}}]" for name, value in properties.items())


def _lpf(port: str, pin: str, others: list[Any]) -> str:
    kinds = [f"IO_TYPE={each.name}" if isinstance(each, IOStandard) else _misc(port, each) for each in others]
    return "\n".join([f'LOCATE COMP "{port}" SITE "{pin}";', *(f'IOBUF PORT "{port}" {kind};' for kind in kinds)])


def _misc(port: str, constraint: Any) -> str:
    if not isinstance(constraint, Misc):
        raise ValueError(f"port {port}: a constraint of the kind {type(constraint).__name__} is not known here")
    return str(constraint.misc)
