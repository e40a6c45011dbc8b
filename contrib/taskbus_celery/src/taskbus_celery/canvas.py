"""Signatures, chains, groups and chords as Celery has them: dicts that can be changed, sent and serialised.

How they become workflows of TaskBus is the business of ``sending``.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

from taskbus_celery.exceptions import NotSupported
from taskbus_celery.state import get_current_app

CHAIN, GROUP, CHORD = "celery.chain", "celery.group", "celery.chord"


class Signature(dict[str, Any]):
    """A call of a task, to be made later: ``task``, ``args``, ``kwargs``, ``options`` and ``immutable``."""

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Any = None,
        **more: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(deepcopy(dict(task)))
            return
        if task is not None and not isinstance(task, str):
            self._app = app or getattr(task, "app", None)
            task = task.name
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **more},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], app: Any = None) -> "Signature":
        """The signature that a dict holds, of the class that fits."""
        kind = _KINDS.get(given.get("subtask_type") or "", Signature)
        made = kind.__new__(kind)
        dict.__init__(made, deepcopy(dict(given)))
        made._app = app
        return made

    # --- what it holds -------------------------------------------------------------------------------------------

    task = name = property(lambda self: self["task"], doc="The task's name.")
    args = property(lambda self: self["args"], doc="Positional arguments.")
    kwargs = property(lambda self: self["kwargs"], doc="Arguments by name.")
    options = property(lambda self: self["options"], doc="Options of the call.")
    subtask_type = property(lambda self: self.get("subtask_type"), doc="Which kind of workflow it is, None for a call.")

    @property
    def immutable(self) -> bool:
        return bool(self.get("immutable"))

    @property
    def id(self) -> Any:
        return self.options.get("task_id")

    @property
    def app(self) -> Any:
        return self._app or get_current_app()

    @property
    def type(self) -> Any:
        """The task itself, of those that the app knows."""
        return self.app.tasks[self.task]

    # --- calling -------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here and now, as a function."""
        merged, named, _ = self._merge(args, kwargs, {})
        return self.type(*merged, **named)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with these arguments before its own."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Sequence[Any] = (), kwargs: Any = None, **options: Any) -> Any:
        """Send it, with these arguments before its own, and options."""
        return self.app.send_signature(self.clone(args, kwargs, **options))

    def apply(self, args: Sequence[Any] = (), kwargs: Any = None, **options: Any) -> Any:
        """Run it here and now; the result is there when this returns."""
        return self.app.run_signature(self.clone(args, kwargs, **options))

    # --- changing ------------------------------------------------------------------------------------------------

    def _merge(self, args: Any, kwargs: Any, options: Any) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        merged = {**self.options, **(options or {})}
        if self.immutable:
            return tuple(self.args), dict(self.kwargs), merged
        return (*(args or ()), *self.args), {**self.kwargs, **(kwargs or {})}, merged

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Self:
        """A copy, with these arguments before its own, and options."""
        made = type(self).__new__(type(self))
        dict.__init__(made, deepcopy({key: value for key, value in self.items() if key != "app"}))
        made._app = self._app
        if type(self) is Signature or made.subtask_type is None:
            made["args"], made["kwargs"], made["options"] = made._merge(args, kwargs, options)
        else:
            made["options"] = {**made.options, **options}
            made._feed(tuple(args or ()), dict(kwargs or {}))
        return made

    partial = clone

    def _feed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Give arguments to the first tasks of a workflow."""
        if args or kwargs:
            self["args"] = (*args, *self.get("args", ()))
            self.setdefault("given", {}).update(kwargs)

    def freeze(self, _id: str | None = None, **_: Any) -> Any:
        """Fix the ids of all its tasks, and return its result."""
        return self.app.freeze_signature(self, _id)

    _freeze = freeze

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options; returns itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether it is given nothing by what runs before it."""
        self["immutable"] = immutable

    def link(self, callback: Any) -> Any:
        """Call it when this has succeeded, with the value; returns the callback."""
        return self._append("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call it when this has failed; returns the callback."""
        return self._append("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """As ``link_error``; returns itself."""
        self.link_error(errback)
        return self

    def _append(self, key: str, callback: Any) -> Any:
        found = listed(self.options.get(key))
        if callback not in found:
            found.append(callback)
        self.options[key] = found
        return callback

    # --- combining -----------------------------------------------------------------------------------------------

    def __or__(self, other: Any) -> Any:
        """This, then the other one, which is given the value."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return joined([*_steps(self), *_steps(maybe_signature(other, self._app))], self._app)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Signature":
        return Signature.from_dict(deepcopy(dict(self), memo), self._app)

    def __reduce__(self) -> Any:
        return Signature.from_dict, (dict(self),)

    def __invert__(self) -> Any:
        return self.apply_async().get()

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """How the call would be written."""
        merged, named, _ = self._merge(args, kwargs, {})
        words = [*map(repr, merged), *(f"{key}={value!r}" for key, value in named.items())]
        return f"{self.task}({', '.join(words)})"

    def __repr__(self) -> str:
        return self.reprcall()


class chain(Signature):
    """Calls one after the other, each given the value of the one before."""

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if not tasks and not options:
            return super().__new__(cls)
        steps = given_tasks(tasks)
        if len(steps) == 1 and not options:
            return steps[0].clone()
        return super().__new__(cls)

    def __init__(self, *tasks: Any, app: Any = None, **options: Any) -> None:
        steps = [step for task in given_tasks(tasks) for step in _steps(task)]
        flat = joined(steps, app) if len(steps) > 1 else None
        tasks_in = flat.kwargs["tasks"] if isinstance(flat, chain) else [flat] if flat is not None else steps
        super().__init__(CHAIN, (), {"tasks": tasks_in}, options, subtask_type="chain", app=app)

    @property
    def tasks(self) -> list[Any]:
        """Its steps."""
        self.kwargs["tasks"] = [maybe_signature(task, self._app) for task in self.kwargs["tasks"]]
        found: list[Any] = self.kwargs["tasks"]
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks))


