"""What is current: the app, and the task that runs in this thread or coroutine."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from taskbus_celery.request import Request


class Frame(NamedTuple):
    """A task that runs, and its request."""

    task: Any
    request: Request


running: ContextVar[tuple[Frame, ...]] = ContextVar("taskbus_celery_running", default=())
"""The tasks that run here, one calling the other; the innermost is the last."""
apps: list[Any] = []
"""Every app there is, in the order in which they were made."""
shared: list[Callable[[Any], Any]] = []
"""What adds each ``shared_task`` to an app."""
_current: list[Any] = []
_make_default: list[Callable[[], Any]] = []


def set_current_app(app: Any) -> None:
    """The app that tasks without one belong to from now on."""
    _current[:] = [app]


def set_default_app(make: Callable[[], Any]) -> None:
    """How to make an app where there is none."""
    _make_default[:] = [make]


def get_current_app() -> Any:
    """The app made last, or a default one."""
    if not _current:
        _make_default[0]()
    return _current[0]


def get_current_task() -> Any:
    """The innermost task that runs here, None if none does."""
    frames = running.get()
    return frames[-1].task if frames else None


def get_current_worker_task() -> Any:
    """The outermost task that runs here: the one that the worker was given; None if none runs."""
    frames = running.get()
    return frames[0].task if frames else None


class Proxy:
    """Stands for what a function returns, each time it is used."""

    __slots__ = ("__find",)

    def __init__(self, find: Callable[[], Any]) -> None:
        object.__setattr__(self, "_Proxy__find", find)

    def _get_current_object(self) -> Any:
        return object.__getattribute__(self, "_Proxy__find")()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._get_current_object())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        found = other._get_current_object() if type(other) is Proxy else other
        return bool(self._get_current_object() == found)

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())


current_app: Any = Proxy(get_current_app)
current_task: Any = Proxy(get_current_task)
