"""``@task``: a function that can be called on another machine, with its own signature.

A ``Task`` is a definition. It knows its function, its options and how to make a ``Message`` of a call; what happens to
the message is the business of the ``Sender`` it is bound to.
"""

import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from taskbus import codec, context
from taskbus.arguments import Arguments
from taskbus.broker.joining import Transaction, check
from taskbus.context import Context
from taskbus.errors import ConfigError
from taskbus.message import NO_HEADERS, Message, new_id
from taskbus.options import (
    PLAIN,
    CallOptions,
    TaskOptions,
    call_options,
    must_be_ordered,
    policy_option,
    positive_option,
    priority_option,
    queue_option,
    serializer_option,
    text_option,
)
from taskbus.store.results import AsyncResult
from taskbus.workflow.canvas import Canvas, Group
from taskbus.workflow.chunks import chunked
from taskbus.workflow.failed import FailedTask
from taskbus.workflow.shape import Sender
from taskbus.workflow.signature import Signature

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Wanting(Protocol[T_contra, Q, R_co]):
    """A task seen as its first parameter and the others: mypy finds what the first is only by a method that has it."""

    def delay(self, first: T_contra, /, *args: Q.args, **kwargs: Q.kwargs) -> AsyncResult[R_co]: ...


class Wanted(Protocol[T_contra, R_co]):
    """A task seen as its first parameter alone: it can be called with just that."""

    def delay(self, first: T_contra, /) -> AsyncResult[R_co]: ...


class Task(Generic[P, R]):
    """A function as a task. ``delay`` has the function's signature, without an injected ``Context``."""

    def __init__(self, function: Callable[..., Any], options: TaskOptions, sender: Sender | None = None) -> None:
        self.function = function
        self.options_given = options
        self.name = text_option("name", options.name or name_of(function), "a task")
        self.is_async = iscoroutinefunction(function)
        self.arguments = Arguments(self.name, function)
        self.takes_context = self.arguments.takes_context
        self.retry = policy_option(options.retry, self.name)
        self.time_limit = positive_option("time_limit", options.time_limit, self.name)
        self.soft_time_limit = positive_option("soft_time_limit", options.soft_time_limit, self.name)
        must_be_ordered(self.soft_time_limit, self.time_limit, self.name)
        positive_option("result_ttl", options.result_ttl, self.name)
        queue_option(options.queue, self.name)
        serializer_option(options.serializer, self.name)
        self.priority = priority_option(options.priority)
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
        return self._send(args, kwargs, PLAIN)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As ``delay``, without blocking the event loop. Not part of a surrounding ``app.batch()``."""
        return await self._asend(args, kwargs, PLAIN)

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
        link: "Canvas[R, Any, Any] | Iterable[Canvas[R, Any, Any]] | None" = None,
        link_error: "Canvas[FailedTask, Any, Any] | Iterable[Canvas[FailedTask, Any, Any]] | None" = None,
    ) -> AsyncResult[R]:
        """As ``delay``, in Celery's words. The arguments are checked when it is called, not by the type checker.

        ``countdown``: seconds from now. ``eta``: an instant (aware ``datetime``, or Unix seconds). ``expires``: seconds
        from now, or an aware ``datetime``; a task not started by then is buried as expired. ``link``, ``link_error``:
        what to run when it has succeeded, or failed for good; see ``Signature``.
        """
        chosen = call_options(
            self.name, countdown=countdown, eta=eta, expires=expires, priority=priority, queue=queue, task_id=task_id,
            headers=headers,
        )  # fmt: skip
        if link is None and link_error is None:
            return self._send(args, kwargs or {}, chosen.at(self.application().now()))
        call: Signature[Any, R] = Signature(self, tuple(args), kwargs or {}, chosen=chosen)
        return call.apply_async(link=link, link_error=link_error)

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
        chosen = call_options(
            self.name, countdown=countdown, eta=eta, expires=expires, priority=priority, queue=queue, task_id=task_id,
            headers=headers,
        )  # fmt: skip
        return Call(self, chosen.at(self.application().now()))

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

    def message(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions = PLAIN) -> Message:
        """The message that a call makes, checked and encoded; nothing is sent."""
        sender = self.application()
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
            options.headers or NO_HEADERS,
        )

    def _send(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions) -> AsyncResult[R]:
        message = self.message(args, kwargs, options)
        sender = self.application()
        sender.submit(message, self.session)
        return sender.expect(self, message.id, queue=message.queue)

    async def _asend(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions) -> AsyncResult[R]:
        message = self.message(args, kwargs, options)
        sender = self.application()
        await sender.asubmit(message, self.session)
        return sender.expect(self, message.id, queue=message.queue)

    def application(self) -> Sender:
        """What it is bound to; raises ``ConfigError`` where it is to nothing."""
        if self.sender is None:
            raise ConfigError(
                f"task {self.name!r} belongs to no application yet; "
                f"call app.include({self.__module__!r}) on the TaskBus that shall send it"
            )
        return self.sender

    # --- in workflows ------------------------------------------------------------------------------------------------

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[object, R]: ...
    @overload
    def s(self: Wanting[T, Q, R], *args: Q.args, **kwargs: Q.kwargs) -> Signature[T, R]: ...
    def s(self, *args: Any, **kwargs: Any) -> Any:
        """A call to be made later: of all arguments, or of all but the first, which is the value of what runs before.

        In a workflow it is given that value in any case; ``si`` makes one that is given nothing.
        """
        return Signature(self, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[object, R]:
        """A call to be made later with just these arguments, whatever runs before it."""
        self.arguments.check(args, kwargs)
        return Signature(self, args, kwargs, is_immutable=True)

    def map(self: Wanted[T, R], items: Iterable[T]) -> Group[object, R]:
        """A group of calls, one for each item: a message each, so that they run side by side, unlike Celery's."""
        task: Any = self
        return Group(tuple(Signature(task, (item,), is_immutable=True) for item in items))

    def starmap(self, items: Iterable[Sequence[Any]]) -> Group[object, R]:
        """As ``map``; each item is the list of one call's positional arguments."""
        return Group(tuple(Signature(self, tuple(item), is_immutable=True) for item in items))

    def chunks(self, items: Iterable[Sequence[Any]], size: int) -> Group[object, list[R]]:
        """As ``starmap``, with ``size`` calls in each message, made in turn: for tasks that are shorter than a send.

        A message gives the list of its values, and is one attempt: it fails with the first call that does, and its
        retry makes all of them again. Time limits are for all of it.
        """
        return Group(
            tuple(Signature(self, (calls,), is_immutable=True, is_chunk=True) for calls in chunked(self, items, size))
        )

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
