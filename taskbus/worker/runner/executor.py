"""One attempt, from bytes to outcome: decode, look up, unpack, call, judge.

Knows no queue, socket, slot or limit; how the body is called is passed in. Whatever the bytes hold and whatever the
task does, what comes out is a ``Report``: this is the one place of TaskBus that catches everything.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from time import monotonic, perf_counter
from typing import Any, NamedTuple

from taskbus import codec
from taskbus.clock import Clock, wall_clock
from taskbus.context import Context, current
from taskbus.errors import (
    BadArguments,
    ConfigError,
    DecodeError,
    EncodeError,
    Reject,
    Replaced,
    RetryRequested,
    SoftTimeLimitExceeded,
    TaskExpired,
    TimeLimitExceeded,
)
from taskbus.message import CHUNK, FLOW, Message
from taskbus.middleware import Middleware, running
from taskbus.outcome import Dead, Outcome, Reason, Retrying, Succeeded
from taskbus.outcome import Replaced as ReplacedBy
from taskbus.wire import formats
from taskbus.worker.runner.call import AnyTask, arguments_of, as_called, chunk_of, concealed, in_turn
from taskbus.worker.runner.failing import failure_of
from taskbus.worker.runner.limits import hard_message, soft_message, within
from taskbus.worker.runner.protocol import Job, Report
from taskbus.worker.runner.voices import Voices
from taskbus.workflow.replacing import replacement
from taskbus.workflow.wrapping import wrapped

Call = Callable[[AnyTask, Sequence[Any], Mapping[str, Any]], Any]
"""How the body of a ``def`` task is called: a slot adds its limits here. Raises what the body raises."""

NEVER = 0.0
"""``Report.started_at`` of what was never started."""
LONGEST_DELAY = 366 * 86_400.0
"""A retry's delay is cut to a year: a policy that says infinity means never, which is what ``stop`` is for."""


class Attempt(NamedTuple):
    """Everything needed to make the attempt that a job asks for."""

    message: Message
    task: AnyTask
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    context: Context


