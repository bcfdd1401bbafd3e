"""Integer tensors, operators and the exact reference executor.

Every operator has one file, and that file is its definition: the frontends, the gateware, the firmware and the boards
are compared with it for equality.
"""

from accel.graph.activation import Activation
from accel.graph.add import Add
from accel.graph.argmax import ArgMax
from accel.graph.concat import Concat
from accel.graph.conv import Conv
from accel.graph.dense import Dense
from accel.graph.graph import Affine, Graph, GraphError, Operator, Tensor
from accel.graph.pool import MaxPool, SumPool
from accel.graph.quantizer import Quantizer
from accel.graph.requantize import Requantize
from accel.graph.resize import Pad, Upsample
from accel.graph.store import load, save
from accel.graph.table import Table
from accel.graph.threshold import Threshold
from accel.graph.topk import TopK
from accel.graph.types import IntType
from accel.graph.window import Window

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "ArgMax",
    "Concat",
    "Conv",
    "Dense",
    "Graph",
    "GraphError",
    "IntType",
    "MaxPool",
    "Operator",
    "Pad",
    "Quantizer",
    "Requantize",
    "SumPool",
    "Table",
    "Tensor",
    "Threshold",
    "TopK",
    "Upsample",
    "Window",
    "load",
    "save",
]
