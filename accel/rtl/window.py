"""The line buffer: pixels come in as a stream, windows leave step by step.

The schedule of everything that slides (`ConvUnit`, `DepthwiseUnit`, a `PoolUnit` whose windows overlap), cycle for
cycle. Names in capitals are those of `accel.dataflow.timing`; beats, pixels and tiles are counted on and on, over all
frames; a pixel of ``channels`` is ``words = channels / lanes`` beats.

* ``input.ready`` in cycle ``c``: fewer than ``capacity * words`` beats more have been accepted before ``c`` than were
  let go by the last steps of output pixels in cycles up to ``c - RELEASE``. The last step of an output pixel lets go
  all pixels before the first one that a later window of its frame sees, and the frame's last one all of the frame
  (`accel.dataflow.windows.needs`); that may be pixels that have not come yet.
* An output pixel's first step may be issued in ``c`` when all beats of the pixels that it needs were accepted in
  cycles up to ``c - WRITTEN``. Its other steps follow, a cycle each, and then those of the next pixel.
* The last step of a tile (the neurons or channels whose sums are made at a time, ``beats = pe / drain`` beats of
  output) may be issued in ``c`` when that of the tile before was issued up to ``c - beats``, and ``beats`` places of
  the result FIFO are left: of ``lent_places(latency, beats, steps of a tile)``, with ``latency`` as below, each tile
  borrows ``beats`` with its last step, to be seen a cycle later, and each output beat handed over gives one back, seen
  a cycle later too. All other steps wait for nothing.
* With its last step in ``s`` a tile's sums are there in ``f = s + window_latency(products of a neuron in a step)``.
  Its ``i``-th beat enters the result FIFO in ``f + i + FETCH + unit_latency_alone`` (of the activation), which is
  ``latency`` cycles after ``s`` for the first, and ``output.valid`` shows it ``FIFO`` later, or when all beats before
  it have left. A tile of a pool has one beat, which enters the FIFO in ``s + pool_latency``.

A beat is written at the end of the cycle after the one in which it was accepted, and read, at the earliest, at the end
of the second cycle after the first step that may see it: after the write. What a last step reads in ``s + ADDRESS`` is
overwritten at the earliest by a beat accepted in ``s + RELEASE``, so at the end of ``s + RELEASE + 1``, a cycle later.
So no address is written in the cycle in which it is read, whatever the memory would make of that.
"""

from __future__ import annotations

from math import prod

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Image, Stream
from accel.dataflow.windows import least_capacity, needs
from accel.graph import GraphError, IntType, Window
from accel.rtl.lookup import choose, look_up
from accel.rtl.plan import Code
from accel.rtl.streams import flip_sign, signature


