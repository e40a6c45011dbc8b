"""``RetryPolicy``: tenacity's objects as a value that is asked once."""

import time
from typing import Any

import pytest
from tenacity import (
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_chain,
    wait_exponential_jitter,
    wait_fixed,
    wait_incrementing,
    wait_none,
)

from taskbus.errors import ConfigError
from taskbus.retry import MAX_DELAY, RetryPolicy

BOOM = ValueError("boom")


def test_the_default_grants_three_retries_of_any_exception() -> None:
    policy = RetryPolicy()
    for error in (BOOM, OSError(), Exception()):
        assert policy.is_retryable(error, 1, 0.0)
    assert [policy.is_exhausted(BOOM, attempt, 0.0) for attempt in (1, 2, 3, 4, 5)] == [False, False, False, True, True]


def test_the_default_does_not_retry_what_is_no_exception() -> None:
    for error in (KeyboardInterrupt(), SystemExit(1), GeneratorExit()):
        assert not RetryPolicy().is_retryable(error, 1, 0.0)


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (30, MAX_DELAY), (5000, MAX_DELAY)]
)
def test_the_default_waits_with_full_jitter_below_a_doubling_bound(attempt: int, most: float) -> None:
    delays = [RetryPolicy().delay(BOOM, attempt, 0.0) for _ in range(300)]
    assert 0.0 <= min(delays) < most * 0.1
    assert most * 0.9 < max(delays) <= most
    assert len(set(delays)) > 290


def test_never_makes_the_first_failure_the_last() -> None:
    assert RetryPolicy.never().is_exhausted(BOOM, 1, 0.0)


def test_forever_never_gives_up() -> None:
    assert not RetryPolicy.forever().is_exhausted(BOOM, 1_000_000, 1e9)
    assert RetryPolicy.forever().delay(BOOM, 1_000_000, 1e9) <= MAX_DELAY


def test_conditions_combine_as_in_tenacity() -> None:
    policy = RetryPolicy(stop=stop_after_attempt(5) | stop_after_delay(3600))
    assert policy.is_exhausted(BOOM, 5, 0.0)
    assert policy.is_exhausted(BOOM, 1, 3600.0)
    assert not policy.is_exhausted(BOOM, 4, 3599.0)
    both = RetryPolicy(stop=stop_after_attempt(5) & stop_after_delay(3600))
    assert not both.is_exhausted(BOOM, 5, 0.0)
    assert both.is_exhausted(BOOM, 5, 3601.0)


def test_only_the_errors_named_are_retried() -> None:
    policy = RetryPolicy(retry=retry_if_exception_type((OSError, TimeoutError)))
    assert policy.is_retryable(ConnectionResetError(), 1, 0.0)
    assert not policy.is_retryable(BOOM, 1, 0.0)
    assert not RetryPolicy(retry=retry_if_not_exception_type(ValueError)).is_retryable(BOOM, 1, 0.0)
    assert RetryPolicy(retry=retry_if_exception_message(match="bo+m")).is_retryable(BOOM, 1, 0.0)


@pytest.mark.parametrize(
    ("wait", "delays"),
    [
        (wait_none(), [0, 0, 0]),
        (wait_fixed(3), [3, 3, 3]),
        (wait_incrementing(start=1, increment=5), [1, 6, 11]),
        (wait_chain(wait_fixed(1), wait_fixed(9)), [1, 9, 9]),
        (wait_exponential_jitter(1, 300, jitter=0), [1, 2, 4]),
        (wait_fixed(1) + wait_fixed(2), [3, 3, 3]),
        (wait_fixed(-5), [0, 0, 0]),
    ],
)
def test_any_wait_of_tenacity_gives_the_delay(wait: object, delays: list[float]) -> None:
    policy = RetryPolicy(wait=wait)  # type: ignore[arg-type]
    assert [policy.delay(BOOM, attempt, 0.0) for attempt in (1, 2, 3)] == delays


def test_asking_never_sleeps() -> None:
    policy = RetryPolicy(wait=wait_fixed(3600))
    started = time.monotonic()
    assert (policy.is_retryable(BOOM, 1, 0.0), policy.is_exhausted(BOOM, 1, 0.0), policy.delay(BOOM, 1, 0.0)) == (
        True, False, 3600.0,
    )  # fmt: skip
    assert time.monotonic() - started < 60


def test_an_age_below_zero_from_clocks_that_disagree_counts_as_none() -> None:
    assert not RetryPolicy(stop=stop_after_delay(10)).is_exhausted(BOOM, 1, -500.0)
    assert RetryPolicy(stop=stop_after_delay(0)).is_exhausted(BOOM, 1, -500.0)


def test_a_policy_is_a_value_that_cannot_change() -> None:
    with pytest.raises(AttributeError):
        RetryPolicy().stop = stop_after_attempt(1)  # type: ignore[misc]


async def judge(_: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"stop": 3}, r"stop=3.*cannot be called; write stop=stop_after_attempt\(5\)"),
        ({"stop": stop_after_attempt}, "that is a class, not an object of it"),
        ({"stop": wait_fixed(3)}, "that object is for another field"),
        ({"wait": 30}, r"wait=30.*write wait=wait_fixed\(30\)"),
        ({"wait": None}, "cannot be called"),
        ({"retry": ValueError}, r"that is a class; write retry=retry_if_exception_type\(OSError\)"),
        ({"retry": (ValueError, OSError)}, "cannot be called"),
        ({"retry": judge}, "coroutine function"),
    ],
)
def test_what_is_no_object_of_tenacity_is_refused_where_it_is_written(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        RetryPolicy(**given)


def test_a_function_of_the_attempt_will_do() -> None:
    policy = RetryPolicy(
        stop=lambda state: state.attempt_number > 1,  # type: ignore[arg-type]
        wait=lambda state: 7.0 * state.attempt_number,  # type: ignore[arg-type]
        retry=lambda state: True,  # type: ignore[arg-type]
    )
    assert (policy.is_exhausted(BOOM, 2, 0.0), policy.delay(BOOM, 2, 0.0), policy.is_retryable(BOOM, 1, 0.0)) == (
        True, 14.0, True,
    )  # fmt: skip
