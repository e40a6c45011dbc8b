"""Time limits of coroutines: raised where they wait, at peace with asyncio's own timeouts and task groups."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from taskbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskbus.worker.runner.limits import within


def run(coroutine: Coroutine[Any, Any, Any], soft: float | None = None, hard: float | None = None) -> Any:
    begun = time.monotonic()
    try:
        return asyncio.run(within(coroutine, soft, hard))
    finally:
        assert time.monotonic() - begun < 5


async def value(seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    return "done"


def test_a_coroutine_within_its_limits_returns() -> None:
    assert run(value()) == "done"
    assert run(value(), 10, 20) == "done"


def test_errors_and_values_pass_through_unchanged() -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(0)
            raise KeyError("mine")
        except KeyError:
            await asyncio.sleep(0)
            raise

    with pytest.raises(KeyError, match="mine"):
        run(fails(), 10, 20)


def test_a_wait_is_ended_at_the_hard_limit() -> None:
    with pytest.raises(TimeLimitExceeded, match=r"time_limit of 0.02 s") as caught:
        run(value(60), None, 0.02)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


def test_the_soft_limit_is_raised_where_it_waits_and_can_be_caught() -> None:
    async def cleans_up() -> str:
        try:
            return await value(60)
        except SoftTimeLimitExceeded as error:
            assert error.__context__ is None
            await asyncio.sleep(0.01)
            return f"cleaned up: {error}"

    assert run(cleans_up(), 0.02, 5) == "cleaned up: it ran longer than its soft_time_limit of 0.02 s"


def test_the_hard_limit_follows_where_the_soft_one_was_ignored() -> None:
    caught = []

    async def ignores() -> None:
        while True:
            try:
                await value(60)
            except Exception as error:
                caught.append(type(error))

    with pytest.raises(TimeLimitExceeded):
        run(ignores(), 0.02, 0.04)
    assert caught == [SoftTimeLimitExceeded]


def test_what_it_waits_for_is_cancelled_too() -> None:
    ended = []

    async def child(number: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(number)
            raise

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(child(number))

    with pytest.raises(TimeLimitExceeded):
        run(parent(), None, 0.02)
    assert sorted(ended) == [0, 1, 2]


def test_a_task_group_hands_the_soft_limit_on() -> None:
    async def parent() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                await asyncio.sleep(60)
        except* SoftTimeLimitExceeded:
            pass
        return await value(0.01)

    assert run(parent(), 0.02, 5) == "done"


def test_timeouts_of_its_own_work_before_and_after_the_soft_limit() -> None:
    async def parent() -> list[str]:
        ended = []
        for _ in range(2):
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(60)
            except TimeoutError:
                ended.append("timeout")
            try:
                async with asyncio.timeout(0.2):
                    await asyncio.sleep(60)
            except SoftTimeLimitExceeded:
                ended.append("soft")
            except TimeoutError:
                ended.append("timeout")
        return ended

    assert run(parent(), 0.05, 5) == ["timeout", "soft", "timeout", "timeout"]


def test_a_cancellation_that_is_not_ours_is_left_as_it_is() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError("by itself")

    with pytest.raises(asyncio.CancelledError):
        run(gives_up(), 5, 10)


def test_a_coroutine_that_ends_right_at_its_limit_leaves_nothing_behind() -> None:
    async def many() -> None:
        for number in range(60):
            seconds = 0.002 + (number % 5 - 2) * 0.0001
            try:
                assert await asyncio.create_task(within(value(seconds), None, 0.002)) == "done"
            except TimeLimitExceeded:
                pass
            assert await asyncio.create_task(within(value(0.001), None, 5)) == "done"

    asyncio.run(many())
