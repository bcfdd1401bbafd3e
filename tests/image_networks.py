"""Networks of images with random weights, in the shapes of those that Headrace has to compile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from accel.graph import (
    Add,
    Conv,
    Dense,
    Graph,
    IntType,
    MaxPool,
    Operator,
    Requantize,
    SumPool,
    Tensor,
    Threshold,
    Window,
)


@dataclass
class Writer:
    """Operators one after another; each method returns the name of the tensor that it makes."""

    source: Tensor
    level: IntType
    weight: IntType
    operators: list[Operator] = field(default_factory=list)
    seed: int = 1

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.tensors = {self.source.name: self.source}

    def add(self, op: Operator) -> str:
        self.operators.append(op)
        self.tensors[op.output] = op.infer(*(self.tensors[name] for name in op.inputs))
        return op.output

    def weights(self, *shape: int) -> np.ndarray:
        step = self.weight.step
        return self.weight.lo + step * self.rng.integers(0, self.weight.levels, shape)

    def activate(self, x: str, name: str) -> str:
        """Thresholds where levels are few, else a multiplication."""
        tensor, out = self.tensors[x], self.level
        channels = tensor.shape[-1]
        if out.levels <= 16:
            spread = max(int(math.sqrt(tensor.type.hi - tensor.type.lo)), 1)
            steps = np.sort(self.rng.integers(-spread, spread + 1, (channels, out.levels - 1)), axis=1)
            return self.add(Threshold(name, (x,), f"{name}.y", steps, np.zeros(channels, dtype=bool), out))
        multiplier = self.rng.integers(100, 256, channels)
        shift = max((tensor.type.hi - tensor.type.lo).bit_length(), 1)
        return self.add(Requantize(name, (x,), f"{name}.y", multiplier, np.full(channels, 1 << shift), shift, out))

    def conv(
        self,
        x: str,
        name: str,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        pads: tuple[int, int, int, int] | None = None,
        depthwise: bool = False,
        active: bool = True,
    ) -> str:
        channels = self.tensors[x].shape[-1]
        pads = pads if pads is not None else ((kernel - 1) // 2, (kernel - 1) // 2, kernel // 2, kernel // 2)
        window = Window((kernel, kernel), (stride, stride), pads=pads)
        weights = self.weights(outputs, kernel, kernel, 1 if depthwise else channels)
        groups = channels if depthwise else 1
        y = self.add(Conv(name, (x,), f"{name}.sums", weights, self.weight, window, groups))
        return self.activate(y, f"{name}.act") if active else y

    def dense(self, x: str, name: str, outputs: int, *, active: bool = True) -> str:
        weights = self.weights(outputs, self.tensors[x].size)
        y = self.add(Dense(name, (x,), f"{name}.sums", weights, self.weight))
        return self.activate(y, f"{name}.act") if active else y

    def graph(self, name: str, output: str) -> Graph:
        return Graph(name, self.source, output, tuple(self.operators))


def rn07() -> Graph:
    """The shape of the paper's RN07: 6.4 M products, 8 bits."""
    net = Writer(Tensor("x", (32, 32, 3), IntType(0, 255)), IntType(0, 255), IntType(-127, 127))
    x = net.conv("x", "conv0", 32, 1)
    x = net.conv(x, "conv1", 4, 4)
    x = net.conv(x, "conv2", 32, 4)
    x = net.conv(x, "conv3", 32, 4, stride=4, pads=(0, 0, 0, 0))
    x = net.conv(x, "conv4", 32, 4)
    return net.graph("rn07", net.dense(x, "dense", 10, active=False))


def cnv() -> Graph:
    """CNV-W1A1: 59 M binary products."""
    net = Writer(Tensor("x", (32, 32, 3), IntType(-128, 127)), IntType.bipolar(), IntType.bipolar())
    x, valid = "x", (0, 0, 0, 0)
    for i, channels in enumerate((64, 64, 128, 128, 256, 256)):
        x = net.conv(x, f"conv{i}", channels, 3, pads=valid)
        if i in (1, 3):
            x = net.add(MaxPool(f"pool{i}", (x,), f"pool{i}.y", Window((2, 2), (2, 2))))
    x = net.dense(x, "dense0", 512)
    x = net.dense(x, "dense1", 512)
    return net.graph("cnv", net.dense(x, "dense2", 10, active=False))


def resnet8(bits: int = 4) -> Graph:
    """ResNet-8 of MLPerf Tiny: 12.5 M products, three blocks with a skip branch each."""
    level, weight = IntType(0, (1 << bits) - 1), IntType.of(width=bits, signed=True, narrow=True)
    net = Writer(Tensor("x", (32, 32, 3), IntType(0, 255)), level, weight)
    x = net.conv("x", "conv0", 16, 3)
    for i, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2))):
        pads = None if stride == 1 else (0, 0, 1, 1)
        y = net.conv(x, f"block{i}.a", channels, 3, stride=stride, pads=pads)
        y = net.conv(y, f"block{i}.b", channels, 3)
        if stride > 1:
            x = net.conv(x, f"block{i}.skip", channels, 1, stride=stride, pads=(0, 0, 0, 0))
        x = net.activate(net.add(Add(f"block{i}.add", (x, y), f"block{i}.sum")), f"block{i}.act")
    x = net.activate(net.add(SumPool("pool", (x,), "pool.y", Window((8, 8), (8, 8)))), "pool.act")
    return net.graph("resnet8", net.dense(x, "dense", 10, active=False))


def mobilenet(size: int = 96) -> Graph:
    """MobileNetV1 0.25 of MLPerf Tiny at 96 x 96: 7.5 M products, int8."""
    net = Writer(Tensor("x", (size, size, 3), IntType(-128, 127)), IntType(-128, 127), IntType(-127, 127))
    x = net.conv("x", "conv0", 8, 3, stride=2, pads=(0, 0, 1, 1))
    plan = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1))
    for i, (channels, stride) in enumerate(plan):
        pads = None if stride == 1 else (0, 0, 1, 1)
        x = net.conv(x, f"depth{i}", net.tensors[x].shape[-1], 3, stride=stride, pads=pads, depthwise=True)
        x = net.conv(x, f"point{i}", channels, 1)
    rows, columns, _ = net.tensors[x].shape
    x = net.activate(net.add(SumPool("pool", (x,), "pool.y", Window((rows, columns), (rows, columns)))), "pool.act")
    return net.graph("mobilenet", net.dense(x, "dense", 2, active=False))
