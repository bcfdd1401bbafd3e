"""When things happen, cycle for cycle: the schedule of every node for a frame whose output is never made to wait.

The gateware in `accel.rtl` has these very pipeline depths, and its tests hold it to the numbers computed here, so
folding can rely on them without building anything. A time is the number of the clock cycle in which a beat is handed
over (valid and ready); the first beat of a frame that arrives without gaps has time 0.
"""

from __future__ import annotations

import numpy as np

from accel.dataflow.pipeline import (
    Activation,
    AddNode,
    ArgMaxNode,
    ArrayNode,
    Node,
    Pipeline,
    PoolNode,
    Stream,
    TableNode,
)
from accel.graph import Add, Table, Threshold

TREE_RADIX = 4
"""How many values an adder tree adds up between two registers: two levels of adders."""
PARALLEL_LEVELS = 16
"""A threshold unit of so many levels at most compares with all thresholds at once; others search, a bit a cycle."""
MULTIPLY = 3
"""Cycles from a step's issue to its products: weights read, operands registered, products registered."""
ACCUMULATE = 1
ADDRESS = 2
"""From a windowed node's step to the address of its pixel: base and offset added, then wrapped. The step of an array
has its address at once; from the address on (`MULTIPLY`, `ACCUMULATE`) both are alike."""
POOL_READ = 2
"""From the address of a pixel to its registered operand in a pool, which multiplies nothing."""
WRITTEN = 1
"""From the cycle in which a beat is accepted to the first one in which a step that needs it may be issued."""
RELEASE = 2
"""From an output pixel's last step to the first cycle in which `input.ready` sees the room of what it let go."""
ROW_POOL = 2
"""From a beat of a pool whose windows do not overlap to the result in registers: held, then added or compared."""
FETCH = 1
"""From the choice of a group of accumulators to its values in registers."""
FIFO = 1
"""Through the FIFO behind a node (`accel.rtl.streams.LendingFIFO`). A node with ``n`` cycles before it takes at most
``n + 2`` beats that it has not given, and may take one more in the second cycle after it gave one."""
LINK = 1
"""Through the FIFO of a link: from the cycle in which a beat is written to the first in which it can be taken."""
LINK_BLOCK = 2
"""The same where the FIFO lies in block RAM. Any FIFO takes a beat while it held fewer than ``depth`` at the end of the
cycle before, so one of depth 1 takes a beat every other cycle at best."""
BLOCK_BITS = 9216
"""FIFOs and rows of pixels of so many bits and more than 64 words lie in block RAM: half a RAMB36 is the same share of
an Artix-7 as the 240 LUTs that such a memory takes."""
UPSAMPLE = 1 + FETCH + FIFO
"""From an input beat to the first output beat made of it: written to the row, read, through the FIFO."""
SETTLED = 4
"""Frames after which one follows another through an array as all later ones do."""
TOPK = 3
"""From the last input beat to the first output beat: registered, sorted in, copied."""


def in_block_ram(depth: int, width: int) -> bool:
    """Whether a FIFO or a row of ``depth`` words of ``width`` bits lies in block RAM, not in LUTs."""
    return depth > 64 and depth * width >= BLOCK_BITS


def link_latency(stream: Stream, depth: int) -> int:
    """Cycles from handing a beat to a link until its consumer can take it."""
    if depth == 0:
        return 0
    return LINK_BLOCK if in_block_ram(depth, stream.lanes * stream.type.width) else LINK


def signed_digits(factor: int) -> list[tuple[int, int]]:
    """Signs and shifts, as few as there can be, whose sum ``sign << shift`` is ``factor`` (the non-adjacent form)."""
    digits, shift = [], 0
    while factor:
        if factor & 1:
            sign = 2 - (factor & 3)
            digits.append((sign, shift))
            factor -= sign
        factor, shift = factor >> 1, shift + 1
    return digits


def add_stages(add: Add) -> int:
    """Registers up to the weighted sum: its factors are shifts and additions, so all of it is one adder tree."""
    return tree_stages(sum(len(signed_digits(m)) for m in add.multipliers))