class LineBuffer(wiring.Component):
    """The last ``capacity`` pixels (0 is the least that will do), ``taps`` times over, and the steps of each window.

    For each output pixel, for each of ``tiles`` tiles, for each group of ``taps`` elements of the kernel, for each word
    of the tile's channels: a step. ``groups`` divides the tiles; those of a group see the same ``1 / groups`` of the
    channels. A step is issued (``issue``) as soon as the schedule above allows; ``blocked`` holds up those with
    ``last``. ``first`` and ``last`` are those of a tile, ``ending`` is high in all of the last tile, ``index`` counts
    the steps of an output pixel.

    ``x``, codes of type ``reads``, follows its step by ``ADDRESS + 1`` cycles, to be registered at once: elements of
    the kernel outside, the source's lanes inside. What lies outside the image is the code ``pad``, and so is what the
    last group of a kernel lacks, if there is such a thing.
    """

    def __init__(
        self,
        name: str,
        window: Window,
        image: Image,
        source: Stream,
        *,
        reads: IntType,
        pad: int,
        taps: int,
        tiles: int,
        groups: int,
        capacity: int,
        buffer: str,
    ) -> None:
        self.window, self.image, self.source, self.buffer = window, image, source, buffer
        self.reads, self.pad, self.taps, self.tiles, self.groups = reads, pad, taps, tiles, groups
        self.words = image.channels // source.lanes
        self.depth = pixels_of(name, window, image, capacity) * self.words
        self.parts = -(-window.taps // taps)
        self.steps = tiles * self.parts * (self.words // groups)
        super().__init__(
            {
                "input": In(signature(source)),
                "blocked": In(1),
                "issue": Out(1),
                "first": Out(1),
                "last": Out(1),
                "ending": Out(1),
                "index": Out(range(self.steps)),
                "x": Out(data.ArrayLayout(Code.of(reads).width, taps * source.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth, words = self.depth, self.words

        # Writing, a cycle after a beat was accepted.
        accepted, write, address = Signal(), Signal(), Signal(range(depth))
        element = self.input.payload.as_value()
        held = Signal.like(element, reset_less=True)
        m.d.sync += [write.eq(accepted), held.eq(element)]
        with m.If(write):
            m.d.sync += address.eq(
                address + 1 if depth & (depth - 1) == 0 else Mux(address == depth - 1, 0, address + 1)
            )

        # Where windows are. The current output pixel's entry of each table stands in a register, the next one's is
        # looked up while the current one lasts.
        row, column, tables = self.tables()
        finish = Signal()
        entry = {name: self.walk(m, name, table, (row, column), finish) for name, table in tables.items()}
        rows, columns = tables["need"].shape
        with m.If(finish):
            m.d.sync += column.eq(column + 1)
            with m.If(column == columns - 1):
                m.d.sync += [column.eq(0), row.eq(row + 1)]
                with m.If(row == rows - 1):
                    m.d.sync += row.eq(0)

        # Room, less the place of the beat that comes next; beats that are there beyond those that the pixel needs.
        frame = words * prod((self.image.height, self.image.width))
        needed, _ = needs(self.window, self.image.height, self.image.width)
        room = Signal(range(-1, depth + frame), init=depth - 1)
        ahead = Signal(range(-2 * frame, depth + 2 * frame), init=-int(needed[0]) * words)
        released = Signal(range(frame + 1))
        m.d.comb += [self.input.ready.eq(room >= 0), accepted.eq(self.input.valid & self.input.ready)]
        m.d.sync += [
            released.eq(Mux(finish, entry["release"], 0)),
            room.eq(room + released - accepted),
            ahead.eq(ahead - Mux(finish, entry["need"], 0) + accepted),
        ]

        # Steps.
        tile, part = Signal(range(self.tiles)), Signal(range(self.parts))
        word, index = Signal(range(words // self.groups)), Signal(range(self.steps))
        each = self.tiles // self.groups
        group_tile, start = Signal(range(each)), Signal(range(words))  # within the group; the group's first word
        word_last, part_last, tile_last = Signal(), Signal(), self.ending
        m.d.comb += [
            word_last.eq(word == words // self.groups - 1),
            part_last.eq(part == self.parts - 1),
            tile_last.eq(tile == self.tiles - 1),
            self.first.eq((word == 0) & (part == 0)),
            self.last.eq(word_last & part_last),
            self.issue.eq((ahead >= 0) & ~(self.last & self.blocked)),
            finish.eq(self.issue & self.last & tile_last),
            self.index.eq(index),
        ]
        with m.If(self.issue):
            m.d.sync += [word.eq(word + 1), index.eq(index + 1)]
            with m.If(word_last):
                m.d.sync += [word.eq(0), part.eq(part + 1)]
                with m.If(part_last):
                    m.d.sync += [part.eq(0), tile.eq(tile + 1), group_tile.eq(group_tile + 1)]
                    with m.If(group_tile == each - 1):
                        m.d.sync += [group_tile.eq(0), start.eq(start + words // self.groups)]
                    with m.If(tile_last):
                        m.d.sync += [tile.eq(0), group_tile.eq(0), start.eq(0), index.eq(0)]

        # Where the window begins, and from there on where its elements are.
        base = Signal(range(depth), init=self.origin() * words % depth)
        moved, wrapped = Signal(range(2 * depth)), Signal(range(-depth, depth))
        m.d.comb += [moved.eq(base + entry["move"]), wrapped.eq(base + entry["move_back"])]
        with m.If(finish):
            m.d.sync += base.eq(Mux(wrapped < 0, moved, wrapped))
        offset_in_pixel = Signal(range(words))
        m.d.sync += offset_in_pixel.eq(start + word)
        elements = [[part_ * self.taps + copy for part_ in range(self.parts)] for copy in range(self.taps)]
        for copy, places in enumerate(elements):
            inside = self.inside(m, f"inside{copy}", places, part, entry)
            offsets = [self.offset(place) * words % depth for place in places]
            sum_, sum_back = Signal(range(2 * depth), reset_less=True), Signal(range(-depth, depth), reset_less=True)
            read = Signal(range(depth), reset_less=True)
            if any(offsets):
                m.d.sync += [
                    sum_.eq(base + choose(m, f"offset{copy}", offsets, part)),
                    sum_back.eq(base + choose(m, f"offset_back{copy}", [offset - depth for offset in offsets], part)),
                ]
                m.d.sync += read.eq(Mux(sum_back < 0, sum_, sum_back) + offset_in_pixel)
            else:
                m.d.sync += [sum_.eq(base), read.eq(sum_ + offset_in_pixel)]

            memory = Memory(
                shape=len(element),
                depth=depth,
                init=[],
                attrs={"ram_style": "block" if self.buffer == "bram" else "distributed"},
            )
            m.submodules[f"pixels{copy}"] = memory
            port = memory.write_port()
            m.d.comb += [port.en.eq(write), port.addr.eq(address), port.data.eq(held)]
            if self.buffer == "bram":
                out = memory.read_port()
                m.d.comb += out.addr.eq(read)
                seen: Value = out.data
            else:
                out = memory.read_port(domain="comb")
                m.d.comb += out.addr.eq(read)
                seen = Signal.like(out.data, name=f"seen{copy}", reset_less=True)
                m.d.sync += seen.eq(out.data)
            for lane in range(self.source.lanes):
                code = self.code(seen.word_select(lane, self.source.type.width))
                m.d.comb += self.x[copy * self.source.lanes + lane].eq(
                    code if inside is None else Mux(inside, code, self.pad)
                )
        return m

    def tables(self) -> tuple[Signal, Signal, dict[str, np.ndarray]]:
        """The output pixel after the current one, and what is to be known of each, tables of shape (rows, columns).

        ``need`` and ``move`` are the beats by which the next pixel needs more and begins later (modulo the depth, and
        with ``move_back`` less the depth), ``release`` those that go with this one; ``in_row`` and ``in_column`` have a
        bit for each row and column of the kernel, high where it lies inside the image.
        """
        window, height, width, words = self.window, self.image.height, self.image.width, self.words
        (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
        top, left, _, _ = window.pads
        rows, columns = window.output(height, width)
        pixels = height * width
        needed, gone = needs(window, height, width)
        origins = (np.arange(rows) * sh - top)[:, None] * width + np.arange(columns) * sw - left
        origins = origins.ravel()
        move = np.diff(origins, append=origins[0] + pixels) * words % self.depth
        at_rows = np.arange(rows)[:, None] * sh + np.arange(kh) * dh - top
        at_columns = np.arange(columns)[:, None] * sw + np.arange(kw) * dw - left
        in_row = ((at_rows >= 0) & (at_rows < height)) @ (1 << np.arange(kh))
        in_column = ((at_columns >= 0) & (at_columns < width)) @ (1 << np.arange(kw))
        shape = rows, columns
        tables = {
            "need": (np.diff(needed, append=needed[0] + pixels) * words).reshape(shape),
            "release": (np.diff(gone, prepend=0) * words).reshape(shape),
            "move": move.reshape(shape),
            "move_back": (move - self.depth).reshape(shape),
            "in_row": np.broadcast_to(in_row[:, None], shape),
            "in_column": np.broadcast_to(in_column, shape),
        }
        first, second = divmod(1 % (rows * columns), columns)
        return Signal(range(rows), init=first), Signal(range(columns), init=second), tables

    def walk(self, m: Module, name: str, table: np.ndarray, at: tuple[Signal, Signal], finish: Value) -> Value:
        """The current output pixel's entry of a table, in a register if entries differ."""
        following = look_up(m, f"next_{name}", table, *at)
        if isinstance(following, Const):
            return following
        current = Signal.like(following, name=name, init=int(table[0, 0]))
        with m.If(finish):
            m.d.sync += current.eq(following)
        return current

    def origin(self) -> int:
        """The pixel at which the first window begins, which may lie before the image."""
        top, left, _, _ = self.window.pads
        return -top * self.image.width - left

    def offset(self, place: int) -> int:
        """Pixels from a window's first element to another; 0 where there is none."""
        if place >= self.window.taps:
            return 0
        row, column = divmod(place, self.window.kernel[1])
        return row * self.window.dilation[0] * self.image.width + column * self.window.dilation[1]

    def inside(self, m: Module, name: str, places: list[int], part: Signal, entry: dict[str, Value]) -> Value | None:
        """Whether this step's element is one of the kernel, inside the image: in time with what is read.

        None where it always is.
        """
        padded = any(self.window.pads)
        if not padded and places[-1] < self.window.taps:
            return None
        now = Signal(name=name)
        with m.Switch(part):
            for i, place in enumerate(places):
                with m.Case(i):
                    row, column = divmod(place, self.window.kernel[1])
                    if place >= self.window.taps:
                        m.d.comb += now.eq(0)
                    elif padded:
                        m.d.comb += now.eq(
                            entry["in_row"].bit_select(row, 1) & entry["in_column"].bit_select(column, 1)
                        )
                    else:
                        m.d.comb += now.eq(1)
        value: Value = now
        for stage in range(3):
            delayed = Signal(name=f"{name}_{stage}", reset_less=True)
            m.d.sync += delayed.eq(value)
            value = delayed
        return value

    def code(self, bits: Value) -> Value:
        """An element of the source as a code of what the window reads."""
        own, read = Code.of(self.source.type), Code.of(self.reads)
        code = flip_sign(bits, self.source.type)
        ratio, offset = own.step // read.step, (own.base - read.base) // read.step
        if ratio == 2:
            code = Cat(Const(0, 1), code)
        return code + offset if offset else code


def pixels_of(name: str, window: Window, image: Image, capacity: int) -> int:
    """The pixels of a line buffer of ``capacity``, which may be 0. Raises GraphError where it is too small."""
    least = least_capacity(window, image)
    if 0 < capacity < least:
        raise GraphError(f"{name}: its windows need a capacity of {least} pixels, not {capacity}")
    return capacity or least
