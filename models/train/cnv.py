"""cnv-w1a1: the network CNV of FINN for CIFAR-10. Weights and activations are -1 and 1; pixels go in with 8 bits.

Six convolutions of 3 x 3 without padding (64, 64, 128, 128, 256, 256 channels), a maximum over 2 x 2 pixels after the
second and the fourth, and dense layers of 512, 512 and 10. The last gives scores: integers times one scale.
"""

from __future__ import annotations

from torch import nn

from models.train import images
from models.train.layers import Bipolar, Conv, Dense, Levels, PooledBipolar, RisingNorm

NAME = "cnv-w1a1"
CHANNELS = (64, 64, 128, 128, 256, 256)
POOLED = (1, 3)  # the convolutions that a maximum follows
NEURONS = (512, 512)


def network() -> nn.Sequential:
    """The untrained network, from real pixels (n, 3, 32, 32) to scores (n, 10)."""
    modules: list[nn.Module] = [Levels(8, scale=2.0**-8)]
    inputs = 3
    for place, channels in enumerate(CHANNELS):
        modules.append(Conv(inputs, channels, 3, bits=1))
        modules += [PooledBipolar(channels)] if place in POOLED else [RisingNorm(channels), Bipolar()]
        inputs = channels
    modules.append(nn.Flatten())
    for neurons in NEURONS:
        modules += [Dense(inputs, neurons, bits=1, scale=1.0), nn.BatchNorm1d(neurons), Bipolar()]
        inputs = neurons
    modules.append(Dense(inputs, 10, bits=1, scale=2.0**-5))
    return nn.Sequential(*modules)


#: For an hour of one core that others use too: an epoch of all layers (the first of a cycle of five), then two from the
#: third convolution on, at half the cost. With ``--epochs`` all are trained all the time: better, and slower.
RECIPE = images.Recipe(epochs=1, cycle=5, batch=64, learning_rate=3e-3, frozen=((6, 2),))

if __name__ == "__main__":
    images.main(NAME, network, RECIPE)
