"""resnet8-w4a4: the ResNet-8 of MLPerf Tiny's image classification with weights and activations of 4 bits.

A convolution of 3 x 3, three stacks of two more with 16, 32 and 64 channels, the mean over the image and a dense layer.
The second and the third stack halve the image; a convolution of 1 x 1 halves their shortcut. Both branches of a sum
are on the same grid, so that it is a sum of integers.
"""

from __future__ import annotations

from torch import nn

from models.train import images
from models.train.layers import Conv, Dense, Levels, Residual

NAME = "resnet8-w4a4"
CHANNELS = (16, 32, 64)
BITS = 4
SCALE = 0.25


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, signed: bool = False) -> nn.Sequential:
    """A convolution with its normalization and activation; ``signed`` before a sum."""
    return nn.Sequential(
        Conv(inputs, outputs, kernel, bits=BITS, stride=stride, padding=kernel // 2),
        nn.BatchNorm2d(outputs),
        Levels(BITS, scale=SCALE, signed=signed),
    )


def stack(inputs: int, outputs: int) -> Residual:
    """A residual stack, which halves the image where the number of channels changes."""
    stride = 1 if inputs == outputs else 2
    main = nn.Sequential(conv(inputs, outputs, 3, stride=stride), conv(outputs, outputs, 3, signed=True))
    shortcut = nn.Identity() if stride == 1 else conv(inputs, outputs, 1, stride=stride, signed=True)
    return Residual(main, shortcut, Levels(BITS, scale=SCALE))


def network() -> nn.Sequential:
    """The untrained network, from real pixels (n, 3, 32, 32) to logits (n, 10)."""
    stacks = [stack(inputs, outputs) for inputs, outputs in zip((CHANNELS[0], *CHANNELS), CHANNELS, strict=False)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dense(CHANNELS[-1], 10, bits=BITS))
    return nn.Sequential(Levels(8, scale=2.0**-8), conv(3, CHANNELS[0], 3), *stacks, *head)


RECIPE = images.Recipe(epochs=2, batch=64, learning_rate=5e-3)

if __name__ == "__main__":
    images.main(NAME, network, RECIPE, softmax=True)
