"""``@task``: a function that can be called on another machine, with its own signature.

A ``Task`` is a definition. It knows its function, its options and how to make a ``Message`` of a call; what happens to
the message is the business of the ``Sender`` it is bound to.
"""

import re
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, cast

from taskbus import codec, context
from taskbus.arguments import Arguments
from taskbus.broker.joining import Transaction, check
from taskbus.config import Config
from taskbus.context import Context
from taskbus.errors import ConfigError
from taskbus.message import MAX_PRIORITY, MIN_PRIORITY, NO_HEADERS, Message, new_id
from taskbus.retry import RetryPolicy
from taskbus.store.results import AsyncResult
from taskbus.wire import compact

P = ParamSpec("P")
R = TypeVar("R")


class Sender(Protocol):
    """What a task needs of its application; ``TaskBus`` is the one that exists."""

    config: Config

    def now(self) -> float:
        """The broker's time."""

    def submit(self, message: Message, session: "Transaction | None" = None) -> None:
        """Send, or with a ``session`` make the message part of its transaction."""

    async def asubmit(self, message: Message, session: "Transaction | None" = None) -> None: ...

    def expect(self, task: "Task[..., R]", task_id: str) -> AsyncResult[R]: ...


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a decorator says about its task; None means: as the application's ``Config`` says.

    ``time_limit`` and ``soft_time_limit`` are seconds of one attempt. ``at_most_once`` acknowledges the message before
    the attempt: a crash loses it instead of running it again. ``result_ttl`` is in seconds.
    """

    name: str = ""
    queue: str | None = None
    retry: RetryPolicy | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    priority: int = 0
    at_most_once: bool = False
    store_results: bool | None = None
    result_ttl: float | None = None
    serializer: str | None = None


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What one call says beyond its arguments. Instants are Unix seconds."""

    queue: str | None = None
    priority: int | None = None
    due_at: float | None = None
    expires_at: float | None = None
    task_id: str | None = None
    headers: Mapping[str, str] | None = None


MAX_OWN_HEADERS = compact.MAX_HEADERS - 8
"""Headers a caller may set; the rest is room for those that TaskBus adds on the way."""
QUEUE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_PLAIN = CallOptions()
_DEFAULT_RETRY = RetryPolicy()


