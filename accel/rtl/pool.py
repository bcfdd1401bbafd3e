"""Pools: the largest or the sum of each channel of a window.

Windows that overlap are read from a line buffer, an element of the kernel a step: `accel.rtl.window` has the schedule.

Others need none. A row of running results, one for each output column and channel, takes each beat as it comes: a beat
accepted in cycle ``c`` waits in a register in ``c + 1``, meets the running result of its window, and what comes out is
a register's value in ``c + ROW_POOL``. If it was the window's last pixel, that goes through the activation unit, if
there is one, and enters the result FIFO in ``c + ROW_POOL + unit_latency_alone`` (or ``c + ROW_POOL`` without an
activation); ``output.valid`` shows it ``FIFO`` later. Such a beat, and no other, waits for a place in that FIFO, of
``lent_places(latency, 1, 1)``, ``latency`` being that from ``c`` to the FIFO: ``input.ready`` is low in ``c`` if the
next beat ends a window and as many were accepted up to ``c - 1`` beyond those that left up to ``c - 1``.
"""
