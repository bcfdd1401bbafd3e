"""What every training has in common: seeds, epochs, checkpoints, and going on where it stopped."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """What decides the result, besides the versions of the libraries: see `models.train.environment` too.

    ``learning_rate`` is the largest of one cycle (a tenth of the steps up, the rest down to nothing) with Adam. The
    cycle has ``cycle`` epochs where it is cut off, else all ``epochs``.
    """

    epochs: int
    batch: int
    learning_rate: float
    seed: int = 1
    cycle: int | None = None


@dataclass(frozen=True)
class Machine:
    """Where to train: ``device`` as PyTorch names it. More threads, or a GPU, add in another order."""

    device: str = "cpu"
    threads: int = 1

    @classmethod
    def best(cls) -> Machine:
        """A GPU if there is one, and all cores."""
        return cls("cuda" if torch.cuda.is_available() else "cpu", len(os.sched_getaffinity(0)))

    def prepare(self, recipe: Recipe) -> None:
        """Settings under which the same machine gives the same result; a GPU does so as far as PyTorch can."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's products are in no fixed order
        torch.use_deterministic_algorithms(True, warn_only=self.device != "cpu")
        torch.set_num_threads(self.threads)
        torch.manual_seed(recipe.seed)


def fit(
    model: nn.Module,
    folder: Path,
    recipe: Recipe,
    *,
    count: int,
    loss: Callable[[Tensor], Tensor],
    score: Callable[[], float],
    restart: bool = False,
) -> None:
    """Train ``model`` on ``count`` samples, with a checkpoint after each epoch in ``folder``.

    ``loss`` is given the places of a batch's samples; ``score`` is the fraction of the samples held out that are right,
    told after each epoch. Samples that do not fill a batch sit an epoch out.
    """
    steps = count // recipe.batch
    if not steps:
        raise ValueError(f"{count} samples are not one batch of {recipe.batch}")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    state = None if restart else load(checkpoint, recipe)
    if state:
        model.load_state_dict(state["model"])  # before the optimizer: Brevitas replaces its quantizers' parameters
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=(recipe.cycle or recipe.epochs) * steps, pct_start=0.1
    )
    first = 0
    if state:
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        first = state["epoch"]
        print(f"going on after epoch {first}", flush=True)

    for epoch in range(first, recipe.epochs):
        start, total = time.monotonic(), 0.0
        model.train()
        for batch in torch.randperm(count)[: steps * recipe.batch].split(recipe.batch):
            value = loss(batch)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item()
        right = score()
        save(checkpoint, recipe, epoch + 1, model=model, optimizer=optimizer, schedule=schedule)
        print(
            f"epoch {epoch + 1} of {recipe.epochs}: loss {total / steps:.4f}, "
            f"{right:.2%} of the images held out, {time.monotonic() - start:.1f} s",
            flush=True,
        )


def save(path: Path, recipe: Recipe, epoch: int, **parts: Any) -> None:
    """Write a checkpoint of the parts' states after ``epoch`` epochs; a write that is broken off leaves the old one."""
    state = {name: part.state_dict() for name, part in parts.items()}
    part = path.with_suffix(".part")
    torch.save(state | {"recipe": asdict(recipe), "epoch": epoch, "random": torch.get_rng_state()}, part)
    part.replace(path)


def load(path: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The checkpoint, if there is one of the same recipe."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    if state["recipe"] != asdict(recipe):
        print(f"{path} is of another recipe and is not used", flush=True)
        return None
    return state


def arguments(name: str, recipe: Recipe) -> argparse.Namespace:
    """The command line of a training module: ``folder``, ``epochs`` (None: the recipe's), ``restart``."""
    parser = argparse.ArgumentParser(prog=f"headrace train {name}")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, help=f"instead of {recipe.epochs}")
    parser.add_argument("--restart", action="store_true")
    return parser.parse_args()
