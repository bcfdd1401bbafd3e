"""Images that cannot be read: the exact messages, and that no changed network of images crashes anything."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_images import image_networks
from onnx_networks import Network
from test_frontends_errors import I4, PLAIN, Case, attempt, mutate, refusal

KERNEL = np.ones((2, 2, 2, 2), dtype=np.float32)
IMAGE_CASES: dict[str, tuple[Case, str]] = {
    "weights of another rank": (
        lambda n, x: n.add("Conv", x, np.ones((2, 2), dtype=np.float32)),
        "node Conv_1 (Conv): convolves a tensor of shape (1, 2, 3, 3) with weights of shape (2, 2); "
        "only images (1, channels, height, width) or rows (1, channels, width) can be convolved",
    ),
    "groups": (
        lambda n, x: n.add("Conv", x, KERNEL, group=2),
        "node Conv_1 (Conv): weights of shape (2, 2, 2, 2) in 2 groups do not fit an input of shape (1, 2, 3, 3); "
        f"{PLAIN}",
    ),
    "kernel_shape": (
        lambda n, x: n.add("Conv", x, KERNEL, kernel_shape=[3, 3]),
        f"node Conv_1 (Conv): attribute kernel_shape does not fit weights of shape (2, 2, 2, 2); {PLAIN}",
    ),
    "large kernel": (
        lambda n, x: n.add("Conv", x, KERNEL, dilations=[4, 1]),
        "node Conv_1 (Conv): a kernel of 5 x 2 does not fit an image of 3 x 3 with pads (0, 0, 0, 0); change the model",
    ),
    "strides": (
        lambda n, x: n.add("Conv", x, KERNEL, strides=[1]),
        f"node Conv_1 (Conv): attribute strides must have 2 numbers, not [1]; {PLAIN}",
    ),
    "negative pads": (
        lambda n, x: n.add("Conv", x, KERNEL, pads=[0, 0, -1, 0]),
        "node Conv_1 (Conv): has the pads [0, 0, -1, 0]; pads must be 4 numbers of at least 0",
    ),
    "auto_pad": (
        lambda n, x: n.add("Conv", x, KERNEL, auto_pad="FULL"),
        "node Conv_1 (Conv): has the auto_pad 'FULL'; use NOTSET, VALID, SAME_UPPER or SAME_LOWER",
    ),
    "bias": (
        lambda n, x: n.add("Conv", x, KERNEL, np.ones(3, dtype=np.float32)),
        f"node Conv_1 (Conv): a bias of shape (3,) does not fit 2 outputs; {PLAIN}",
    ),
    "weights that are computed": (
        lambda n, x: n.add("Conv", x, x),
        "node Conv_1 (Conv): the weights must be constant, but depends on the input; "
        "branches may join in Add, Sub and Concat only",
    ),
    "zero is no level": (
        lambda n, x: n.add("Conv", n.add("Add", x, np.float32(0.5)), KERNEL, pads=[1, 0, 0, 0]),
        "node Conv_2 (Conv): pads with 0, which is no level of its input (i4); "
        "quantize the input so that 0 is one of its levels, the same in each channel",
    ),
    "another zero in each channel": (
        lambda n, x: n.add(
            "Conv", n.add("Add", x, np.array([[[1]], [[2]]], dtype=np.float32)), KERNEL, pads=[1, 0, 0, 0]
        ),
        "node Conv_2 (Conv): pads with 0, which is no level of its input (i4); "
        "quantize the input so that 0 is one of its levels, the same in each channel",
    ),
    "a constant for each pixel": (
        lambda n, x: n.add("Add", n.add("Conv", x, KERNEL), np.arange(4, dtype=np.float32).reshape(2, 2)),
        "node Add_2 (Add): has constants that differ between the pixels of an image; use one constant for each channel",
    ),
    "a constant for each pixel of the input": (
        lambda n, x: n.add("Conv", n.add("Add", x, np.arange(9, dtype=np.float32).reshape(3, 3)), KERNEL),
        "node Conv_2 (Conv): has constants that differ between the pixels of an image; "
        "use one constant for each channel",
    ),
    "moved pixels": (
        lambda n, x: n.add("Conv", n.add("Transpose", n.add("Conv", x, KERNEL), perm=[0, 1, 3, 2]), KERNEL),
        "node Conv_3 (Conv): reads an image, but the elements of its input of shape (1, 2, 2, 2) were moved since an "
        "operator made them; remove the Reshape or Transpose before it",
    ),
    "no image": (
        lambda n, x: n.add("GlobalMaxPool", n.add("Flatten", x)),
        "node GlobalMaxPool_2 (GlobalMaxPool): pools a tensor of shape (1, 18); only images can be pooled",
    ),
    "a vector as an image": (
        lambda n, x: n.add(
            "Conv",
            n.add("Reshape", n.add("MatMul", n.add("Flatten", x), np.ones((18, 8))), np.array([1, 2, 2, 2])),
            KERNEL,
        ),
        "node Conv_4 (Conv): reads an image, but the elements of its input of shape (1, 2, 2, 2) were moved since an "
        "operator made them; remove the Reshape or Transpose before it",
    ),
    "two layouts of the input": (
        lambda n, x: n.add(
            "Add", n.add("Conv", x, KERNEL), n.add("Conv", n.add("Transpose", x, perm=[0, 1, 3, 2]), KERNEL)
        ),
        "node Conv_1 (Conv): reads an image, but the elements of its input of shape (1, 2, 3, 3) were moved since an "
        "operator made them; remove the Reshape or Transpose before it",
    ),
    "two quantizations of the input": (
        lambda n, x: n.add("Add", x, n.add("Quant", "x", 0.5, 0.0, 4.0, **I4)),
        "node Add_2 (Add): reads the input in another quantization than an earlier node; quantize the input once",
    ),
    "average at the border": (
        lambda n, x: n.add("AveragePool", x, kernel_shape=[2, 2], pads=[1, 0, 0, 0]),
        "node AveragePool_1 (AveragePool): has the attribute count_include_pad=0 with the pads [1, 0, 0, 0] and "
        "divides by fewer pixels at the border than inside; average without padding, or with count_include_pad=1",
    ),
    "average rounded up": (
        lambda n, x: n.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1),
        "node AveragePool_1 (AveragePool): has the attribute ceil_mode=1 and divides by fewer pixels at the border "
        "than inside; export it with ceil_mode=0",
    ),
    "windows without a pixel": (
        lambda n, x: n.add("MaxPool", x, kernel_shape=[1, 1], pads=[1, 0, 0, 0]),
        "node MaxPool_1 (MaxPool): pads (1, 0, 0, 0) leave windows of 1 x 1 without a pixel; change the model",
    ),
    "mean of channels": (
        lambda n, x: n.add("ReduceMean", x, axes=[1, 3]),
        "node ReduceMean_1 (ReduceMean): works along the axes [1, 3] of shape (1, 2, 3, 3); "
        "only pixels can be pooled, not channels",
    ),
    "sum of other shapes": (
        lambda n, x: n.add("Add", n.add("Conv", x, KERNEL), n.add("GlobalMaxPool", n.add("Conv", x, KERNEL))),
        "node Add_4 (Add): adds tensors of the shapes (1, 2, 2, 2) and (1, 2, 1, 1); only equal shapes can be added",
    ),
    "sum of another order": (
        lambda n, x: n.add(
            "Add", n.add("Conv", x, KERNEL), n.add("Transpose", n.add("Conv", x, KERNEL), perm=[0, 1, 3, 2])
        ),
        "node Add_4 (Add): adds tensors whose elements lie in different orders; "
        "remove the Reshape or Transpose from one of the branches",
    ),
    "sum without a common scale": (
        lambda n, x: n.add("Add", n.add("Conv", x, KERNEL), n.add("Mul", n.add("Conv", x, KERNEL), np.float32(1e-9))),
        "node Add_4 (Add): adds i7[-64..56] times 9007199254740992 to i7[-64..56] times 9007199, as their scales "
        "demand: sums of 61 bits; quantize both with one scale, or with scales whose sum fits 48 bits",
    ),
    "sum with a ratio for each channel": (
        lambda n, x: n.add(
            "Add",
            n.add("Conv", x, KERNEL),
            n.add("Mul", n.add("Conv", x, KERNEL), np.array([[[1]], [[2]]], dtype=np.float32)),
        ),
        "node Add_4 (Add): adds tensors whose scales have another ratio in each channel (2 of them); "
        "quantize both with one scale",
    ),
    "product of branches": (
        lambda n, x: n.add("Mul", x, n.add("Neg", x)),
        "node Mul_2 (Mul): the second operand must be constant, but depends on the input; "
        "branches may join in Add, Sub and Concat only",
    ),
    "concatenation of other shapes": (
        lambda n, x: n.add("Concat", x, n.add("MaxPool", x, kernel_shape=[2, 2]), axis=1),
        f"node Concat_2 (Concat): cannot join the shapes (1, 2, 3, 3), (1, 2, 2, 2) along axis 1; {PLAIN}",
    ),
    "concatenation with constants": (
        lambda n, x: n.add("Concat", x, KERNEL, axis=1),
        "node Concat_1 (Concat): input 1 must depend on the input, but is constant; fold constants before exporting",
    ),
    "reflection": (
        lambda n, x: n.add("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect"),
        "node Pad_1 (Pad): pads with the mode 'reflect'; pad with a constant",
    ),
    "crop": (
        lambda n, x: n.add("Pad", x, np.array([0, 0, 1, 1, 0, 0, -1, 1])),
        "node Pad_1 (Pad): cuts pixels off with the pads [0, 0, 1, 1, 0, 0, -1, 1]; pads must be at least 0",
    ),
    "pad of channels and rows": (
        lambda n, x: n.add("Pad", x, np.array([0, 1, 0, 0, 0, 0, 0, 1])),
        "node Pad_1 (Pad): changes the axes [1, 3] of 4; only the height and width of an image can be made larger",
    ),
    "linear interpolation": (
        lambda n, x: n.add("Resize", x, "", np.array([1, 1, 2, 2], dtype=np.float32), mode="linear"),
        "node Resize_1 (Resize): has the mode 'linear'; only nearest can be read",
    ),
    "broken factors": (
        lambda n, x: n.add("Resize", x, "", np.array([1, 1, 1.5, 2], dtype=np.float32)),
        "node Resize_1 (Resize): changes shape (1, 2, 3, 3) by the factors ['1', '1', '3/2', '2']; "
        "only whole factors can be read",
    ),
    "nearest pixels that are no repetition": (
        lambda n, x: n.add(
            "Resize", x, "", np.array([1, 1, 3, 1], dtype=np.float32), coordinate_transformation_mode="align_corners"
        ),
        "node Resize_1 (Resize): takes pixels with the modes 'align_corners' and 'round_prefer_floor' that are not "
        "each pixel 3 times; export with coordinate_transformation_mode asymmetric and nearest_mode floor",
    ),
    "large image": (
        lambda n, x: n.add("Pad", x, np.array([0, 0, 2000, 0, 0, 0, 0, 2000])),
        f"node Pad_1 (Pad): makes a tensor of shape (2003, 2003, 2); at most {2**22} elements fit",
    ),
    "larger image": (
        lambda n, x: n.add("Resize", x, "", np.array([1, 1, 2**40, 1], dtype=np.float32)),
        f"node Resize_1 (Resize): makes more than {2**22} elements of shape (1, 2, 3, 3); change the model",
    ),
    "wide sums": (
        lambda n, x: n.add(
            "Conv", n.add("Conv", x, 4095 * KERNEL - 4094 * (KERNEL.cumsum() == 1).reshape(2, 2, 2, 2)), KERNEL
        ),
        "node Conv_2 (Conv): reads integers of 19 bits (i19[-262080..229320]); quantize them to 16 bits or fewer",
    ),
}


@pytest.mark.parametrize("case", IMAGE_CASES)
def test_refusals_of_images(tmp_path: Path, case: str) -> None:
    build, message = IMAGE_CASES[case]
    net = Network((1, 2, 3, 3))
    x = net.add("Quant", "x", 1.0, 0.0, 4.0, **I4)
    assert refusal(net.save(tmp_path / "model.onnx", build(net, x))) == message


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=image_networks(), seed=st.integers(0, 2**32 - 1))
def test_no_image_crashes_it(tmp_path_factory: pytest.TempPathFactory, network: tuple[Network, str], seed: int) -> None:
    """Networks with convolutions, pools and branches, and changed nodes in them."""
    net, output = network
    rng = random.Random(seed)
    proto = net.model(output)
    for _ in range(rng.randint(1, 3)):
        mutate(proto, rng)
    attempt(tmp_path_factory.getbasetemp() / "image.onnx", proto.SerializeToString(), encoded=rng.random() < 0.4)
