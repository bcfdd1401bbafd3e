"""Integer tensors, operators and the exact reference executor.

Every operator has one file, and that file is its definition: the frontends, the gateware, the firmware and the boards
are compared with it for equality.
"""

from accel.graph.activation import Activation
from accel.graph.argmax import ArgMax
from accel.graph.dense import Dense
from accel.graph.graph import Affine, Graph, GraphError, Operator, Tensor
from accel.graph.requantize import Requantize
from accel.graph.store import load, save
from accel.graph.table import Table
from accel.graph.threshold import Threshold
from accel.graph.types import IntType

__all__ = [
    "Activation",
    "Affine",
    "ArgMax",
    "Dense",
    "Graph",
    "GraphError",
    "IntType",
    "Operator",
    "Requantize",
    "Table",
    "Tensor",
    "Threshold",
    "load",
    "save",
]
