from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.energy import energy_between, energy_of_span
from workbench.core.telemetry import GpuInfo, GpuSample, TelemetrySample

S = 10**9


def sample(second, **counters):
    gpus = (GpuSample(GpuInfo(key, "nvml", 0), energy_mj=value) for key, value in counters.items())
    return TelemetrySample(int(second * S), None, tuple(gpus))


def test_from_one_sample_to_the_other():
    assert energy_between(sample(0, a=1_000, b=5_000), sample(10, a=31_000, b=6_000)) == 31


@pytest.mark.parametrize(("first", "last"), [
    (sample(0), sample(1)), (sample(0, a=None), sample(1, a=5)), (sample(0, a=1), sample(1, a=None)),
    (sample(0, a=1), sample(1, b=5)), (sample(0, a=1, b=1), sample(1, a=5)), (sample(0, a=9), sample(1, a=5)),
    (sample(1, a=1), sample(0, a=5)),
    (sample(0, a=9, b=1), sample(1, a=5, b=2)),
])  # fmt: skip
def test_no_figure_where_there_is_none(first, last):
    assert energy_between(first, last) is None


def test_a_gpu_without_a_counter_is_left_out():
    assert energy_between(sample(0, a=0, b=None), sample(1, a=2_000, b=None)) == 2


def test_a_span_on_the_samples_is_exact():
    samples = [sample(second, a=second * 100_000) for second in range(5)]
    joules = energy_of_span(samples, 1 * S, 3 * S)
    assert joules == pytest.approx(200)


def test_a_span_between_the_samples_is_interpolated():
    samples = [sample(second, a=second * 100_000) for second in range(5)]
    joules = energy_of_span(samples, int(0.5 * S), int(2.25 * S))
    assert joules == pytest.approx(175)


def test_a_short_span_inside_one_step():
    samples = [sample(0, a=0), sample(1, a=100_000)]
    joules = energy_of_span(samples, int(0.4 * S), int(0.5 * S))
    assert joules == pytest.approx(10)


@pytest.mark.parametrize(("began", "ended"), [(-1, 2), (1, 9), (3, 2)])
def test_a_span_beyond_the_samples(began, ended):
    samples = [sample(second, a=second) for second in range(5)]
    assert energy_of_span(samples, began * S, ended * S) is None
    assert energy_of_span([], 0, 0) is None


def test_a_counter_that_begins_anew_gives_no_figure():
    samples = [sample(0, a=500), sample(1, a=900), sample(2, a=10), sample(3, a=400)]
    assert energy_of_span(samples, 0, 3 * S) is None
    assert energy_of_span(samples, 0, 1 * S) == pytest.approx(0.4)


def test_a_span_of_nothing():
    assert energy_of_span([sample(0, a=5), sample(1, a=7)], S, S) == 0


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_part_is_never_more_than_the_whole(steps, one, other):
    counter, samples = 0, []
    for second, step in enumerate(steps):
        counter += step
        samples.append(sample(second, a=counter))
    length = (len(steps) - 1) * S
    began, ended = sorted((int(one * length), int(other * length)))
    joules = energy_of_span(samples, began, ended)
    whole = (counter - steps[0]) / 1000
    assert 0 <= joules <= whole + 1e-6
