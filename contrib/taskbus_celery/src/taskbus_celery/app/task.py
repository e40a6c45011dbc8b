"""``Task``: the base of every task, with Celery's attributes, hooks and ways to be called."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from taskbus_celery import canvas, django, eager, repeating, retrying, sending, tracing
from taskbus_celery.exceptions import MaxRetriesExceededError, NotSupported, warn_once
from taskbus_celery.request import Request
from taskbus_celery.state import get_current_app, running

EXEC_OPTIONS = ("queue", "routing_key", "exchange", "priority", "expires")
"""Attributes of a task that are options of its calls."""
HONOURED = frozenset({
    "abstract", "acks_late", "acks_on_failure_or_timeout", "app", "autoretry_for", "base", "bind",
    "default_retry_delay", "dont_autoretry_for", "ignore_result", "max_retries", "name", "reject_on_worker_lost",
    "retry_backoff", "retry_backoff_max", "retry_jitter", "retry_kwargs", "serializer", "shared", "soft_time_limit",
    "store_errors_even_if_ignored", "throws", "time_limit", "track_started", "trail", "typing", "lazy", *EXEC_OPTIONS,
})  # fmt: skip
"""Options of ``@app.task`` that mean what they mean for Celery, or ask for what is always so."""
DIFFERENT: Mapping[str, str] = {
    "rate_limit": "it cannot be said in code; taskbus control rate_limit NAME 10/m tells running workers, each of them",
    "compression": "messages are not compressed",
    "pydantic": "annotate the parameters of a @taskbus.task with models: they are converted by themselves",
    "send_events": "telemetry is switched on for a worker, not for a task",
    "delivery_mode": "messages are always durable",
    "store_eager_result": "results of eager calls are not stored",
    "resultrepr_maxsize": "results are not shown in the log",
}
"""What to say of options that have no effect. Other names are attributes of the user's own."""


