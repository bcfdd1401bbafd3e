"""mnist-w2a2: an MLP 784-64-64-10 for MNIST, weights -1, 0, 1 and activations of two bits, trained with Brevitas.

Pixels go in as they are (u8 / 256, so that the input quantizer is exact). Each hidden layer is a linear one without
bias, a batch normalization and a two-bit ReLU: on integers, a matrix product and three thresholds a neuron. Weights
have a learned scale per neuron, which the thresholds absorb; the last layer has one, so that its integers compare.

The images are shifted, turned, scaled and slanted a little at random in every epoch. The last 5,000 training images are
held out, and the learning rate was chosen by them; the test set is not looked at here. (Early trials that settled the
size of the network and the strength of the distortions were scored on the test set.)
"""

from __future__ import annotations

import logging
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import brevitas.nn as qnn
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.inject.enum import ScalingImplType, StatsOp
from brevitas.quant import (
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Uint8ActPerTensorFloat,
    Uint8ActPerTensorFloatMaxInit,
)
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import mnist
from models.train import loop

NAME = "mnist-w2a2"
HIDDEN = (64, 64)
HELD_OUT = 5000


@dataclass(frozen=True)
class Recipe(loop.Recipe):
    """How far images are distorted, at most."""

    epochs: int = 60
    batch: int = 256
    learning_rate: float = 8e-3
    degrees: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 1.2  # pixels


class TernaryPerNeuron(Int8WeightPerChannelFloat):  # type: ignore[misc]
    """Weights -1, 0, 1 times a learned scale per neuron, which starts at the mean magnitude of its weights."""

    bit_width = 2
    narrow_range = True
    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS
    scaling_stats_op = StatsOp.AVE


class Ternary(Int8WeightPerTensorFloat):  # type: ignore[misc]
    """The same with one scale for the layer."""

    bit_width = 2
    narrow_range = True
    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS
    scaling_stats_op = StatsOp.AVE


class Pixels(Uint8ActPerTensorFloat):  # type: ignore[misc]
    """u8 / 256, exactly what comes in: the quantizer tells the compiler the type of the input."""

    bit_width = 8
    scaling_impl_type = ScalingImplType.CONST
    min_val = 0.0
    max_val = 255 / 256


class Levels(Uint8ActPerTensorFloatMaxInit):  # type: ignore[misc]
    """Two bits with a learned scale. It starts at 1, one standard deviation of what the normalization puts out.

    The usual start, from statistics of the first batches, keeps a count of them that no checkpoint holds.
    """

    bit_width = 2
    max_val = 3.0


def network() -> nn.Sequential:
    """The untrained network, from real pixels (n, 784) to logits (n, 10)."""
    layers: list[nn.Module] = [qnn.QuantIdentity(act_quant=Pixels)]
    inputs = 784
    for neurons in HIDDEN:
        layers.append(qnn.QuantLinear(inputs, neurons, bias=False, weight_quant=TernaryPerNeuron))
        layers.append(nn.BatchNorm1d(neurons))
        layers.append(qnn.QuantReLU(act_quant=Levels))
        inputs = neurons
    layers.append(qnn.QuantLinear(inputs, mnist.CLASSES, bias=False, weight_quant=Ternary))
    return nn.Sequential(*layers)


def distort(images: Tensor, recipe: Recipe) -> Tensor:
    """Each image of (n, 1, 28, 28) under its own small random affine map."""

    def spread(width: float) -> Tensor:
        return (torch.rand(len(images)) * 2 - 1) * width

    angle, zoom, slant = spread(math.radians(recipe.degrees)), 1 + spread(recipe.scale), spread(recipe.shear)
    across, down = spread(recipe.shift * 2 / 28), spread(recipe.shift * 2 / 28)
    top = torch.stack([angle.cos() * zoom, -angle.sin() * zoom + slant, across], 1)
    bottom = torch.stack([angle.sin() * zoom, angle.cos() * zoom, down], 1)
    grid = functional.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(folder: Path, recipe: Recipe, *, restart: bool = False) -> Path:
    """Train, with a checkpoint after each epoch in ``folder``, and export. Returns the path of the QONNX file."""
    loop.Machine().prepare(recipe)
    pixels, labels = (torch.tensor(array) for array in mnist.load("train"))
    images = pixels.reshape(-1, 1, 28, 28).float() / 256
    count = len(images) - HELD_OUT
    model = network()

    def loss(batch: Tensor) -> Tensor:
        return functional.cross_entropy(model(distort(images[batch], recipe).flatten(1)), labels[batch].long())

    def score() -> float:
        return accuracy(model, images[count:], labels[count:])

    loop.fit(model, folder, recipe, count=count, loss=loss, score=score, restart=restart)
    return export(model, folder / f"{NAME}.onnx")


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The fraction of images whose largest logit is the right one."""
    model.eval()
    with torch.no_grad():
        return (model(images.flatten(1)).argmax(1) == labels).float().mean().item()


def export(model: nn.Sequential, path: Path) -> Path:
    """Write the network, followed by a softmax, as QONNX.

    The weights are written as their quantized values: they quantize to themselves, and compress well. What the exporter
    notes of its run (stack traces with the paths of this machine) is left out.
    """
    model.eval()
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, qnn.QuantLinear):
                layer.weight.copy_(layer.quant_weight().value)
    whole = nn.Sequential(*model, nn.Softmax(dim=1)).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / path.name
        export_qonnx(whole, torch.zeros(1, 784), export_path=str(exported), verbose=False)
        proto = onnx.load(exported)
    proto.graph.name = NAME
    del proto.graph.input[1:]  # the initializers, which the exporter lists as inputs too
    for item in (
        proto,
        proto.graph,
        *proto.graph.node,
        *proto.graph.input,
        *proto.graph.output,
        *proto.graph.value_info,
    ):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    for tensor in proto.graph.initializer:
        tensor.ClearField("metadata_props")
    onnx.checker.check_model(proto)
    part = path.with_suffix(".part")
    part.write_bytes(proto.SerializeToString(deterministic=True))
    part.replace(path)
    return path


if __name__ == "__main__":
    given = loop.arguments(NAME, Recipe())
    train(given.folder, replace(Recipe(), epochs=given.epochs or Recipe.epochs), restart=given.restart)
