"""Quantized layers in plain PyTorch: integer weights times a scale, and activations on a fixed grid.

A layer keeps real weights, which are trained, and computes with quantized ones; gradients pass the quantizers as if
these were not there, within their range (straight through). Scales of activations are constants: the normalization
before each has a scale of its own per channel, which is learned. `models.train.export` writes all of these as ONNX.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The step of a quantizer of 4 bits and more, in mean magnitudes of its weights: the least square error for weights of
#: a normal distribution at 15 levels is at a step of 0.335 standard deviations, which are 0.42 mean magnitudes.
STEP = 0.42


class Sign(torch.autograd.Function):
    """-1 or 1, and 1 for zero. Backward the derivative of a parabola on each side that meets them at -1 and 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return gradient * (2 - 2 * x.abs()).clamp_(min=0)


class Round(torch.autograd.Function):
    """Multiples of ``scale``, from ``lo`` to ``hi`` of them. PyTorch's own fake quantizer takes three times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, lo: int, hi: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = (lo * scale, hi * scale)
        return (x / scale).round_().clamp_(lo, hi).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *ctx.bounds), None, None, None


def straight(x: Tensor, value: Tensor) -> Tensor:
    """``value`` forward, the gradient of ``x`` backward."""
    return x + (value - x).detach()


class Weights(nn.Module):
    """Trained weights of ``bits``, first dimension the output channels: -1 and 1 for one bit, else symmetric integers.

    ``scale`` fixes the scale of the integers; without it there is one for each channel (``per_channel``) or one for the
    layer, from the magnitude of the weights.
    """

    def __init__(self, *shape: int, bits: int, scale: float | None = None, per_channel: bool = True) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.real, std=(2 / self.real[0].numel()) ** 0.5)
        self.bits, self.fixed, self.per_channel = bits, scale, per_channel

    def scale(self) -> Tensor:
        """Of shape (M, 1, …) or ()."""
        if self.fixed is not None:
            return torch.tensor(self.fixed, device=self.real.device)
        magnitude = self.real.detach().abs()
        mean = magnitude.flatten(1).mean(1).reshape(-1, *[1] * (magnitude.dim() - 1)) if self.per_channel else None
        step = STEP * 7 / (2 ** (self.bits - 1) - 1)
        return step * (magnitude.mean() if mean is None else mean)

    def integers(self) -> Tensor:
        """The integers, as floats."""
        if self.bits == 1:
            return torch.where(self.real >= 0, 1.0, -1.0)
        largest = 2 ** (self.bits - 1) - 1
        return (self.real / self.scale()).round().clamp(-largest, largest)

    def forward(self) -> Tensor:
        value = (self.integers() * self.scale()).detach()
        return straight(self.real, value)


class Conv(nn.Module):
    """A convolution without bias of square kernels; ``padding`` is of zeros."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, bits: int, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__()
        self.weights = Weights(outputs, inputs // groups, kernel, kernel, bits=bits, scale=1.0 if bits == 1 else None)
        self.stride, self.padding, self.groups = stride, padding, groups

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weights().to(memory_format=torch.channels_last)
        if weights.shape[2:] == x.shape[2:] and self.groups == 1 and not self.padding:
            return (x.flatten(1) @ weights.flatten(1).T)[:, :, None, None]  # one pixel: ten times as fast on a CPU
        return functional.conv2d(x, weights, stride=self.stride, padding=self.padding, groups=self.groups)


class Dense(nn.Module):
    """A linear layer without bias; one scale, so that the outputs' integers compare."""

    def __init__(self, inputs: int, outputs: int, *, bits: int, scale: float | None = None) -> None:
        super().__init__()
        self.weights = Weights(outputs, inputs, bits=bits, scale=scale, per_channel=False)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights().T


class Levels(nn.Module):
    """Rounds to multiples of ``scale``: integers of ``bits``, from 0 unless ``signed``. It is the ReLU, too."""

    def __init__(self, bits: int, *, scale: float, signed: bool = False) -> None:
        super().__init__()
        self.bits, self.scale, self.signed = bits, scale, signed
        self.lo = -(2 ** (bits - 1)) if signed else 0
        self.hi = self.lo + 2**bits - 1

    def forward(self, x: Tensor) -> Tensor:
        return Round.apply(x, self.scale, self.lo, self.hi)  # type: ignore[no-any-return,no-untyped-call]


class Bipolar(nn.Module):
    """-1 or 1."""

    def forward(self, x: Tensor) -> Tensor:
        return Sign.apply(x)  # type: ignore[no-any-return,no-untyped-call]


class RisingNorm(nn.BatchNorm2d):
    """A batch normalization whose scale stays 1. What follows is bipolar, so that only the shift counts; and as the
    function rises, it may be swapped with a maximum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight.requires_grad_(False)


class PooledBipolar(nn.Module):
    """Normalization, bipolar activation and maximum over 2 x 2 pixels.

    Training takes the maximum first, of a quarter of the elements then to be normalized; the file has it last, where it
    is of single bits. Both are the same function, as the normalization rises.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.act, self.pool = RisingNorm(channels), Bipolar(), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.pool(x)))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Two branches whose sum is activated."""

    def __init__(self, main: nn.Module, shortcut: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut, self.act = main, shortcut, act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.main(x) + self.shortcut(x))  # type: ignore[no-any-return]
