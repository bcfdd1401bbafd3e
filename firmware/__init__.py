"""Bare-metal C for the soft CPU: the serial protocol, the heads and the engines, and the Python that compiles them.

`firmware.build.build` makes the image, `firmware.header` the constants of a model, and `firmware.host` the device in a
process. C lies in `src`: `protocol.c` knows nothing of the machine, `device.h` is what it needs of one, and `engine.h`
what it needs of an engine, of which one file `engine_NAME.c` is linked.
"""
