"""dscnn-w4a4: a small network of depthwise-separable convolutions, as in MobileNet, with 4 bits, for CIFAR-10.

A convolution of 3 x 3, five pairs of a depthwise one of 3 x 3 and one of 1 x 1, the mean over the image and a dense
layer.
"""

from __future__ import annotations

from torch import nn

from models.train import images
from models.train.layers import Conv, Dense, Levels

NAME = "dscnn-w4a4"
FIRST = 16
PAIRS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1))  # channels, stride
BITS = 4
SCALE = 0.25


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution with its normalization and activation."""
    return nn.Sequential(
        Conv(inputs, outputs, kernel, bits=BITS, stride=stride, padding=kernel // 2, groups=groups),
        nn.BatchNorm2d(outputs),
        Levels(BITS, scale=SCALE),
    )


def network() -> nn.Sequential:
    """The untrained network, from real pixels (n, 3, 32, 32) to logits (n, 10)."""
    modules: list[nn.Module] = [Levels(8, scale=2.0**-8), conv(3, FIRST, 3)]
    inputs = FIRST
    for channels, stride in PAIRS:
        modules += [conv(inputs, inputs, 3, stride=stride, groups=inputs), conv(inputs, channels, 1)]
        inputs = channels
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dense(inputs, 10, bits=BITS))


RECIPE = images.Recipe(epochs=1, batch=64, learning_rate=5e-3)

if __name__ == "__main__":
    images.main(NAME, network, RECIPE, softmax=True)
