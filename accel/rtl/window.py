"""The line buffer: pixels come in as a stream, windows leave step by step.

The schedule of everything that slides (`ConvUnit`, `DepthwiseUnit`, a `PoolUnit` whose windows overlap), cycle for
cycle. Names in capitals are those of `accel.dataflow.timing`; beats, pixels and tiles are counted on and on, over all
frames; a pixel of ``channels`` is ``words = channels / lanes`` beats.

* ``input.ready`` in cycle ``c``: fewer than ``capacity * words`` beats more have been accepted before ``c`` than were
  let go by the last steps of output pixels in cycles up to ``c - RELEASE``. The last step of an output pixel lets go
  all pixels before the first one that a later window of its frame sees, and the frame's last one all of the frame
  (`accel.dataflow.windows.needs`); that may be pixels that have not come yet.
* An output pixel's first step may be issued in ``c`` when all beats of the pixels that it needs were accepted in cycles
  up to ``c - WRITTEN``. Its other steps follow, a cycle each, and then those of the next pixel.
* The last step of a tile (the neurons or channels whose sums are made at a time, ``beats = pe / drain`` beats of output)
  may be issued in ``c`` when that of the tile before was issued up to ``c - beats``, and ``beats`` places of the result
  FIFO are left: of ``lent_places(latency, beats, steps of a tile)``, with ``latency`` as below, each tile borrows
  ``beats`` with its last step, to be seen a cycle later, and each output beat handed over gives one back, seen a cycle
  later too. All other steps wait for nothing.
* With its last step in ``s`` a tile's sums are there in ``f = s + window_latency(products of a neuron in a step)``, in
  a pool ``s + POOL_LATENCY``. Its ``i``-th beat enters the result FIFO in ``f + i + FETCH + unit_latency_alone`` (of the
  activation), which is ``latency`` cycles after ``s`` for the first, and ``output.valid`` shows it ``FIFO`` later, or
  when all beats before it have left.

A beat is written at the end of the cycle after the one in which it was accepted, and read, at the earliest, at the end
of the second cycle after the first step that may see it: after the write. What a last step reads in ``s + ADDRESS`` is
overwritten at the earliest by a beat accepted in ``s + RELEASE``, so at the end of ``s + RELEASE + 1``, a cycle later.
So no address is written in the cycle in which it is read, whatever the memory would make of that.
"""
