"""The cost model: the same widths as the gateware, and what Yosys makes of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accel.compiler import accelerator
from accel.dataflow.budget import Budget
from accel.dataflow.build import Built, build
from accel.dataflow.cost import cost_of, resources, rom_cost, shared_by, weight_bits, widths
from accel.dataflow.node_cost import face_cost
from accel.dataflow.pipeline import ArrayNode, Pipeline
from accel.dataflow.timing import array_cycles
from accel.frontends import load
from accel.graph import Dense, Graph, IntType, Tensor, Threshold
from accel.manifest import Memory
from accel.passes import lower
from accel.rtl.images import ArrayPlan
from accel.rtl.verilog import to_verilog
from toolchain import yosys

BUDGET = Budget(lut=24_000, ff=60_000, bram36=60, dsp=230)


def arrays(built: Pipeline) -> list[ArrayNode]:
    return [node for node in built.nodes if isinstance(node, ArrayNode)]


@pytest.mark.parametrize("model", ["kws-w3a3", "ad08", "tfc-w1a1"])
def test_widths_are_those_of_the_gateware(data: Path, model: str) -> None:
    graph = lower(load(data / "models" / f"{model}.onnx"))
    for node in arrays(build(graph, budget=Budget(10**5, 10**5, 100, 20)).pipeline):
        for simd, style in ((1, "dsp"), (3, "dsp"), (16, "dsp"), (4, "dsp18"), (16, "lut")):
            plan = ArrayPlan(replace(node, simd=simd, multiplier=style))
            w, bits = widths(node.layers, node.source.type), weight_bits(node.layers, node.source.type, simd)
            assert (w.code, w.accumulator, bits) == (plan.input_width, plan.width, plan.weight_type.width)
            assert style == "lut" or shared_by(w, bits, style) == (plan.packing.share, plan.packing.chain)
        image = plan.requantization()
        if image is None:
            assert (w.multiplier, w.bias) == (0, 0)
        else:
            wanted = 0 if image.constant is not None else image.multiplier_width
            assert (w.multiplier, w.bias, w.total) == (wanted, image.bias_width, image.width)
        assert w.plain == (0 if plan.plain() is None else plan.plain_width)
        parallel, search = plan.thresholds(search=False), plan.thresholds(search=True)
        assert w.steps == (parallel.steps if parallel else 0)
        assert w.search == (search.steps.bit_length() if search else 0)


def test_latency_of_a_node_is_its_schedule_less_its_input(data: Path) -> None:
    graph = lower(load(data / "models" / "ad08.onnx"))
    for node in arrays(build(graph, budget=BUDGET).pipeline):
        assert cost_of(node).cycles == array_cycles(node) - node.source.beats
        assert replace(cost_of(node), cycles=0) == resources(node)


@pytest.mark.parametrize(
    ("width", "depth", "style", "halves"),
    # as synth_xilinx of Yosys 0.70 maps memories of random contents
    [(20, 425, "auto", 1), (18, 425, "auto", 0), (18, 512, "auto", 1), (72, 425, "auto", 2), (144, 200, "auto", 0),
     (20, 600, "auto", 0), (36, 600, "auto", 2), (40, 600, "auto", 0), (72, 600, "auto", 4), (20, 1024, "auto", 2),
     (36, 1500, "auto", 3), (9, 2048, "auto", 1), (4, 2048, "auto", 0), (40, 3000, "auto", 7), (144, 4096, "auto", 32),
     (1200, 425, "block", 34), (1, 2, "block", 1), (1200, 425, "logic", 0), (32, 5120, "block", 11),
     (8, 20480, "block", 12), (3, 40000, "block", 9)],
)  # fmt: skip
def test_block_ram_of_a_rom(width: int, depth: int, style: str, halves: int) -> None:
    assert 2 * rom_cost(width, depth, style).bram36 == halves


def network(sizes: list[int], weight: IntType, level: IntType) -> Graph:
    rng = np.random.default_rng(7)
    operators: list[Dense | Threshold] = []
    name = "x"
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weights = rng.integers(weight.lo, weight.hi + 1, (outputs, inputs))
        operators.append(Dense(f"dense{i}", (name,), f"sums{i}", weights, weight))
        name = f"sums{i}"
        if i < len(sizes) - 2:
            spread = 4 * weight.hi * level.hi
            steps = np.sort(rng.integers(-spread, spread, (outputs, level.levels - 1)), axis=1)
            operators.append(Threshold(f"steps{i}", (name,), f"y{i}", steps, np.zeros(outputs, bool), level))
            name = f"y{i}"
    return Graph("net", Tensor("x", (sizes[0],), level), name, tuple(operators))


def synthesized(pipeline: Pipeline, folder: Path, family: str = "xc7") -> yosys.Resources:
    """The whole accelerator, registers and DMA included."""
    verilog = folder / "headrace.v"
    face = accelerator(pipeline, hash_value=1, memory=Memory(0x8000_0000, 1 << 15))
    verilog.write_text(to_verilog(face, "headrace"))
    return yosys.synthesize(verilog, "headrace", family=family, out_dir=folder).total


def agrees(built: Built, found: yosys.Resources, *, lut: float) -> None:
    estimate = built.total + face_cost(len(built.pipeline.links))
    assert (found.bram36, found.dsp) == (estimate.bram36, estimate.dsp)
    assert abs(estimate.lut / found.lut - 1) <= lut, f"{estimate.lut} LUTs estimated, {found.lut} found"


@pytest.mark.parametrize(("bits", "pe", "style"), [(3, 8, "dsp"), (2, 16, "lut")])
def test_arrays_as_estimated(tmp_path: Path, bits: int, pe: int, style: str) -> None:
    weight, level = IntType.of(width=bits, signed=True, narrow=True), IntType(0, (1 << bits) - 1)
    graph = network([96, 64, 64, 12], weight, level)
    size = {"pe": pe, "simd": 8, "drain": 4, "multiplier": style, "memory": "bram", "array": "a"}
    built = build(graph, budget=BUDGET, pins={f"dense{i}": size for i in range(3)})
    agrees(built, synthesized(built.pipeline, tmp_path), lut=0.15)


@pytest.mark.parametrize(("bits", "pe", "multipliers"), [(2, 7, 10), (4, 7, 20), (8, 3, 15)])
def test_multipliers_of_the_ecp5_as_estimated(tmp_path: Path, bits: int, pe: int, multipliers: int) -> None:
    """Two weights of 4 bits share a multiplier of 18 bits, four of 2 bits do; the last one may be alone."""
    weight, level = IntType.of(width=bits, signed=True), IntType(0, (1 << bits) - 1)
    graph = network([20, 12], weight, level)
    size = {"pe": pe, "simd": 5, "drain": 1, "memory": "bram"}
    built = build(graph, budget=replace(BUDGET, multiplier="dsp18"), pins={"dense0": size | {"multiplier": "dsp18"}})
    found = synthesized(built.pipeline, tmp_path, "ecp5")
    assert (found.dsp, built.total.dsp, found.bram36) == (multipliers, multipliers, built.total.bram36)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["kws-w3a3", "ad08", "tfc-w1a1"])
def test_published_networks_as_estimated(data: Path, tmp_path: Path, model: str) -> None:
    built = build(lower(load(data / "models" / f"{model}.onnx")), budget=BUDGET)
    found = synthesized(built.pipeline, tmp_path)
    agrees(built, found, lut=0.15)
    assert found.lut <= 30_000 and found.dsp <= 230 and found.bram36 <= 60
