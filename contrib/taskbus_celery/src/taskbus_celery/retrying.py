"""``self.retry`` and ``autoretry_for``: when a task is tried again, and with what."""

import functools
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from taskbus_celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry


def retry(
    task: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    exc: Any,
    throw: bool,
    eta: datetime | None,
    countdown: float | None,
    max_retries: int | None,
    options: Mapping[str, Any],
) -> Retry:
    """What ``Task.retry`` does; the ``Retry`` that is raised or returned says in ``sig`` what will run."""
    request = task.request
    retries = request.retries + 1
    limit = task.max_retries if max_retries is None else max_retries
    if request.called_directly:
        raise_in_context(exc or Retry("Task can be retried", None))
    if not eta and countdown is None:
        countdown = task.default_retry_delay
    call = task.signature(
        request.args if args is None else args,
        request.kwargs if kwargs is None else kwargs,
        immutable=True,
        **{"task_id": request.id, "countdown": countdown, "eta": eta, **options},
    )
    if limit is not None and retries > limit:
        if exc:
            raise_in_context(exc)
        raise MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{call.args} kwargs:{call.kwargs}",
            task_args=call.args,
            task_kwargs=call.kwargs,
        )
    verdict = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=call)
    verdict.is_changed = args is not None or kwargs is not None or bool(options)  # type: ignore[attr-defined]
    if throw:
        raise verdict
    request.retry_to_come = verdict
    return verdict


def raise_in_context(error: Any) -> NoReturn:
    """Raise the error that is being handled if there is one, ``error`` from it if that is another one."""
    current = sys.exc_info()[1]
    if current is None:
        raise error
    if error is current or (isinstance(error, type) and isinstance(current, error)):
        raise current
    raise error from current


def with_autoretry(task: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a task that is tried again by itself for some exceptions."""
    wanted, unwanted = tuple(task.autoretry_for), tuple(task.dont_autoretry_for)
    if not wanted:
        return run

    @functools.wraps(run)
    def trying(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except (Ignore, Reject, Retry):
            raise
        except unwanted:
            raise
        except wanted as error:
            options = dict(task.retry_kwargs)
            if task.retry_backoff:
                options["countdown"] = backoff(
                    int(max(1.0, float(task.retry_backoff))),
                    task.request.retries,
                    int(task.retry_backoff_max),
                    task.retry_jitter,
                )
            raise task.retry(exc=error, **options) from error

    return trying


def backoff(factor: int, retries: int, most: int, has_jitter: bool) -> int:
    """Seconds to wait: doubled with each retry, with jitter anything from none to all of it."""
    delay = min(most, factor * 2**retries)
    return random.randrange(delay + 1) if has_jitter else delay  # noqa: S311 - nothing secret
