"""What an accelerator may take of a device, and what one costs: the same four resources."""

from __future__ import annotations

from dataclasses import dataclass, replace

RESOURCES = ("lut", "ff", "bram36", "dsp")


@dataclass(frozen=True)
class Budget:
    """LUTs, flip-flops, 36-Kbit block RAMs (halves count) and DSP slices; ``name`` is the board's or the user's.

    ``array_lut``: so many of the LUTs are for arrays that dense layers share, in which everything is connected with
    everything; None is all. ``multiplier``: what its DSP slices are, one of `multipliers.BLOCKS`.
    """

    lut: int
    ff: int
    bram36: float
    dsp: int
    name: str = "budget"
    array_lut: int | None = None
    multiplier: str = "dsp"

    def __post_init__(self) -> None:
        for resource in RESOURCES:
            if getattr(self, resource) < 0:
                raise ValueError(f"budget {self.name}: {resource} must not be negative, not {getattr(self, resource)}")

    @property
    def multipliers(self) -> tuple[str, str]:
        """The two ways to multiply: in a DSP slice, and in LUTs."""
        return self.multiplier, "lut"

    @property
    def for_arrays(self) -> Budget:
        """What a chain of dense layers may take."""
        return self if self.array_lut is None else replace(self, lut=min(self.lut, self.array_lut), array_lut=None)

    def less(self, cost: Cost) -> Budget:
        """What is left of it, nothing at least."""
        return replace(self, **{r: max(getattr(self, r) - getattr(cost, r), 0) for r in RESOURCES})


@dataclass(frozen=True)
class Cost:
    """What one hardware node (or a whole pipeline) takes before synthesis. ``cycles`` is latency at batch 1."""

    cycles: int = 0
    lut: int = 0
    ff: int = 0
    bram36: float = 0.0
    dsp: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cycles + other.cycles,
            self.lut + other.lut,
            self.ff + other.ff,
            self.bram36 + other.bram36,
            self.dsp + other.dsp,
        )

    def fits(self, budget: Budget) -> bool:
        return (
            self.lut <= budget.lut and self.ff <= budget.ff and self.bram36 <= budget.bram36 and self.dsp <= budget.dsp
        )