class Task:
    """A task. ``self.app``, ``self.name`` and ``self.request`` are what they are for Celery."""

    abstract = True
    app: Any = None
    name: Any = None
    typing = True
    max_retries: int | None = 3
    default_retry_delay: float = 180
    ignore_result: bool | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    serializer: str | None = None
    priority: int | None = None
    queue: str | None = None
    routing_key: str | None = None
    exchange: str | None = None
    expires: Any = None
    rate_limit: str | None = None
    acks_late = True
    autoretry_for: ClassVar[Any] = ()
    dont_autoretry_for: ClassVar[Any] = ()
    retry_kwargs: ClassVar[Mapping[str, Any]] = {}
    retry_backoff: Any = False
    retry_backoff_max: float = 600
    retry_jitter = True
    throws: ClassVar[Any] = ()
    trail = True
    track_started = False
    MaxRetriesExceededError = MaxRetriesExceededError

    body: Callable[..., Any]
    """What an attempt calls; set when an app takes the task."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body of the task."""
        raise NotImplementedError("Tasks must define the run method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body here and now, as a function."""
        request = Request(args=list(args), kwargs=dict(kwargs), called_directly=True)
        with tracing.pushed(self, request):
            return self.run(*args, **kwargs)

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Called when an app takes the task; a base may override it."""
        cls.app = app
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when an app has taken the task."""

    @property
    def request(self) -> Request:
        """That of the attempt which runs here, or an empty one."""
        for frame in reversed(running.get()):
            if frame.task is self or frame.task.name == self.name:
                found: Request = frame.request
                return found
        return Request()

    # --- calling -------------------------------------------------------------------------------------------------

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send a call."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any:
        """Send a call with options; for what each of them means here see ``docs/howto/coming_from_celery.md``.

        Raises ``TypeError`` for arguments that do not fit, ``OperationalError`` where the broker does not take it.
        """
        if self.typing:
            self._check(args or (), kwargs or {})
        chosen = {"task_id": task_id, "link": link, "link_error": link_error, **options}
        call = self.signature(args, kwargs, **{key: value for key, value in chosen.items() if value is not None})
        return self.app.send_signature(call)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "eager.EagerResult":
        """Run a call here and now, with retries and hooks; the result is there when this returns."""
        return eager.apply(
            self, args or (), kwargs or {}, link=link, link_error=link_error, task_id=task_id, retries=retries or 0,
            throw=throw, headers=headers, **options,
        )  # fmt: skip

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Send a call when Django's present transaction is committed."""
        django.on_commit(lambda: self.delay(*args, **kwargs))

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: Any = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """End this attempt and try again: raises ``Retry``, or ``exc`` where no retry is left.

        With ``throw=False`` the attempt goes on, and is tried again when it has ended.
        """
        return retrying.retry(self, args, kwargs, exc, throw, eta, countdown, max_retries, options)

    def replace(self, sig: Any) -> Any:
        """End this attempt and let a signature take the task's place, id and result."""
        return sending.replace(self, sig)

    # --- signatures ----------------------------------------------------------------------------------------------

    def signature(self, args: Sequence[Any] | None = None, kwargs: Any = None, **options: Any) -> Any:
        """A call to be made later."""
        immutable = options.pop("immutable", False)
        given = options.pop("options", {})
        return canvas.Signature(
            self, tuple(args or ()), dict(kwargs or {}), {**given, **options}, immutable=immutable, app=self.app
        )

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Any:
        """A call to be made later, that takes the value of what runs before it as its first argument."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        """A call to be made later, with just these arguments."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """Calls in messages of ``n`` each."""
        return repeating.chunks(self.s(), it, n, app=self.app)

    def map(self, it: Iterable[Any]) -> Any:
        """A call for each item, all in one message."""
        return repeating.xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Any:
        """As ``map``; each item holds the arguments of a call."""
        return repeating.xstarmap(self.s(), it, app=self.app)

    # --- results -------------------------------------------------------------------------------------------------

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:
        """The result of a call, by its id."""
        return self.app.AsyncResult(task_id, task_name=self.name, **kwargs)

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_: Any) -> None:
        """Say how far the task is: ``state`` and ``meta`` are what ``AsyncResult`` shows until the task has ended."""
        task_id = task_id or self.request.id
        if task_id is None:
            raise ValueError("task_id must not be empty; call this in a task, or name one")
        self.app.bus.notes.keep(task_id, [state, meta])

    def send_event(self, type_: str, **fields: Any) -> None:
        """Not had."""
        warn_once(f"send_event({type_!r}) sends nothing: there are no events of a task's own in TaskBus")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Not had."""
        raise NotSupported("add_to_chord: add members to a batch instead, TaskBus.open_batch(ctx.flow_id)")

    def add_trail(self, result: Any) -> Any:
        """The result."""
        return result

    # --- hooks, for those who override them ------------------------------------------------------------------------

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the body."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when the body has returned."""

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task is to be tried again."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task has failed."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called at the end of an attempt that is not to be tried again."""

    def on_replace(self, sig: Any) -> Any:
        """Called where the task is replaced; must return what this returns."""
        return sending.replaced(self, sig)

    # --- for this package --------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make it ready to run, with what settings say of it, once; for this package."""
        if "body" in vars(self):
            return
        conf = self.app.conf
        for annotation in annotations_of(conf.task_annotations, self.name):
            for key, value in annotation.items():
                setattr(self, key, value.__get__(self) if inspect.isfunction(value) else value)
        for name, words in DIFFERENT.items():
            if getattr(self, name, None):
                warn_once(f"task {self.name}: {name}={getattr(self, name)!r} has no effect here: {words}")
        if inspect.iscoroutinefunction(self.run):
            raise NotSupported(f"task {self.name} is async, which no task of Celery's can be: use @app.bus.task for it")
        self.run = retrying.with_autoretry(self, self.run)  # type: ignore[method-assign]
        if self.ignore_result is None:
            self.ignore_result = bool(conf.task_ignore_result)
        for limit in ("time_limit", "soft_time_limit"):
            if getattr(self, limit) is None:
                setattr(self, limit, conf[f"task_{limit}"])
        self.body = self if type(self).__call__ is not Task.__call__ else self.run

    def _check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        try:
            signature = inspect.signature(self.run)
        except ValueError:
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{signature}: {error}") from None

    @property
    def __name__(self) -> str:
        return str(type(self).__qualname__)

    @property
    def backend(self) -> Any:
        """Not had."""
        return self.app.backend

    def __reduce__(self) -> Any:
        return _found_again, (self.name,)

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app!r}>"


def _found_again(name: str) -> Any:
    return get_current_app().tasks[name]


def annotations_of(given: Any, name: str) -> list[Mapping[str, Any]]:
    """What ``task_annotations`` say of a task: for all tasks first, then for this one."""
    found = []
    for rules in given if isinstance(given, list | tuple) else [given]:
        if isinstance(rules, Mapping):
            found += [rules[key] for key in ("*", name) if key in rules]
        elif rules is not None:
            warn_once("task_annotations can be dicts here; objects with methods have no effect")
    return found
