"""``AsyncResult`` and ``GroupResult``: what came of a call, in Celery's words."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import taskbus
from taskbus import State
from taskbus_celery import states
from taskbus_celery.exceptions import ChordError, NotSupported, TaskRevokedError, TimeoutError
from taskbus_celery.rebuilding import exception_of
from taskbus_celery.state import get_current_app, running
from taskbus_celery.tracing import IGNORED_VALUE

_CAUSE = re.compile(r"task (\S+) \((\S+)\) failed: ")
_FLOW_FAILED = "taskbus.errors.FlowFailed"
_may_wait: ContextVar[bool] = ContextVar("taskbus_celery_may_wait", default=False)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let a task wait for another one; where all slots wait so, none of them ever ends."""
    token = _may_wait.set(True)
    try:
        yield
    finally:
        _may_wait.reset(token)


def assert_will_not_block() -> None:
    """Raise ``RuntimeError`` in a task that a worker runs; one that is called here and now may wait."""
    in_worker = any(not frame.request.is_eager and not frame.request.called_directly for frame in running.get())
    if in_worker and not _may_wait.get():
        raise RuntimeError(
            "Never call result.get() within a task! See "
            "https://docs.celeryq.dev/en/latest/userguide/tasks.html#avoid-launching-synchronous-subtasks"
        )


class AsyncResult:
    """The result of a call, by its id; ``parent`` is that of what runs before it in its workflow, where it is known."""

    TimeoutError = TimeoutError

    def __init__(
        self, id: str, backend: Any = None, task_name: str | None = None, app: Any = None, parent: Any = None
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self.id = self.task_id = id
        self.app = app or get_current_app()
        self.parent = parent
        self.task_name = task_name
        bus = self.app.bus
        queue = self.app.callee(task_name).queue if task_name else bus.config.default_queue
        self.inner = bus.result(id, queue=queue)

    @property
    def ignored(self) -> bool:
        """Whether its task keeps no results."""
        task = self.app.tasks.get(self.task_name) if self.task_name else None
        return bool(task is not None and task.ignore_result)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Any = None,
        on_interval: Any = None,
        disable_sync_subtasks: bool = True,
        **_: Any,
    ) -> Any:
        """The value, as soon as it is there; the task's exception is raised, or with ``propagate=False`` returned.

        Raises ``TimeoutError`` where it is not there in time.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block()
        if propagate and follow_parents:
            self._throw_for_parents()
        if not self.inner.wait(timeout).is_final or self._is_ignored():
            raise TimeoutError("The operation timed out.")
        if propagate and follow_parents:
            self._throw_for_parents()
        self.maybe_throw(propagate=propagate)
        if callback is not None:
            callback(self.id, self.result)
        return self.result

    wait = get

    def maybe_throw(self, propagate: bool = True, callback: Any = None) -> Any:
        """Raise the task's exception if it has failed; the value otherwise."""
        has_failed = self.state in states.PROPAGATE_STATES  # asked first: it may fail between the two
        found = self.result
        if propagate and has_failed:
            raise found
        return found

    throw = maybe_reraise = maybe_throw

    @property
    def state(self) -> str:
        """How the task stands; what it said itself by ``update_state`` counts until it has ended."""
        state = self.inner.state
        if state.is_final and not self._is_ignored():
            return str(state)
        said = self._said()
        if said is not None:
            return str(said[0])
        return states.PENDING if state.is_final else str(state)

    status = state

    @property
    def result(self) -> Any:
        """The value, the exception, or what ``update_state`` was given as ``meta``."""
        state = self.inner.state
        if state is State.SUCCESS and not self._is_ignored():
            return self.inner.get(0)
        if state.is_final and state is not State.SUCCESS:
            return self._exception()
        said = self._said()
        if said is not None:
            return said[1]
        return None if self.inner.failure is None or state.is_final else exception_of(self.inner.failure)

    info = result

    def _throw_for_parents(self) -> None:
        """Raise the exception of what has failed before it in its workflow, the first one's first."""
        above, line = self.parent, []
        while above is not None:
            line.append(above)
            above = above.parent
        for each in reversed(line):
            each.maybe_throw()

    def _said(self) -> Any:
        return self.app.bus.notes.last(self.id)

    def _is_ignored(self) -> bool:
        return self.inner.state is State.SUCCESS and self.inner.get(0) == IGNORED_VALUE

    def _exception(self) -> BaseException:
        failure = self.inner.failure
        if failure is None or self.inner.state is State.REVOKED:
            is_late = failure is not None and failure.type.endswith("Expired")
            return TaskRevokedError("expired" if is_late else "revoked")
        cause = _CAUSE.match(failure.message) if failure.type == _FLOW_FAILED else None
        if cause is None:
            return exception_of(failure)
        first = AsyncResult(cause[2], app=self.app)
        error = first.result if first.state in states.PROPAGATE_STATES else exception_of(failure)
        if isinstance(self.parent, GroupResult):
            return ChordError(f"Dependency {cause[2]} raised {error!r}")
        found: BaseException = error
        return found

    @property
    def traceback(self) -> str | None:
        """The text of the task's traceback, None where there is none."""
        failure = self.inner.failure
        return None if failure is None else failure.traceback or None

    @property
    def date_done(self) -> datetime | None:
        """When it ended."""
        self.inner.state  # noqa: B018 - reads what is recorded
        final = self.inner.final
        return None if final is None else datetime.fromtimestamp(final.finished_at, UTC)

    @property
    def name(self) -> str | None:
        """The task's name, once it has ended."""
        final = self.inner.final
        return self.task_name if final is None else final.task

    @property
    def retries(self) -> int | None:
        """How often it was tried again, once it has ended."""
        self.inner.state  # noqa: B018 - reads what is recorded
        final = self.inner.final
        return None if final is None else final.attempt - 1

    @property
    def children(self) -> list[Any]:
        """Not known; nothing."""
        return []

    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """Whether it has succeeded."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Whether it has failed."""
        return self.state == states.FAILURE

    def forget(self) -> None:
        """Delete the result."""
        self.inner.forget()
        if self.parent is not None:
            self.parent.forget()

    def revoke(self, connection: Any = None, terminate: bool = False, signal: Any = None, **_: Any) -> None:
        """Call the task off, as far as TaskBus can."""
        self.app.control.revoke(self.id, terminate=terminate, signal=signal)

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> Any:
        """Not had."""
        raise NotSupported("AsyncResult.then: use link= of the call, or `await app.bus.result(id).aget()`")

    def as_tuple(self) -> Any:
        """The id, and the parents', as Celery serialises them."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """The id, and the parents'."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else [])]

    def __eq__(self, other: object) -> bool:
        return self.id == (other.id if isinstance(other, AsyncResult) else other)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __reduce__(self) -> Any:
        return AsyncResult, (self.id, None, self.task_name)


