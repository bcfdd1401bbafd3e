"""FIFO depths: the smallest with which a pipeline is as fast as with FIFOs that never fill.

What a FIFO ever holds when all are unbounded is enough for it. From there on, links give up their FIFOs, many at a time
where that costs nothing, else one by one down to the depth below which the pipeline would be slower; each try is a run
of `accel.dataflow.tokens`. A branch that skips what another one computes ends up with what it has to hold meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accel.dataflow.pipeline import Link, Pipeline
from accel.dataflow.tokens import FRAMES, UNBOUNDED, DeadlockError, Machine, Measured, TooSlowError
from accel.graph import GraphError

RATE = 0.995  # of the pipeline with unbounded FIFOs, in latency and in interval
MOST_RUNS = 400  # of one sizing; what is not settled by then keeps a depth that is more than enough


@dataclass(frozen=True)
class Sized:
    """A pipeline with FIFOs, what it was measured to do, and what it would do if they were unbounded."""

    pipeline: Pipeline
    measured: Measured
    unbounded: Measured


def size(pipeline: Pipeline, *, pins: Mapping[Link, int] | None = None, rate: int | None = None) -> Sized:
    """The pipeline with the smallest FIFOs that keep `RATE`; ``pins`` are depths that stay.

    ``rate``: cycles between frames that are never exceeded for smaller FIFOs.
    Raises DeadlockError when it stops because of the pinned depths (or of its nodes).
    """
    return Sizing(pipeline, pins or {}, rate).run()


class Sizing:
    """One sizing: depths so far, and the runs that it took."""

    def __init__(self, pipeline: Pipeline, pins: Mapping[Link, int], rate: int | None = None) -> None:
        unknown = [link for link in pins if link not in pipeline.links]
        if unknown:
            raise GraphError(f"FIFO depths: there is no link from {unknown[0].producer} to {unknown[0].consumer}")
        self.pipeline, self.machine = pipeline, Machine(pipeline)
        self.pinned = {i: pins[link] for i, link in enumerate(pipeline.links) if link in pins}
        self.rate = rate
        self.runs = 0

    def run(self) -> Sized:
        """Size all links that are not pinned."""
        count = len(self.pipeline.links)
        self.depths = [self.pinned.get(i, UNBOUNDED) for i in range(count)]
        unbounded = self.machine.run(self.depths)
        self.latency, self.interval = int(unbounded.latency / RATE), int(unbounded.interval / RATE)
        if self.rate is not None:
            self.interval = min(self.interval, max(self.rate, unbounded.interval))
        # one more than it ever held: a full FIFO takes nothing in the cycle in which it gives
        self.depths = [self.pinned.get(i, held + 1) for i, held in enumerate(unbounded.held)]
        self.shrink([i for i in range(count) if i not in self.pinned])
        # what one link gave up may have made entries of another one useless
        again = True
        while again:
            links = [i for i in range(count) if self.depths[i] and i not in self.pinned]
            again = any([self.good({i: self.depths[i] - 1}) for i in links])
        sized = self.pipeline.with_depths(dict(zip(self.pipeline.links, self.depths, strict=True)))
        return Sized(sized, self.machine.run(self.depths), unbounded)

    def good(self, changes: Mapping[int, int]) -> bool:
        """Whether the pipeline keeps its rate with other depths of some links; if so, they are kept."""
        if self.runs >= MOST_RUNS:
            return False
        self.runs += 1
        depths = [changes.get(i, depth) for i, depth in enumerate(self.depths)]
        try:
            found = self.machine.run(depths, limit=self.latency + (FRAMES - 1) * self.interval)
        except (DeadlockError, TooSlowError):
            return False
        if found.latency > self.latency or found.interval > self.interval:
            return False
        self.depths = depths
        return True

    def shrink(self, links: Sequence[int]) -> None:
        """Make the FIFOs of these links as small as can be, all at once or, if need be, each by itself."""
        links = [i for i in links if self.depths[i]]
        if not links or self.good(dict.fromkeys(links, 0)):
            return
        if len(links) > 1:
            self.shrink(links[len(links) // 2 :])
            self.shrink(links[: len(links) // 2])
            return
        (link,) = links
        enough, too_few = self.depths[link], 0
        step = 1
        while too_few + step < enough:  # few entries are often enough
            if self.good({link: too_few + step}):
                enough = too_few + step
                break
            too_few, step = too_few + step, 2 * step
        while enough - too_few > 1:
            middle = (enough + too_few) // 2
            if self.good({link: middle}):
                enough = middle
            else:
                too_few = middle