def add_latency(node: AddNode) -> int:
    """Cycles from the two input beats, taken together, to the output beat."""
    return add_stages(node.add) + (0 if node.activation is None else unit_latency_alone(node.activation)) + FIFO


def tree_stages(inputs: int) -> int:
    """Registers in the adder tree over ``inputs`` values (at least one)."""
    stages, reach = 1, TREE_RADIX
    while reach < inputs:
        stages, reach = stages + 1, reach * TREE_RADIX
    return stages


def window_latency(inputs: int) -> int:
    """Cycles from the last step of a tile to its sums in registers: `inputs` are the products of a neuron in a step."""
    return ADDRESS + MULTIPLY + tree_stages(inputs) + ACCUMULATE


def pool_latency(node: PoolNode) -> int:
    """Cycles from a window's last step (from its last beat, where windows do not overlap) to the result FIFO.

    Without an activation nothing stands between the results and the FIFO.
    """
    results = ADDRESS + POOL_READ + ACCUMULATE if node.overlaps else ROW_POOL
    return results + (0 if node.activation is None else unit_latency_alone(node.activation))


def lent_places(latency: int, beats: int, interval: int) -> int:
    """Places of a result FIFO that never hold up tiles of ``beats`` beats, begun at least ``interval`` cycles apart.

    A tile borrows all its places when its last step is issued; ``latency`` cycles later its first beat enters the FIFO,
    a cycle after that it may leave, and another one later its place is lent anew.
    """
    back, interval = latency + FIFO + 1, max(beats, interval)
    out = (beats - min(max(n * interval - back + 1, 0), beats) for n in range(1, (back + beats) // interval + 2))
    return beats + sum(out)


def search_bits(function: Threshold) -> int:
    """Bits of the level number, which is how many comparisons a binary search makes."""
    return max((function.out.levels - 1).bit_length(), 1)


def unit(activation: Activation | None) -> str:
    """The kind of unit that computes an activation; layers of one array share one of each kind."""
    if isinstance(activation, Threshold):
        return "parallel" if activation.out.levels <= PARALLEL_LEVELS else "search"
    return "plain" if activation is None else "requantize"


def unit_latency(node: ArrayNode, activation: Activation | None) -> int:
    """Cycles from accumulators in registers to results in registers."""
    kind = unit(activation)
    return max(unit_latency_alone(layer.activation) for layer in node.layers if unit(layer.activation) == kind)


def unit_latency_alone(activation: Activation | None) -> int:
    """The same for a unit that serves this activation only."""
    if isinstance(activation, Threshold) and unit(activation) == "search":
        return search_bits(activation)
    # comparisons, their number | operands, product, sum, clip | the constant part is added
    return {"parallel": 2, "requantize": 4, "plain": 1}[unit(activation)]


def serial(ready: np.ndarray, cost: int | np.ndarray = 1, start: int = 0) -> np.ndarray:
    """Start times of jobs done in turn: job ``i`` takes ``cost[i]`` cycles and can start from ``ready[i]`` on."""
    costs = np.broadcast_to(np.asarray(cost, dtype=np.int64), ready.shape)
    before = np.cumsum(costs) - costs
    return np.maximum(np.maximum.accumulate(ready - before), start) + before


def array_frame(
    node: ArrayNode, arrivals: np.ndarray, *, free: int = 0, drained: int = -1
) -> tuple[np.ndarray, int, int, int]:
    """One frame through an array whose input beats come at ``arrivals``.

    ``free`` is the first cycle in which a step may be issued, ``drained`` the one in which the frame before left the
    accumulators. Returns the times of the results of the last layer in registers, the first cycle in which the next
    frame's input may come, and ``free`` and ``drained`` after this frame.
    """
    visible, width, follows = np.asarray(arrivals, dtype=np.int64) + 1, node.source.lanes, 0
    for layer in node.layers:
        follows = int(visible[-1])
        tiles, rows = node.tiles(layer)
        needed = np.minimum((np.arange(tiles) + 1) * node.simd, layer.inputs)
        ready = visible[(needed - 1) // width]
        ready[-1] = max(ready[-1], drained + 1)  # the last steps of a layer overwrite what was not drained
        issue = serial(ready, rows, free)
        free = int(issue[-1]) + rows
        final = issue[-1] + np.arange(rows) + MULTIPLY + tree_stages(node.simd) + ACCUMULATE
        groups = -(-layer.outputs // node.drain)
        leaving = serial(final[np.arange(groups) * node.drain // node.pe])
        drained = int(leaving[-1])
        visible = leaving + FETCH + unit_latency(node, layer.activation)
        width = node.drain
    return visible, follows, free, drained


def array_beats(node: ArrayNode, arrivals: np.ndarray) -> np.ndarray:
    """Times of the output beats of one frame on an idle array, for input beats at ``arrivals``."""
    results, *_ = array_frame(node, arrivals)
    return repack_beats(results + FIFO, node.drain, node.sink)


def array_interval(node: ArrayNode) -> int:
    """Cycles between frames on an array that never waits for input or for room behind it.

    The next frame's input may come when the last layer has all of its own, and at most one frame waits for its steps.
    """
    beats = np.arange(node.source.beats)
    begins, free, before, drained = 0, 0, 0, -1
    ends: list[int] = []
    for _ in range(SETTLED):
        results, follows, freed, drained = array_frame(node, max(begins, before) + beats, free=free, drained=drained)
        begins, before, free = follows, free, freed
        ends.append(int(results[-1]))
    return max(ends[-1] - ends[-2], node.sink.beats)


def repack_beats(ready: np.ndarray, width: int, sink: Stream) -> np.ndarray:
    """Times of the beats of ``sink`` when words of ``width`` elements can be taken at ``ready``.

    Nothing is delayed: a beat is there in the cycle in which its last element is. A word that ends several beats is
    followed by the next one when they have been given.
    """
    words = -(-sink.elements // width)
    ended = np.minimum((np.arange(words) + 1) * width, sink.elements) // sink.lanes
    ended[-1] = sink.beats
    gives = np.diff(ended, prepend=0)
    start = serial(ready[:words], np.maximum(gives, 1))
    return np.repeat(start, gives) + np.arange(sink.beats) - np.repeat(ended - gives, gives)


def table_beats(node: TableNode, arrivals: np.ndarray) -> np.ndarray:
    """Times of the output beats of a table or threshold."""
    latency = 0 if isinstance(node.function, Table) else unit_latency_alone(node.function)
    return np.asarray(arrivals, dtype=np.int64) + FETCH + latency + FIFO


def argmax_beats(node: ArgMaxNode, arrivals: np.ndarray) -> np.ndarray:
    """Time of the one output beat."""
    levels = (node.source.lanes - 1).bit_length()
    return np.asarray([arrivals[-1] + FETCH + levels + 1 + FIFO], dtype=np.int64)


def beats(node: Node, arrivals: np.ndarray) -> np.ndarray:
    """Times of the output beats of a node of a chain; `accel.dataflow.tokens` knows all others too."""
    if isinstance(node, ArrayNode):
        return array_beats(node, arrivals)
    if isinstance(node, TableNode):
        return table_beats(node, arrivals)
    assert isinstance(node, ArgMaxNode), f"{node.name}: no node of a chain"
    return argmax_beats(node, arrivals)


def array_cycles(node: ArrayNode) -> int:
    """Cycles from the first input beat to the last output beat, both included, when input comes at a beat a cycle."""
    return int(array_beats(node, np.arange(node.source.beats))[-1]) + 1


def pipeline_cycles(pipeline: Pipeline) -> int:
    """The same for a whole pipeline."""
    times = np.arange(pipeline.source.beats)
    for node in pipeline.nodes:
        times = beats(node, times)
    return int(times[-1]) + 1
