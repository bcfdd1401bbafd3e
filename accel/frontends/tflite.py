"""The TFLite frontend: walks the file's operators, which are in order, and builds the graph of its integers.

Every tensor that the pipeline has is equal to that of TFLite's reference kernels, element for element.
"""

from __future__ import annotations

from collections.abc import Callable

from accel.frontends import tflite_elementwise, tflite_file, tflite_layers
from accel.frontends.errors import FrontendError, RefusalError
from accel.frontends.interpreter import Encoding
from accel.frontends.tflite_file import LIES, MAGIC, FileModel, FileOperator
from accel.frontends.tflite_network import Network, Probabilities, RealInput, Value
from accel.graph import ArgMax, Graph
from accel.graph.graph import Affine

Handler = Callable[[Network, FileOperator, str], Value | Probabilities | RealInput]
HANDLERS: dict[str, Handler] = {
    **tflite_elementwise.HANDLERS,
    "CONV_2D": tflite_layers.conv_2d,
    "DEPTHWISE_CONV_2D": tflite_layers.depthwise_conv_2d,
    "FULLY_CONNECTED": tflite_layers.fully_connected,
}


def is_tflite(content: bytes) -> bool:
    """Whether the bytes are a TFLite file."""
    return content[4:8] == MAGIC


def read(file: str, content: bytes, *, name: str, encoding: Encoding | None, head: str | None) -> Graph:
    """The graph of a TFLite file. Raises FrontendError, which names tensor and operator."""
    model = tflite_file.read(file, content)
    with _Named(model, next((op for op in model.operators if model.input in op.inputs), None)):
        network = Network(model, encoding, head)
    for number, op in enumerate(model.operators):
        with _Named(model, op):
            if op.kind not in HANDLERS:
                raise RefusalError("this operator cannot be read", f"these can: {', '.join(sorted(HANDLERS))}")
            if len(op.outputs) != 1:
                raise RefusalError(f"has {len(op.outputs)} outputs instead of 1", tflite_file.EXPORT)
            value, y = HANDLERS[op.kind](network, op, f"{op.kind.lower()}_{number}"), op.outputs[0]
            if isinstance(value, Value) and value.tensor.size != y.size:
                raise RefusalError(
                    f"makes {value.tensor.shape}, but tensor {y.name!r} has shape {list(y.shape)}", tflite_file.EXPORT
                )
            network.values[y.index] = value
    with _Named(model, next((op for op in model.operators if model.output in op.outputs), None)):
        return _finish(network, name, head)


class _Named:
    """Gives errors the operator they come from. What a handler does not expect is a malformed file, not a crash."""

    def __init__(self, model: FileModel, op: FileOperator | None = None) -> None:
        self.place = {"file": model.file}
        if op is not None:
            self.place |= {"node": op.name, "operator": op.kind}

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RefusalError):
            raise FrontendError(error.reason, error.hint, **self.place) from error
        if isinstance(error, LIES):  # GraphError is a ValueError
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FrontendError(f"is malformed ({reason})", tflite_file.EXPORT, **self.place) from error


def _finish(network: Network, name: str, head: str | None) -> Graph:
    """The graph that ends in the file's output; ``head`` replaces its SOFTMAX, or adds one."""
    x, y = network.model.input, network.model.output
    value = network.values.get(y.index)
    found = "softmax_int8" if isinstance(value, Probabilities) else "scores"
    scores = value.scores if isinstance(value, Probabilities) else value
    if scores is None:
        raise RefusalError(f"no operator makes the output {y.name!r}", tflite_file.EXPORT)
    if isinstance(scores, RealInput) or scores.tensor.name == network.input.name:
        raise RefusalError(
            f"nothing is computed of the input {x.name!r} before the output {y.name!r}",
            "a network needs an operator besides QUANTIZE, DEQUANTIZE, RESHAPE and SOFTMAX at its ends",
        )
    graph = network.graph(name, scores, "scores")
    if head in (None, found) or (head, found) == ("softmax", "softmax_int8"):
        return network.graph(name, scores, found)
    if head != "argmax":
        return network.graph(name, scores, head or found)
    if len(scores.tensor.shape) != 1:
        raise RefusalError(f"has scores of shape {scores.tensor.shape}", "only a vector can be ranked")
    winner = network.unique("argmax")
    ranked = ArgMax(winner, (scores.tensor.name,), winner)
    return Graph(name, graph.input, winner, (*graph.operators, ranked), "argmax", Affine())
