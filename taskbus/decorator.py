"""The decorator ``@task``, typed: what it makes has the signature of the function it was given."""

from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from taskbus.context import Context
from taskbus.retry import RetryPolicy
from taskbus.task import AsyncTask, SyncTask, Task, TaskOptions

P = ParamSpec("P")
R = TypeVar("R")


class Loose:
    """Never an argument: only a first parameter that takes anything (``Any``, ``object``, no annotation) would take it.

    Such a parameter would take a ``Context`` too, so type checkers would believe it injected. The first overloads below
    catch these functions, and leave their arguments to the check made when they are called.
    """


class Decorator(Protocol):
    """What ``@task(...)`` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Loose, ...], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[..., R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Loose, ...], R], /) -> SyncTask[..., R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class TaskFactory:
    """The decorator itself: ``@task``, ``@task(queue=...)``, and the same on an application."""

    def __init__(self, adopt: Callable[[Task[..., Any]], None]) -> None:
        self._adopt = adopt

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Loose, ...], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[..., R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Loose, ...], R], /) -> SyncTask[..., R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        name: str = "",
        queue: str | None = None,
        retry: RetryPolicy | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        priority: int = 0,
        at_most_once: bool = False,
        store_results: bool | None = None,
        result_ttl: float | None = None,
        serializer: str | None = None,
    ) -> Decorator: ...

    def __call__(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a task of a function. For the options see ``TaskOptions``."""
        given = TaskOptions(**options)
        return self._make(function, given) if function is not None else lambda f: self._make(f, given)

    def _make(self, function: Callable[..., Any], options: TaskOptions) -> Task[..., Any]:
        kind = AsyncTask if iscoroutinefunction(function) else SyncTask
        made: Task[..., Any] = kind(function, options)
        self._adopt(made)
        return made


def _adopt_later(_: Task[..., Any]) -> None:
    """A task without an application waits in its module until ``app.include(module)`` finds it."""


task = TaskFactory(_adopt_later)
"""Makes a task that belongs to no application yet: for libraries, adopted by ``app.include("their.module")``."""