class Task(Generic[P, R]):
    """A function as a task. ``delay`` has the function's signature, without an injected ``Context``."""

    def __init__(self, function: Callable[..., Any], options: TaskOptions, sender: Sender | None = None) -> None:
        self.function = function
        self.options_given = options
        self.name = _text("name", options.name or name_of(function), "a task")
        self.is_async = iscoroutinefunction(function)
        self.arguments = Arguments(self.name, function)
        self.takes_context = self.arguments.takes_context
        self.retry = _policy(options.retry, self.name)
        self.time_limit = _positive("time_limit", options.time_limit, self.name)
        self.soft_time_limit = _positive("soft_time_limit", options.soft_time_limit, self.name)
        _must_be_ordered(self.soft_time_limit, self.time_limit, self.name)
        _positive("result_ttl", options.result_ttl, self.name)
        _queue(options.queue, self.name)
        _serializer(options.serializer, self.name)
        self.priority = _priority(options.priority)
        self.at_most_once = options.at_most_once
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", self.name)
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self.sender: Sender | None = None
        self.session: Transaction | None = None
        if sender is not None:
            self.bind(sender)

    def bind(self, sender: Sender) -> None:
        """Send through ``sender`` from now on, and take from its settings what the decorator left open."""
        config, given = sender.config, self.options_given
        self.sender = sender
        self.queue = given.queue or config.default_queue
        self.serializer = given.serializer or config.serializer
        self.store_results = config.store_results if given.store_results is None else given.store_results
        self.result_ttl = config.result_ttl if given.result_ttl is None else given.result_ttl

    # --- calling -------------------------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send a call of this task; when this returns, the broker has accepted it.

        Raises ``BadArguments``, ``EncodeError``, ``PayloadTooLarge`` (nothing was sent), ``PublishFailed`` (it will
        never run) or ``PublishUnknown`` (it may run).
        """
        return self._send(args, kwargs, _PLAIN)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As ``delay``, without blocking the event loop. Not part of a surrounding ``app.batch()``."""
        return await self._asend(args, kwargs, _PLAIN)

    def apply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: float | timedelta | None = None,
        eta: float | datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        priority: int | None = None,
        queue: str | None = None,
        task_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncResult[R]:
        """As ``delay``, in Celery's words. The arguments are checked when it is called, not by the type checker.

        ``countdown``: seconds from now. ``eta``: an instant (aware ``datetime``, or Unix seconds). ``expires``: seconds
        from now, or an aware ``datetime``; a task not started by then is buried as expired.
        """
        return self.options(
            countdown=countdown,
            eta=eta,
            expires=expires,
            priority=priority,
            queue=queue,
            task_id=task_id,
            headers=headers,
        ).send(args, kwargs or {})

    def options(
        self,
        *,
        countdown: float | timedelta | None = None,
        eta: float | datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        priority: int | None = None,
        queue: str | None = None,
        task_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Call[P, R]":
        """The same task, to be called with these options: ``task.options(countdown=60).delay(...)``; typed too."""
        if countdown is not None and eta is not None:
            raise ConfigError(f"{self.name}: give countdown or eta, not both")
        now = self._bound().now()
        due_at = _instant("eta", eta) if eta is not None else None if countdown is None else now + _seconds(countdown)
        return Call(
            self,
            CallOptions(
                queue=_queue(queue, self.name),
                priority=None if priority is None else _priority(priority),
                due_at=due_at,
                expires_at=_expiry(expires, now),
                task_id=None if task_id is None else _text("task_id", task_id, f"task {self.name!r}"),
                headers=headers,
            ),
        )

    def using(self, session: "Transaction") -> Self:
        """The same task, sent as part of the transaction that ``session`` is in: with its commit, or never.

        ``session``: a SQLAlchemy Session or Connection on the broker's own database, which must be SQL; with one of
        the async ones, ``await task.using(session).adelay(...)``. Not part of a surrounding ``app.batch()``, and not
        spooled. What the database refuses is raised as SQLAlchemy's own error.

        Raises ``ConfigError`` here for anything else than SQLAlchemy's, and when sent, for another database.
        """
        check(session, self.name)
        joined = object.__new__(type(self))
        joined.__dict__.update(self.__dict__, session=session)
        return joined

    def message(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions = _PLAIN) -> Message:
        """The message that a call makes, checked and encoded; nothing is sent."""
        sender = self._bound()
        self.arguments.check(args, kwargs)
        return Message(
            options.task_id or new_id(),
            self.name,
            codec.encode_call(args, kwargs, self.serializer),
            self.serializer,
            options.queue or self.queue,
            self.priority if options.priority is None else options.priority,
            1,
            sender.now(),
            options.due_at,
            options.expires_at,
            NO_HEADERS if options.headers is None else _text_headers(options.headers),
        )

    def _send(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions) -> AsyncResult[R]:
        message = self.message(args, kwargs, options)
        sender = self._bound()
        sender.submit(message, self.session)
        return sender.expect(self, message.id)

    async def _asend(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions) -> AsyncResult[R]:
        message = self.message(args, kwargs, options)
        sender = self._bound()
        await sender.asubmit(message, self.session)
        return sender.expect(self, message.id)

    def _bound(self) -> Sender:
        if self.sender is None:
            raise ConfigError(
                f"task {self.name!r} belongs to no application yet; "
                f"call app.include({self.__module__!r}) on the TaskBus that shall send it"
            )
        return self.sender

    # --- running: used by the executor ---------------------------------------------------------------------------

    def unpack(self, message: Message) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call; raises ``DecodeError`` or ``BadArguments``."""
        return self.arguments.unpack(message.body, message.content_type)

    def pack_result(self, value: Any) -> tuple[bytes | None, str]:
        """The return value as bytes and their encoding, None when the task keeps no results; raises ``EncodeError``."""
        return (codec.encode(value, self.serializer) if self.store_results else None), self.serializer

    def __reduce__(self) -> str:
        # As functions are: by module and name, where the same object is found again.
        return self.function.__qualname__

    def __repr__(self) -> str:
        return f"<Task {self.name}{self.arguments.signature}>"

    def _local_args(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.takes_context:
            return args
        return (context.current.get() or Context(task_id="", task=self.name), *args)


class SyncTask(Task[P, R]):
    """A ``def`` task."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, as if it were no task."""
        return cast(R, self.function(*self._local_args(args), **kwargs))


class AsyncTask(Task[P, R]):
    """An ``async def`` task."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """The coroutine of the function, as if it were no task."""
        return cast(Coroutine[Any, Any, R], self.function(*self._local_args(args), **kwargs))


@dataclass(frozen=True, slots=True)
class Call(Generic[P, R]):
    """A task with call options, ready to be sent any number of times."""

    task: Task[P, R]
    given: CallOptions

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As ``Task.delay``, with the options."""
        return self.task._send(args, kwargs, self.given)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As ``Task.adelay``, with the options."""
        return await self.task._asend(args, kwargs, self.given)

    def send(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> AsyncResult[R]:
        """As ``delay``, for arguments that are not known to the type checker."""
        return self.task._send(args, kwargs, self.given)


def name_of(function: Callable[..., Any]) -> str:
    """``module.function``; a script's ``__main__`` becomes the name it is imported by, so that workers know it too."""
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec is not None else Path(file).stem if file else module
    return f"{module}.{function.__qualname__}"


def _priority(value: int) -> int:
    if type(value) is not int or not MIN_PRIORITY <= value <= MAX_PRIORITY:
        raise ConfigError(
            f"priority {value!r} is not a whole number from {MIN_PRIORITY} to {MAX_PRIORITY} (higher is sooner)"
        )
    return value


def _positive(name: str, value: float | None, task: str) -> float | None:
    if value is not None and (not isinstance(value, int | float) or not value > 0):
        raise ConfigError(f"task {task!r}: {name}={value!r} must be a positive number of seconds")
    return value


def _must_be_ordered(soft: float | None, hard: float | None, task: str) -> None:
    if soft is not None and hard is not None and soft >= hard:
        raise ConfigError(
            f"task {task!r}: soft_time_limit={soft!r} would never be reached; it must be less than time_limit={hard!r}"
        )


def _policy(value: RetryPolicy | None, task: str) -> RetryPolicy:
    if value is None:
        return _DEFAULT_RETRY
    if not isinstance(value, RetryPolicy):
        raise ConfigError(
            f"task {task!r}: retry={value!r} is no RetryPolicy; write retry=RetryPolicy(stop=stop_after_attempt(3)), "
            "with tenacity's stop_after_attempt, or retry=RetryPolicy.never()"
        )
    return value


def _queue(value: str | None, task: str) -> str | None:
    if value is not None and not (isinstance(value, str) and QUEUE_NAME.fullmatch(value)):
        raise ConfigError(
            f"task {task!r}: queue={value!r} is no name of a queue; use 1 to 200 of the characters A-Z a-z 0-9 _ . : -"
        )
    return value


def _serializer(value: str | None, task: str) -> None:
    if value is not None and value not in codec.CONTENT_TYPES:
        raise ConfigError(f"task {task!r}: serializer={value!r} is not one of {', '.join(codec.CONTENT_TYPES)}")


def _text(name: str, value: str, of: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= compact.MAX_NAME:
        raise ConfigError(f"{of}: {name}={value!r} is not a text of 1 to {compact.MAX_NAME} characters")
    return value


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _instant(name: str, value: float | datetime) -> float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{name}={value!r} has no time zone; use datetime.now(UTC) or astimezone()")
        return value.timestamp()
    return float(value)


def _expiry(value: float | datetime | timedelta | None, now: float) -> float | None:
    if value is None:
        return None
    return _instant("expires", value) if isinstance(value, datetime) else now + _seconds(value)


def _text_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    fault = compact.header_fault(dict(headers))
    if not fault and len(headers) > MAX_OWN_HEADERS:
        fault = f"it has {len(headers)} headers, more than {MAX_OWN_HEADERS}"
    if fault:
        raise ConfigError(f"the message cannot be sent: {fault}")
    return headers