class group(Signature):
    """Calls side by side; its value is the list of theirs. Groups inside it are part of it."""

    def __init__(self, *tasks: Any, app: Any = None, **options: Any) -> None:
        members: list[Any] = []
        for task in given_tasks(tasks):
            members += task.tasks if isinstance(task, group) and not task.options else [task]
        super().__init__(GROUP, (), {"tasks": members}, options, subtask_type="group", app=app)

    @property
    def tasks(self) -> list[Any]:
        """Its members."""
        self.kwargs["tasks"] = [maybe_signature(task, self._app) for task in self.kwargs["tasks"]]
        found: list[Any] = self.kwargs["tasks"]
        return found

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it, every member with these arguments before its own."""
        return self.apply_async(args, **options)

    def set_immutable(self, immutable: bool) -> None:
        """Of its members."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Of its first member, as in Celery."""
        return self.tasks[0].link(callback)

    def link_error(self, errback: Any) -> Any:
        """Of each member."""
        for task in self.tasks:
            task.link_error(errback)
        return errback

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Let each member start ``step`` seconds after the one before."""
        for number, task in enumerate(self.tasks):
            due = start + number * step
            task.set(countdown=due if stop is None else min(due, stop))
        return self

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group({self.tasks!r})"


class chord(Signature):
    """A group, and a call that is given the list of its values."""

    def __init__(self, header: Any, body: Any = None, app: Any = None, **options: Any) -> None:
        members = header if isinstance(header, group) else group(header, app=app)
        kwargs = {"header": members, "body": body if body is None else maybe_signature(body, app)}
        super().__init__(CHORD, (), kwargs, options, subtask_type="chord", app=app)

    @property
    def tasks(self) -> Any:
        """The group."""
        found = maybe_signature(self.kwargs["header"], self._app)
        self.kwargs["header"] = found if isinstance(found, group) else group(found, app=self._app)
        return self.kwargs["header"]

    @property
    def body(self) -> Any:
        """What is given the list."""
        if self.kwargs.get("body") is not None:
            self.kwargs["body"] = maybe_signature(self.kwargs["body"], self._app)
        return self.kwargs.get("body")

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body."""
        call = self.clone(**options)
        if body is not None:
            call.kwargs["body"] = maybe_signature(body, self._app).clone()
        return call.apply_async()

    def link(self, callback: Any) -> Any:
        """Of the body."""
        return self.body.link(callback)

    def link_error(self, errback: Any) -> Any:
        """Of the body."""
        return self.body.link_error(errback)

    def set_immutable(self, immutable: bool) -> None:
        """Of the group's members."""
        self.tasks.set_immutable(immutable)

    def __repr__(self) -> str:
        return f"{self.body!r} of {self.tasks!r}"


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task's name, a task, a dict or a signature."""
    app = kwargs.get("app")
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app)
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(given: Any, app: Any = None, clone: bool = False) -> Any:
    """A signature of a dict, and what is one already as it is; other things too."""
    if isinstance(given, Signature):
        if app is not None and given._app is None:
            given._app = app
        return given.clone() if clone else given
    if isinstance(given, Mapping) and "task" in given:
        return Signature.from_dict(given, app)
    return given


def given_tasks(tasks: Sequence[Any]) -> list[Any]:
    """Signatures that were given one by one, or in one iterable."""
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
        tasks = list(tasks[0])
    found = [maybe_signature(task) for task in tasks if task is not None]
    for each in found:
        if not isinstance(each, Signature):
            raise NotSupported(f"{each!r} is no signature; write task.s(...)")
    return [each.clone() for each in found]


def joined(steps: Sequence[Any], app: Any) -> Signature:
    """Steps as a chain; a group that is followed by something is the header of a chord."""
    made: list[Any] = []
    for step in steps:
        last = made[-1] if made else None
        if isinstance(last, group):
            made[-1] = chord(last, step.clone(), app=app)
        elif isinstance(last, chord) and last.body is not None and not last.options:
            last.kwargs["body"] = joined([*_steps(last.body), *_steps(step)], app)
        else:
            made.append(step.clone())
    if len(made) == 1:
        found: Signature = made[0]
        return found
    line: Signature = chain.__new__(chain)
    Signature.__init__(line, CHAIN, (), {"tasks": made}, {}, subtask_type="chain", app=app)
    return line


def listed(value: Any) -> list[Any]:
    """None as no, one as one, several as several callbacks."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _steps(call: Any) -> Iterator[Any]:
    if isinstance(call, chain) and not call.options:
        yield from call.tasks
    else:
        yield call


_KINDS: dict[str, type[Signature]] = {"chain": chain, "group": group, "chord": chord}
