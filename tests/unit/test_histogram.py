"""Durations in buckets: what is added up is exact, what is told of it is near."""

from bisect import bisect_left
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskbus.monitor.histogram import BOUNDS, Histogram

WIDEST = max(above / below for below, above in pairwise(BOUNDS)) + 1e-9
DURATIONS = st.lists(st.floats(1e-4, 5_000), min_size=1, max_size=200)


def of(durations):
    histogram = Histogram()
    for each in durations:
        histogram.add(each)
    return histogram


@example([1.59375], 0.0)
@given(DURATIONS, st.sampled_from([0.0, 0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_a_bucket_of_the_true_one(durations, share):
    rank = max(1, ceil(share * len(durations)))
    true = sorted(durations)[rank - 1]
    bucket = bisect_left(BOUNDS, true)
    told = of(durations).quantile(share)
    assert BOUNDS[bucket - 1] <= told <= BOUNDS[bucket]
    assert told / true <= WIDEST and true / told <= WIDEST
    assert WIDEST < 1.281


def test_what_is_in_no_bucket_is_told_as_the_largest_bound():
    assert of([1e9]).quantiles((0.5, 1.0)) == [BOUNDS[-1], BOUNDS[-1]]


@given(DURATIONS, DURATIONS)
def test_adding_up_two_is_counting_both(some, others):
    both = of(some)
    both.merge(of(others))
    together = of(some + others)
    assert both.counts == together.counts
    assert both.sum == pytest.approx(together.sum)
    assert both.minus(of(some)).counts == of(others).counts


def test_what_is_up_to_a_bound_is_exact_for_prometheus_own_buckets():
    durations = [0.005, 0.0051, 0.075, 0.7, 0.75, 0.76, 10.0, 10.1, 1e9]
    default = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
    assert set(default) <= set(BOUNDS)
    assert of(durations).up_to(default) == [sum(each <= bound for each in durations) for bound in default]


def test_it_is_the_same_after_packing():
    histogram = of([0.001, 0.5, 3.0])
    again = Histogram.unpacked(histogram.packed())
    assert (again.counts, again.sum, again.total) == (histogram.counts, histogram.sum, 3)


def test_of_nothing_nothing_is_told():
    assert Histogram().quantiles((0.5, 0.99)) == [None, None]
