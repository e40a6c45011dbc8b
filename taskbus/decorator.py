"""The decorator ``@task``, typed: what it makes has the signature of the function it was given."""

from collections.abc import Callable, Coroutine
from dataclasses import fields
from difflib import get_close_matches
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, ismethod, unwrap
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from taskbus.context import Context
from taskbus.errors import ConfigError
from taskbus.options import TaskOptions
from taskbus.retry import RetryPolicy
from taskbus.schedule.timetable import Timetable
from taskbus.task import AsyncTask, SyncTask, Task

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
        schedule: Timetable | None = None,
    ) -> Decorator: ...

    def __call__(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a task of a function. For the options see ``TaskOptions``.

        Raises ``ConfigError`` for what is no function, and for an option that makes no sense.
        """
        for option in options.keys() - _OPTIONS:
            near = get_close_matches(option, _OPTIONS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_OPTIONS)}"
            raise ConfigError(f"@task has no option {option!r}; {hint}")
        given = TaskOptions(**options)
        return self._make(function, given) if function is not None else lambda f: self._make(f, given)

    def _make(self, function: Callable[..., Any], options: TaskOptions) -> Task[..., Any]:
        fault = _fault(function, options.name)
        if fault:
            raise ConfigError(f"@task cannot make a task of {function!r}: {fault}")
        kind = AsyncTask if iscoroutinefunction(function) else SyncTask
        made: Task[..., Any] = kind(function, options)
        self._adopt(made)
        return made


_OPTIONS = [field.name for field in fields(TaskOptions)]


def _fault(function: Any, name: str) -> str:
    """Why no worker could run this by its name and arguments; "" if one can."""
    if isinstance(function, Task):
        return "it is a task already; app.include() adopts the tasks of a module"
    if isinstance(function, type):
        return "it is a class, and tasks are functions; write one that calls it"
    if ismethod(function) or isinstance(function, classmethod):
        return "it is a method, and tasks are functions; write one that calls it"
    if not callable(function) or not hasattr(function, "__qualname__"):
        return "tasks are functions; write one with def or async def"
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        return "it yields, and a task returns its result; write return"
    if function.__name__ == "<lambda>" and not name:
        return "a lambda has no name that a worker could find it by; give it one with name=..."
    outer, _, _ = function.__qualname__.rpartition(".")
    code = getattr(unwrap(function), "__code__", None)
    if outer and not outer.endswith("<locals>") and code is not None and code.co_varnames[:1] in (("self",), ("cls",)):
        return f"it is a method of {outer}, and tasks are functions; move it out of the class"
    return ""


def _adopt_later(_: Task[..., Any]) -> None:
    """A task without an application waits in its module until ``app.include(module)`` finds it."""


task = TaskFactory(_adopt_later)
"""Makes a task that belongs to no application yet: for libraries, adopted by ``app.include("their.module")``."""