class ResultSet:
    """Results together, in their order."""

    def __init__(self, results: Sequence[Any], app: Any = None, **_: Any) -> None:
        self.app = app
        self.results = list(results)

    @property
    def children(self) -> list[Any]:
        """The results."""
        return self.results

    def add(self, result: Any) -> None:
        """One more, if it is not there."""
        if result not in self.results:
            self.results.append(result)

    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """All values; the first exception is raised, or with ``propagate=False`` stands in its place."""
        deadline = None if timeout is None else monotonic() + timeout
        found = []
        for each in self.results:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            found.append(each.get(timeout=left, propagate=propagate, **options))
        return found

    join = join_native = get

    def iterate(self, timeout: float | None = None, propagate: bool = True, **_: Any) -> Iterator[Any]:
        """The values, as they arrive."""
        inner = {each.id: each for each in self.results}
        for arrived in taskbus.as_completed([each.inner for each in self.results], timeout):
            yield inner[arrived.id].get(propagate=propagate)

    def ready(self) -> bool:
        """Whether all have ended."""
        return all(each.ready() for each in self.results)

    def successful(self) -> bool:
        """Whether all have succeeded."""
        return all(each.successful() for each in self.results)

    def failed(self) -> bool:
        """Whether one has failed."""
        return any(each.failed() for each in self.results)

    def waiting(self) -> bool:
        """Whether one has not ended."""
        return any(not each.ready() for each in self.results)

    def completed_count(self) -> int:
        """How many have succeeded."""
        return sum(int(each.successful()) for each in self.results)

    def maybe_throw(self, callback: Any = None, propagate: bool = True) -> None:
        """Raise the exception of one that has failed."""
        for each in self.results:
            each.maybe_throw(propagate=propagate)

    def forget(self) -> None:
        """Delete the results."""
        for each in self.results:
            each.forget()

    def revoke(self, **options: Any) -> None:
        """Call the tasks off."""
        for each in self.results:
            each.revoke(**options)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(each) for each in self.results)}]>"


class GroupResult(ResultSet):
    """The results of a group."""

    def __init__(
        self, id: str | None = None, results: Sequence[Any] = (), parent: Any = None, app: Any = None, **_: Any
    ) -> None:
        super().__init__(results, app)
        self.id = id
        self.parent = parent

    def save(self, backend: Any = None) -> None:
        """Not had."""
        raise NotSupported("GroupResult.save: keep group.id and the ids of its results yourself; app.AsyncResult(id)")

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:
        """Not had."""
        raise NotSupported("GroupResult.restore: keep the ids of the results yourself; app.AsyncResult(id)")

    def as_tuple(self) -> Any:
        """The ids, as Celery serialises them."""
        return (self.id, self.parent and self.parent.as_tuple()), [each.as_tuple() for each in self.results]

    def __str__(self) -> str:
        return str(self.id)
