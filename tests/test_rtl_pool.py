"""Pools in gateware: equal to the graph, and as fast as the schedule says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import Pipeline
from tests.pipelines import check
from tests.windows import pools

HARD = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@HARD
@given(pools(), st.integers(0, 200))
def test_pools(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)


@pytest.mark.slow
@settings(HARD, max_examples=400)
@given(pools(), st.integers(0, 200))
def test_many_pools(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)
