"""Files that cannot be read: the exact messages, and that no file crashes, hangs or fills the memory."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import Network

from accel.frontends import Encoding, FrontendError, load
from accel.frontends.interpreter import HANDLERS
from accel.graph import GraphError, IntType
from accel.passes import lower

I4 = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
EYE = np.eye(2, dtype=np.float32)
PLAIN = "export the model again with constant, finite, well-formed values"


def refusal(path: Path, **options: object) -> str:
    """The message without the file's name, which every message begins with."""
    with pytest.raises(FrontendError) as caught:
        load(path, **options)  # type: ignore[arg-type]
    error = caught.value
    start = f"{path}: " + (f"node {error.node} ({error.operator}): " if error.node else "")
    assert str(error) == f"{start}{error.reason}; {error.hint}"
    return str(error).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no nodes: it is empty or not an ONNX file; "),
        (b"\x1c\0\0\0TFL3 and so on", "is not a readable TFLite file ("),
        (b"\x89HDF\r\n", "is HDF5 (Keras), not ONNX or TFLite; "),
        (b"PK\x03\x04....", "is a zip archive (PyTorch or Keras), not ONNX or TFLite; "),
        (b"not a model at all", "is not a readable ONNX file ("),
        (b"\0" * 100, "is not a readable ONNX file ("),
    ],
)
def test_other_formats(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert refusal(path).startswith(message)


def test_missing_file_and_bad_head(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.onnx") == "cannot be opened (No such file or directory); check the path"
    assert refusal(tmp_path) == "cannot be opened (Is a directory); check the path"
    with pytest.raises(
        ValueError, match=r"^head must be one of softmax, softmax_int8, scores, mse, argmax, not 'best'$"
    ):
        load(tmp_path / "none.onnx", head="best")


Case = Callable[[Network, str], str]
CASES: dict[str, tuple[Case, str]] = {
    "unknown operator": (
        lambda n, x: n.add("LSTM", x, EYE),
        f"node LSTM_1 (LSTM): this operator cannot be read; one of these can: {', '.join(sorted(HANDLERS))}",
    ),
    "no weights": (
        lambda n, x: n.add("MatMul", x, x),
        "node MatMul_1 (MatMul): the second operand must be constant, but depends on the input; "
        "branches may join in Add, Sub and Concat only",
    ),
    "float weights": (
        lambda n, x: n.add("MatMul", x, np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)),
        "node MatMul_1 (MatMul): the weights (80 different numbers) are not integers of 16 bits times a scale; "
        "quantize them with Quant or DequantizeLinear",
    ),
    "shapes": (
        lambda n, x: n.add("MatMul", x, np.ones((3, 2), dtype=np.float32)),
        "node MatMul_1 (MatMul): multiplies a tensor of shape (1, 2) with weights of shape (3, 2); "
        "only a vector (batch size 1) times a matrix can be read",
    ),
    "batch": (
        lambda n, x: n.add("MatMul", n.add("Transpose", x), EYE[:1]),
        "node MatMul_2 (MatMul): multiplies a tensor of shape (2, 1) with weights of shape (1, 2); "
        "only a vector (batch size 1) times a matrix can be read",
    ),
    "scale of zero": (
        lambda n, x: n.add("Quant", x, 0.0, 0.0, 4.0, **I4),
        f"node Quant_1 (Quant): the scale must be positive, not 0; {PLAIN}",
    ),
    "scale of NaN": (
        lambda n, x: n.add("Quant", x, float("nan"), 0.0, 4.0, **I4),
        f"node Quant_1 (Quant): a constant holds NaN or infinity; {PLAIN}",
    ),
    "scale of infinity": (
        lambda n, x: n.add("Mul", x, float("inf")),
        f"node Mul_1 (Mul): a constant holds NaN or infinity; {PLAIN}",
    ),
    "17 bits": (
        lambda n, x: n.add("Quant", x, 1.0, 0.0, 17.0, **I4),
        "node Quant_1 (Quant): bit width must be an integer from 1 to 16, not 17; quantize to fewer bits",
    ),
    "half a bit": (
        lambda n, x: n.add("Quant", x, 1.0, 0.0, 2.5, **I4),
        "node Quant_1 (Quant): bit width must be an integer from 1 to 16, not 2.5; quantize to fewer bits",
    ),
    "rounding mode": (
        lambda n, x: n.add("Quant", x, 1.0, 0.0, 4.0, signed=1, narrow=0, rounding_mode="NEAREST"),
        "node Quant_1 (Quant): has the rounding mode 'NEAREST'; use one of HALF_EVEN, CEIL, FLOOR, UP, DOWN, HALF_UP, "
        "HALF_DOWN, ROUND, ROUND_TO_ZERO",
    ),
    "attribute type": (
        lambda n, x: n.add("Quant", x, 1.0, 0.0, 4.0, signed="yes", narrow=0),
        f"node Quant_1 (Quant): attribute signed must be an integer, not 'yes'; {PLAIN}",
    ),
    "attribute value": (
        lambda n, x: n.add("Quant", x, 1.0, 0.0, 4.0, signed=3, narrow=0),
        f"node Quant_1 (Quant): attribute signed must be 0 or 1, not 3; {PLAIN}",
    ),
    "too few inputs": (
        lambda n, x: n.add("Quant", x, 1.0, 0.0, **I4),
        f"node Quant_1 (Quant): has 3 inputs instead of 4; {PLAIN}",
    ),
    "division by zero": (lambda n, x: n.add("Div", x, 0.0), f"node Div_1 (Div): divides by zero; {PLAIN}"),
    "division of a constant": (
        lambda n, x: n.add("Div", 1.0, x),
        "node Div_1 (Div): divides by what depends on the input; only a division by constants can be read",
    ),
    "negative variance": (
        lambda n, x: n.add("BatchNormalization", x, *[np.full(2, v, dtype=np.float32) for v in (1, 0, 0, -1)]),
        f"node BatchNormalization_1 (BatchNormalization): needs the square root of -0.99999; {PLAIN}",
    ),
    "training": (
        lambda n, x: n.add("BatchNormalization", x, *[np.ones(2, dtype=np.float32)] * 4, training_mode=1),
        "node BatchNormalization_1 (BatchNormalization): is in training mode; "
        "export the model in evaluation mode (model.eval())",
    ),
    "broadcast": (
        lambda n, x: n.add("Add", x, np.ones((3, 1), dtype=np.float32)),
        "node Add_1 (Add): repeats a tensor of shape (1, 2) to shape (3, 2); "
        "only constants are repeated: change the model",
    ),
    "mismatch": (
        lambda n, x: n.add("Add", x, np.ones(3, dtype=np.float32)),
        f"node Add_1 (Add): shapes (1, 2) and (3,) do not match; {PLAIN}",
    ),
    "reshape": (
        lambda n, x: n.add("Reshape", x, np.array([4, -1])),
        "node Reshape_1 (Reshape): cannot shape (1, 2) as [4, -1]; export with the batch size 1",
    ),
    "huge constants": (
        lambda n, x: n.add("Add", x, n.add("ConstantOfShape", np.array([2**40]))),
        f"node ConstantOfShape_1 (ConstantOfShape): makes a tensor of shape [{2**40}]; at most {2**22} elements fit",
    ),
    "numbers without end": (
        lambda n, x: n.add("Add", x, _squares(n, 1.1, 30)),
        "node Mul_10 (Mul): its constants need numbers that are too long; fold the constants before exporting",
    ),
    "Softmax inside": (
        lambda n, x: n.add("Relu", n.add("Softmax", x)),
        "node Relu_2 (Relu): the input comes from a Softmax, ArgMax or TopK; "
        "these are read only at the end of the network",
    ),
    "Softmax along the batch": (
        lambda n, x: n.add("Softmax", x, axis=0),
        "node Softmax_1 (Softmax): works along axis 0 of shape (1, 2); it must work along all elements",
    ),
    "the values of TopK": (
        lambda n, x: n.add("TopK", x, np.array([1]), outputs=2).removesuffix("1"),
        "node TopK_1_out (output): reads 'TopK_1_out', an output that is not supported; "
        "use the first output of that operator",
    ),
    "more classes than there are": (
        lambda n, x: n.add("TopK", n.add("MatMul", x, EYE), np.array([3]), outputs=2),
        "node TopK_2_out1 (output): the 3 largest cannot be taken of a tensor of shape (2,); change the model",
    ),
    "scales without a common measure": (
        lambda n, x: n.add("ArgMax", n.add("Mul", n.add("MatMul", x, EYE), np.array([0.1, 1e-4])), axis=1),
        "node ArgMax_3_out (output): ranks channels whose scales need more than 32 bits to compare; "
        "use one scale for all outputs, or read the scores (head='scores')",
    ),
    "float output": (
        lambda n, x: n.add("Clip", n.add("MatMul", x, EYE), np.float32(0.1), np.float32(0.7)),
        "node Clip_2_out (output): the output is not a multiple of integers: its last operators come after the last "
        "quantizer; put a Quant node at the end, or remove those operators",
    ),
    "not quantized between": (
        lambda n, x: n.add("MatMul", n.add("Clip", n.add("MatMul", x, EYE), np.float32(0.1), np.float32(0.7)), EYE),
        "node MatMul_3 (MatMul): needs integers, but what it reads is not quantized after its last operator; "
        "put a Quant node before it",
    ),
    "wide accumulators": (
        lambda n, x: n.add("MatMul", n.add("MatMul", x, 32766 * EYE + 1), EYE),
        "node MatMul_2 (MatMul): reads integers of 19 bits (i19[-262144..229376]); quantize them to 16 bits or fewer",
    ),
    "transposed output": (
        lambda n, x: n.add(
            "Transpose", n.add("Reshape", n.add("MatMul", x, np.ones((2, 1026), dtype=np.float32)), np.array([2, 513]))
        ),
        "node Transpose_3_out (output): Transpose_3 moves 1026 elements of type i5[-16..14] into another order than "
        "they are made in; at most 1024 of at most 16 bits can be moved; end the network before it: an image may be "
        "the output",
    ),
    "constant network": (
        lambda n, x: n.add("Add", 1.0, 2.0),
        "node Add_1_out (output): the output must depend on the input, but is constant; "
        "fold constants before exporting",
    ),
    "nothing": (
        lambda n, x: "elsewhere",
        f"tensor 'elsewhere' is read by the network's output, but nothing produces it; {PLAIN}",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refusals(tmp_path: Path, case: str) -> None:
    build, message = CASES[case]
    net = Network((1, 2))
    x = net.add("Quant", "x", 1.0, 0.0, 4.0, **I4)
    assert refusal(net.save(tmp_path / "model.onnx", build(net, x))) == message


def _squares(net: Network, number: float, count: int) -> str:
    x = net.constant(number)
    for _ in range(count):
        x = net.add("Mul", x, x)
    return x


def test_refusals_of_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    net = Network((1, 2))
    x = net.add("Quant", "x", 1.0, 0.0, 4.0, **I4)
    info = [helper.make_tensor_value_info(name, 1, (1, 2)) for name in ("x", "y")]
    hint = "export the model again as QONNX or QCDQ ONNX, with one input and one output"
    assert refusal(net.save(path, x, inputs=info)) == f"must have one input, not 2 (x, y); {hint}"
    assert refusal(net.save(path, x, outputs=[])) == f"must have one output, not 0 (none); {hint}"
    for shape, message in (
        ((1, "n"), "input 'x' has the shape (1, ?); export with a fixed shape (batch, ...)"),
        ((), "input 'x' has the shape (); export with a fixed shape (batch, ...)"),
        ((3, 2), "input 'x' has the batch size 3; export with the batch size 1"),
        ((1, 2**40), f"input 'x' has {2**40} elements; at most {2**18} fit"),
    ):
        net.shape = shape
        assert refusal(net.save(path, x)) == message
    net = Network((1, 2))
    output = net.add("MatMul", "x", EYE)
    assert refusal(net.save(path, output)) == (
        "node MatMul_0 (MatMul): reads the input, which is not quantized; quantize the input in the model, or say what "
        "integers the wire carries (Encoding)"
    )
    net.nodes += [
        helper.make_node("Relu", ["b"], ["a"], name="r"),
        helper.make_node("Add", [output, "a"], ["b"], name="s"),
    ]
    assert refusal(net.save(path, "b")) == f"node s (Add) depends on its own output; {PLAIN}"
    net.nodes.append(helper.make_node("Relu", ["x"], ["a"], name="again"))
    assert refusal(net.save(path, "b")) == f"tensor 'a' is produced twice, the second time by node again; {PLAIN}"
    net = Network((1, 2))
    net.nodes.append(helper.make_node("Quant", ["x"], ["q"], name="q", domain="com.example"))
    assert refusal(net.save(path, "q")).startswith(
        "node q (Quant): this operator of domain 'com.example' cannot be read; "
    )


def test_clips_before_the_first_quantizer(tmp_path: Path) -> None:
    def refused(build: Callable[[Network], str], scale: object = 1.0) -> str:
        net = Network((1, 2))
        return refusal(net.save(tmp_path / "model.onnx", net.add("Quant", build(net), scale, 0.0, 4.0, **I4)))

    hint = "quantize the input before it is clipped, or say what integers the wire carries (Encoding)"
    assert refused(lambda net: net.add("Relu", net.add("Mul", "x", 2.0))) == (
        f"node Relu_1 (Relu): clips the input after it was scaled and before its first quantizer; {hint}"
    )
    assert refused(lambda net: net.add("Clip", "x", 0.0, 0.4)) == (
        f"node Quant_1 (Quant): reads the input clipped to the one level 0; {hint}"
    )
    assert refused(lambda net: net.add("Clip", "x", 0.0, 2.0), np.array([[1.0, 0.5]])) == (
        f"node Quant_1 (Quant): reads the input clipped to other levels in each channel; {hint}"
    )


def test_tensors_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    net = Network((1, 2))
    x = net.add("MatMul", net.add("Quant", "x", 1.0, 0.0, 4.0, **I4), EYE)
    for change, message in (
        ({"dims": [2**40, 2**40]}, f"tensor 'c3' has shape [{2**40}, {2**40}]; at most {2**22} elements fit"),
        ({"dims": [-1, 2]}, f"tensor 'c3' has shape [-1, 2]; at most {2**22} elements fit"),
        ({"data_type": TensorProto.STRING}, "tensor 'c3' has data type STRING; store it as FLOAT or as integers"),
        ({"data_type": 77}, "tensor 'c3' has data type 77; store it as FLOAT or as integers"),
        ({"data_location": 1}, "keeps tensor 'c3' in another file; save the model as one file"),
        ({"raw_data": b"short"}, "is not a readable ONNX file ("),
    ):
        model = net.model(x)
        tensor = model.graph.initializer[3]
        for name, value in change.items():
            if isinstance(value, list):
                del tensor.dims[:]
                tensor.dims.extend(value)
            else:
                setattr(tensor, name, value)
        path.write_bytes(model.SerializeToString())
        assert refusal(path).startswith(message)


def mutate(model: onnx.ModelProto, rng: random.Random) -> None:
    """One change that leaves a well-formed file with a wrong network in it."""
    graph = model.graph
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    names = [name for each in graph.node for name in (*each.input, *each.output)] + ["", "nothing"]
    array = numpy_helper.to_array(tensor)
    match rng.randrange(9):
        case 0:
            graph.node.remove(node)
        case 1:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        case 2:
            node.output[0] = rng.choice(names)
        case 3:
            node.op_type = rng.choice(sorted(HANDLERS))
        case 4:
            node.input.append(rng.choice(names))
        case 5 if node.attribute:
            name = node.attribute.pop().name
            value = rng.choice([0, -1, 5, 2**62, 1.5, float("nan"), "x", [1, 0], [2**40, 2**40], EYE])
            if isinstance(value, np.ndarray):
                value = numpy_helper.from_array(value)
            node.attribute.append(helper.make_attribute(name, value))
        case 6 if array.size:
            values = array.astype(np.float64).ravel()
            values[rng.randrange(values.size)] = rng.choice([0, -1, 3.3, 17, 1e38, 1e-45, float("nan"), float("inf")])
            with np.errstate(all="ignore"):
                changed = values.reshape(array.shape).astype(array.dtype)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        case 7:
            shape = rng.choice([(0,), (2, 3), (), (1, 1, 1, 1), (7,)])
            tensor.CopyFrom(numpy_helper.from_array(np.ones(shape, array.dtype), tensor.name))
        case _:
            dim = rng.choice(graph.input[0].type.tensor_type.shape.dim)
            dim.dim_value = rng.choice([0, -1, 2, 10**6, 2**40])


def attempt(path: Path, content: bytes, *, encoded: bool) -> None:
    """Reads and lowers: a graph, or one of the two errors, soon."""
    path.write_bytes(content)
    start = time.perf_counter()
    try:
        lower(load(path, encoding=Encoding(IntType(0, 255), Fraction(1, 255)) if encoded else None, head="scores"))
    except FrontendError as error:
        assert re.match(re.escape(str(path)) + r": .+; .+", str(error), re.DOTALL)
    except GraphError as error:
        assert "too many levels" in str(error)
    assert time.perf_counter() - start < 60


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(model=st.sampled_from(["ad08", "tfc-w1a1", "rn07"]), seed=st.integers(0, 2**32 - 1), structure=st.booleans())
def test_no_file_crashes_it(
    data: Path, tmp_path_factory: pytest.TempPathFactory, model: str, seed: int, structure: bool
) -> None:
    """Real files with changed nodes, or with changed and missing bytes."""
    content = (data / "models" / f"{model}.onnx").read_bytes()
    rng = random.Random(seed)
    if structure:
        proto = onnx.load_model_from_string(content)
        for _ in range(rng.randint(1, 3)):
            mutate(proto, rng)
        content = proto.SerializeToString()
    else:
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        content = bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
    attempt(tmp_path_factory.getbasetemp() / "mutant.onnx", content, encoded=rng.random() < 0.4)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_no_bytes_crash_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    attempt(tmp_path_factory.getbasetemp() / "bytes.onnx", content, encoded=False)
