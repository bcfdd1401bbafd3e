"""Training on CIFAR-10, for every network of `models.train.layers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import cifar10
from models.train import export, loop
from models.train.loop import Machine

HELD_OUT = 2000
CHUNK = 250  # images that are computed at once where nothing is learned


@dataclass(frozen=True)
class Recipe(loop.Recipe):
    """Images are mirrored half of the time and moved by up to ``shift`` pixels; the border that appears is black.

    ``frozen`` are stages that follow: (modules at the network's begin that stay as they are from now on, epochs of the
    others). What the former put out is computed once, for one view of each image, so that these epochs are cheap.
    """

    shift: int = 2
    frozen: tuple[tuple[int, int], ...] = ()


def distort(images: Tensor, shift: int) -> Tensor:
    """Each image of (n, 32, 32, 3), mirrored or not, moved by its own distance."""
    count, height, width = images.shape[:3]
    padded = functional.pad(images, (0, 0, shift, shift, shift, shift))
    down, across = torch.randint(0, 2 * shift + 1, (2, count, 1))
    rows = torch.arange(height) + down
    columns = torch.arange(width).expand(count, -1)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, width - 1 - columns) + across
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def real(images: Tensor, device: str) -> Tensor:
    """Pixels uint8 of (n, 32, 32, 3) as what the network reads: (n, 3, 32, 32), u8 / 256, channels innermost."""
    return images.to(device).permute(0, 3, 1, 2).float() / 256


def accuracy(model: nn.Module, inputs: Iterable[Tensor], labels: Tensor) -> float:
    """The fraction of inputs, which come in batches, whose largest score is the right one."""
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(batch).argmax(1).cpu() for batch in inputs])
    return (found == labels).float().mean().item()


def train(
    name: str,
    network: Callable[[], nn.Sequential],
    folder: Path,
    recipe: Recipe,
    *,
    machine: Machine | None = None,
    softmax: bool = False,
    restart: bool = False,
) -> Path:
    """Train ``network()`` and export it, with a softmax behind it if asked. Returns the path of the ONNX file."""
    machine = machine or Machine()
    machine.prepare(recipe)
    images, labels = (torch.tensor(array) for array in cifar10.load("train"))
    labels = labels.long()
    count = len(images) - HELD_OUT
    model = network().to(machine.device)

    def loss(batch: Tensor) -> Tensor:
        pixels = real(distort(images[batch], recipe.shift), machine.device)
        return functional.cross_entropy(model(pixels), labels[batch].to(machine.device))

    def score() -> float:
        return accuracy(model, (real(some, machine.device) for some in images[count:].split(CHUNK)), labels[count:])

    loop.fit(model, folder, recipe, count=count, loss=loss, score=score, restart=restart)
    for first, epochs in recipe.frozen:
        stage = replace(recipe, epochs=epochs, cycle=None, frozen=())
        data: dict[str, Tensor] = {"images": images, "labels": labels}
        fit_upper(model, first, folder / f"from-{first}", stage, **data, machine=machine, restart=restart)
    whole = nn.Sequential(*model, nn.Softmax(dim=1)) if softmax else model
    return export.write(whole, folder / f"{name}.onnx", shape=(3, 32, 32), outputs=cifar10.CLASSES)


def fit_upper(
    model: nn.Sequential,
    first: int,
    folder: Path,
    recipe: Recipe,
    *,
    images: Tensor,
    labels: Tensor,
    machine: Machine,
    restart: bool,
) -> None:
    """Train the modules from ``first`` on; what those before it put out must be small integers."""
    lower, upper = model[:first].eval(), model[first:]
    count = len(images) - HELD_OUT

    def seen(some: Tensor) -> Tensor:
        with torch.no_grad():
            return lower(real(some, machine.device)).permute(0, 2, 3, 1).to("cpu", torch.int8)

    def floats(some: Tensor) -> Tensor:
        return some.to(machine.device).permute(0, 3, 1, 2).float()

    features = torch.cat([seen(distort(some, recipe.shift)) for some in images[:count].split(CHUNK)])
    held_out = torch.cat([seen(some) for some in images[count:].split(CHUNK)])

    def loss(batch: Tensor) -> Tensor:
        return functional.cross_entropy(upper(floats(features[batch])), labels[batch].to(machine.device))

    def score() -> float:
        return accuracy(upper, (floats(some) for some in held_out.split(CHUNK)), labels[count:])

    print(f"the first {first} modules stay as they are from here on", flush=True)
    loop.fit(upper, folder, recipe, count=count, loss=loss, score=score, restart=restart)


def main(name: str, network: Callable[[], nn.Sequential], recipe: Recipe, *, softmax: bool = False) -> None:
    """The command of one network. Epochs of the user's own make a model of their own: on the best machine there is."""
    given = loop.arguments(name, recipe)
    machine = Machine.best() if given.epochs else Machine()
    recipe = replace(recipe, epochs=given.epochs, cycle=None, frozen=()) if given.epochs else recipe
    train(name, network, given.folder, recipe, machine=machine, softmax=softmax, restart=given.restart)
