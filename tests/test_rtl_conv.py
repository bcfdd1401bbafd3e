"""Convolutions and depthwise ones in gateware: equal to the graph, whatever their geometry and sizes."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import Pipeline
from tests.pipelines import check
from tests.windows import convs, depthwises

HARD = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@HARD
@given(convs(), st.integers(0, 200))
def test_convolutions(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)


@HARD
@given(depthwises(), st.integers(0, 200))
def test_depthwise_convolutions(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)