def plainly(task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call the body without limits."""
    return task.function(*args, **kwargs)


class Executor:
    """Makes attempts. Safe to use from several threads and coroutines at once.

    ``max_bytes`` bounds both the message and the encoded result. ``is_stopping`` is what ``Context.shutting_down``
    asks, ``voices`` hears what attempts say while they run.
    """

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        middleware: Sequence[Middleware],
        max_bytes: int,
        clock: Clock = wall_clock,
        is_stopping: Callable[[], bool] = bool,
        voices: Voices | None = None,
    ) -> None:
        self._tasks = tasks
        self._middleware = middleware
        self._max_bytes = max_bytes
        self._clock = clock
        self._is_stopping = is_stopping
        self._voices = voices

    def execute(self, job: Job, call: Call = plainly) -> Report:
        """Make one attempt of a ``def`` task, in this thread, in a copy of its context variables. Never raises."""
        return copy_context().run(self._execute, job, call)

    def _execute(self, job: Job, call: Call) -> Report:
        started_at, begun = self._clock(), perf_counter()
        attempt = self._prepare(job)
        if isinstance(attempt, Dead):
            return Report(job.tag, attempt, NEVER, 0.0)
        current.set(attempt.context)
        outcome: Outcome
        try:
            value = None
            if self._middleware:
                with running(self._middleware, attempt.context):
                    value = call(attempt.task, attempt.args, attempt.kwargs)
            else:
                value = call(attempt.task, attempt.args, attempt.kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is that task's failure
            outcome = self._failed(attempt.message, attempt.task, error)
        else:
            outcome = self._returned(attempt, value)
        if self._voices is not None:
            self._voices.ended(attempt.context.voice, is_success=type(outcome) is Succeeded)
        return Report(job.tag, outcome, started_at, perf_counter() - begun)

    async def execute_async(self, job: Job) -> Report:
        """As ``execute``, for an ``async def`` task, with its limits. To be awaited in an asyncio task of its own."""
        started_at, begun = self._clock(), perf_counter()
        attempt = self._prepare(job)
        if isinstance(attempt, Dead):
            return Report(job.tag, attempt, NEVER, 0.0)
        current.set(attempt.context)
        outcome: Outcome
        try:
            value = None
            if self._middleware:
                with running(self._middleware, attempt.context):
                    value = await _await_body(attempt)
            else:
                value = await _await_body(attempt)
        except BaseException as error:  # noqa: BLE001 - as above; our own limits arrive as TimeLimitExceeded
            outcome = self._failed(attempt.message, attempt.task, error)
        else:
            outcome = self._returned(attempt, value)
        if self._voices is not None:
            self._voices.ended(attempt.context.voice, is_success=type(outcome) is Succeeded)
        return Report(job.tag, outcome, started_at, perf_counter() - begun)

    def judge(self, job: Job, kind: str) -> Report:
        """The outcome of an attempt whose runner was killed, without running it. ``kind``: "time_limit".

        Only the supervisor knows when the attempt had started: the report says, a time limit ago.
        """
        if kind != "time_limit":
            raise ValueError(f"an attempt can be judged for 'time_limit', not for {kind!r}")
        now = self._clock()
        found = self._find(job)
        if isinstance(found, Dead):
            return Report(job.tag, found, NEVER, 0.0)
        message, task = found
        limit = task.time_limit or 0.0
        error = TimeLimitExceeded(f"{hard_message(limit)}, did not end when told to, and was killed with its runner")
        return Report(job.tag, self._failed(message, task, error), now - limit, limit)

    def limit(self, name: str, soft: float | None, hard: float | None) -> None:
        """Give a task other time limits, for attempts that start from now on."""
        task = self._tasks.get(name)
        if task is not None:
            task.soft_time_limit, task.time_limit = soft, hard

    def is_async(self, job: Job) -> bool:
        """Whether the job belongs in a coroutine slot. What cannot be read does not: ``execute`` says what is wrong."""
        try:
            task = self._tasks.get(formats.decode(job.wire, job.queue, job.priority, self._max_bytes).task)
        except DecodeError:
            return False
        return task is not None and task.is_async

    # --- before the body ---------------------------------------------------------------------------------------------

    def _find(self, job: Job) -> tuple[Message, AnyTask] | Dead:
        size = len(job.wire)
        if size > self._max_bytes:
            error = DecodeError(f"the message of {size} bytes is larger than max_message_bytes={self._max_bytes}")
            return Dead(Reason.TOO_LARGE, failure_of(error))
        try:
            message = formats.decode(job.wire, job.queue, job.priority, self._max_bytes)
        except DecodeError as error:
            return Dead(Reason.UNDECODABLE, failure_of(error))
        task = self._tasks.get(message.task)
        if task is None:
            known = ", ".join(sorted(self._tasks)[:20]) or "none"
            unknown = LookupError(f"no task is named {message.task!r} here; known: {known}")
            return Dead(Reason.UNKNOWN_TASK, failure_of(unknown))
        return message, task if message.celery is None else as_called(task, message)

    def _prepare(self, job: Job) -> Attempt | Dead:
        found = self._find(job)
        if isinstance(found, Dead):
            return found
        message, task = found
        if job.start_by is not None and (late := monotonic() - job.start_by) >= 0:
            expired = TaskExpired(f"it could not be started before it expired, {late:.3f} s ago")
            return Dead(Reason.EXPIRED, failure_of(expired))
        is_chunk = CHUNK in message.headers
        try:
            if is_chunk:
                calls = chunk_of(task, message, job.inputs)
            elif job.inputs is not None:
                args, kwargs = arguments_of(task, message, job.inputs)
            else:
                args, kwargs = task.unpack(message)
        except DecodeError as error:
            return Dead(Reason.UNDECODABLE, failure_of(error))
        except BadArguments as error:
            return Dead(Reason.BAD_ARGUMENTS, failure_of(error))
        except Exception as error:  # noqa: BLE001 - a converter of the user's own classes may raise anything
            return Dead(Reason.BAD_ARGUMENTS, failure_of(error))
        context = Context(
            message.id,
            message.task,
            message.attempt,
            message.queue,
            message.priority,
            message.sent_at,
            job.fence,
            message.headers,
            self._is_stopping,
            self._voices.of(job.tag) if self._voices is not None else None,
            partial(concealed, task, message, job.inputs is not None) if self._middleware else str,
        )
        if is_chunk:
            return Attempt(message, in_turn(task, calls, context), (), {}, context)
        if task.takes_context:
            args = [context, *args]
        return Attempt(message, task, args, kwargs, context)

    # --- after the body ----------------------------------------------------------------------------------------------

    def _returned(self, attempt: Attempt, value: Any) -> Outcome:
        """A value that cannot be kept is not tried again: the body has done its work.

        What a flow, or a chain of Celery's, may hand on is packed though the task keeps no results.
        """
        try:
            result, content_type = attempt.task.pack_result(value)
            if result is None and (FLOW in attempt.message.headers or attempt.message.celery is not None):
                result = codec.encode(value, content_type)
            if result is not None and len(result) > self._max_bytes:
                advice = "" if FLOW in attempt.message.headers else ", or declare the task with store_results=False"
                raise EncodeError(
                    f"the result of {len(result)} bytes is larger than max_message_bytes={self._max_bytes}; "
                    f"store it elsewhere and return where{advice}"
                )
        except Exception as error:  # noqa: BLE001 - encoding calls methods of the user's classes
            return Dead(Reason.BAD_RESULT, failure_of(error))
        return Succeeded(result, content_type)

    def _failed(self, message: Message, task: AnyTask, error: BaseException) -> Outcome:
        """What the task's policy makes of an error."""
        _explain(error, task)
        if isinstance(error, Replaced):
            return self._replaced(message, task, error)
        failure = failure_of(error)
        if isinstance(error, Reject):
            return Dead(Reason.REJECTED, failure)
        policy, attempt = task.retry, message.attempt
        age = max(0.0, self._clock() - message.sent_at) if message.sent_at else 0.0
        try:
            if not isinstance(error, RetryRequested) and not policy.is_retryable(error, attempt, age):
                return Dead(_because(error, Reason.NOT_RETRYABLE), failure)
            if policy.is_exhausted(error, attempt, age):
                return Dead(_because(error, Reason.RETRIES_EXHAUSTED), failure)
            wanted = error.delay if isinstance(error, RetryRequested) else None
            delay = policy.delay(error, attempt, age) if wanted is None else float(wanted)
        except Exception as broken:  # noqa: BLE001 - a policy holds functions of the user's
            broken.__context__ = error
            return Dead(Reason.NOT_RETRYABLE, failure_of(broken))
        return Retrying(max(0.0, min(delay, LONGEST_DELAY)), failure)

    def _replaced(self, message: Message, task: AnyTask, verdict: Replaced) -> Outcome:
        """What a task put in its own place; one that cannot be sent has failed the attempt."""
        ttl = task.sender.config.flow_ttl if task.sender is not None else 0.0
        try:
            if message.celery is not None:
                raise ConfigError("a task that Celery sent cannot be replaced: its chain and chord would be lost")
            flow, made = replacement(verdict.canvas, message, now=self._clock(), ttl=ttl)
            with ExitStack() as stack:
                nodes = wrapped(self._middleware, made, stack, self._max_bytes)
        except Exception as error:  # noqa: BLE001 - it encodes arguments, and calls methods of the user's classes
            error.__context__ = verdict  # whose traceback says where in the task
            return self._failed(message, task, error)
        return ReplacedBy(tuple(flow), [tuple(node) for node in nodes])


def _await_body(attempt: Attempt) -> Awaitable[Any]:
    task = attempt.task
    return within(task.function(*attempt.args, **attempt.kwargs), task.soft_time_limit, task.time_limit)


def _explain(error: BaseException, task: AnyTask) -> None:
    """Give a limit that was raised in a thread its message: there, only the class could be handed over."""
    if error.args or type(error) not in (SoftTimeLimitExceeded, TimeLimitExceeded):
        return
    if isinstance(error, TimeLimitExceeded):
        error.args = (hard_message(task.time_limit or 0.0),)
    else:
        error.args = (soft_message(task.soft_time_limit or 0.0),)


def _because(error: BaseException, otherwise: Reason) -> Reason:
    return Reason.TIME_LIMIT if isinstance(error, TimeLimitExceeded) else otherwise
