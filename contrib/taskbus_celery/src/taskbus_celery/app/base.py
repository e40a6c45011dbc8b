"""``Celery``: an application with Celery's names, and the ``TaskBus`` behind it."""

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import taskbus
from taskbus import TaskBus
from taskbus_celery import builtin, canvas, django, eager, result, sending, state
from taskbus_celery.app.parts import NOT_HERE, Tasks
from taskbus_celery.app.task import Task
from taskbus_celery.conf import Settings, bus_settings
from taskbus_celery.control import Control
from taskbus_celery.exceptions import NotSupported, warn_once
from taskbus_celery.execution import WHEN_ASKED, body_of
from taskbus_celery.lives import Lives
from taskbus_celery.periodic import keep_entry, keep_schedule
from taskbus_celery.routing import Routes, queue_of
from taskbus_celery.signals import Signal, import_modules


class Celery:
    """An application. ``bus`` is its ``TaskBus``, made of ``conf`` when it is first needed.

    ``taskbus worker -A module:app`` takes one as it takes a ``TaskBus``.
    """

    Task: Any = Task
    task_cls: Any = None

    def __init__(
        self,
        main: str | None = None,
        broker: Any = None,
        backend: str | None = None,
        include: Sequence[str] | str | None = None,
        config_source: Any = None,
        namespace: str | None = None,
        set_as_current: bool = True,
        task_cls: Any = None,
        changes: Mapping[str, Any] | None = None,
        **ignored: Any,
    ) -> None:
        self.main = main
        self.conf = Settings()
        self._tasks = Tasks()
        self._bus: TaskBus | None = None
        self._callees: dict[str, Any] = {}
        self._making = threading.RLock()
        self._found: list[tuple[Any, str | None]] = []
        self._has_imported = self._has_schedule = False
        self.on_configure = Signal("app.on_configure")
        self.on_after_configure = Signal("app.on_after_configure")
        self.on_after_finalize = Signal("app.on_after_finalize")
        self.on_after_fork = Signal("app.on_after_fork", "connect to worker_process_init instead")
        for name in ignored.keys() - {
            "autofinalize",
            "strict_typing",
            "tasks",
            "set_as_current",
            "accept_magic_kwargs",
        }:
            if ignored[name] is not None:
                warn_once(f"Celery({name}=...) has no effect here: parts of the application cannot be replaced")
        given = {"broker_url": broker, "result_backend": backend, **(changes or {})}
        self.conf.update({name: value for name, value in given.items() if value is not None})
        if include is not None:
            self.conf.include = [include] if isinstance(include, str) else list(include)
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        if isinstance(task_cls or self.task_cls, str):
            raise NotSupported("task_cls: give the class itself, not its name")
        if task_cls or self.task_cls:
            self.Task = task_cls or self.task_cls
        if set_as_current:
            self.set_current()
        state.apps.append(self)
        builtin.register(self)
        for add in state.shared:
            add(self)

    # --- settings --------------------------------------------------------------------------------------------------

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from a module, an object or what a text names, when the first is asked for."""
        self.conf.read_later(obj, namespace or "", silent)
        if force:
            len(self.conf)

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """As ``config_from_object``, of the module that an environment variable names."""
        module = os.environ.get(variable_name)
        if module:
            self.config_from_object(module, silent, force, namespace)
        elif not silent:
            raise NotSupported(
                f"the environment variable {variable_name!r} is not set, and names the module of settings"
            )

    def add_defaults(self, fun: Any) -> None:
        """Settings below those that are given."""
        self.conf.add_defaults(fun() if callable(fun) else fun)

    def setup_security(self, *args: Any, **kwargs: Any) -> None:
        """Not had."""
        raise NotSupported("setup_security: messages are not signed; use TLS and the broker's own users")

    # --- tasks -----------------------------------------------------------------------------------------------------

    def task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function: ``@app.task``, ``@app.task(bind=True, ...)``."""
        if len(args) == 1 and callable(args[0]) and not options:
            return self.task_of(args[0])
        if args:
            raise TypeError("@app.task() takes exactly 1 argument")
        return lambda function: self.task_of(function, **options)

    def task_of(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        base: Any = None,
        bind: bool = False,
        **options: Any,
    ) -> Any:
        """The task of a function; the one there is, where there is one of that name."""
        name = name or self.gen_task_name(function.__name__, function.__module__)
        if name in self._tasks:
            return self._tasks[name]
        base = base or self.Task
        options.pop("lazy", None), options.pop("shared", None)
        body = function if bind else staticmethod(function)
        kind = type(
            function.__name__,
            (base,),
            {
                "app": self, "name": name, "run": body, "is_bound": bool(bind), "_decorated": True, "abstract": False,
                "__doc__": function.__doc__, "__module__": function.__module__, "__wrapped__": body, **options,
            },
        )  # fmt: skip
        return self.register_task(kind())

    def register_task(self, task: Any, **options: Any) -> Any:
        """Take a task made of a class."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            kind = type(task)
            task.name = self.gen_task_name(kind.__name__, kind.__module__)
        if not hasattr(task, "is_bound"):
            task.is_bound = True
        for key, value in options.items():
            setattr(task, key, value)
        type(task).app = task.app = self
        self._tasks[task.name] = task
        type(task).bind(self)
        if self._bus is not None:
            self._adopt(task)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """``module.function``; of a script, ``main.function``."""
        found = sys.modules.get(module or "__main__")
        module = found.__name__ if found is not None else module
        if module == "__main__" and self.main:
            return f"{self.main}.{name}"
        return ".".join(part for part in (module, name) if part)

    @property
    def tasks(self) -> Tasks:
        """All tasks by their names."""
        return self._tasks

    def autodiscover_tasks(self, packages: Any = None, related_name: str | None = "tasks", force: bool = False) -> None:
        """Import ``tasks`` of these packages when a worker starts, or with ``force`` at once."""
        self._found.append((packages, related_name))
        if force:
            self._import(self._found.pop())

    def finalize(self, auto: bool = False) -> None:
        """Make its ``TaskBus``, if that is not made yet."""
        self.bus  # noqa: B018 - makes it

    # --- sending ---------------------------------------------------------------------------------------------------

    def send_task(
        self, name: str, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> Any:
        """Send a call of a task by its name, which only workers need to know."""
        chosen = {"task_id": task_id, **options}
        call = canvas.Signature(
            name, args, kwargs, {key: value for key, value in chosen.items() if value is not None}, app=self
        )
        if self.conf.task_always_eager and name not in self._tasks:
            warn_once("task_always_eager has no effect on send_task of a task that is not known here; it is sent")
            return sending.send(self, call)
        return self.send_signature(call)

    def send_signature(self, call: Any) -> Any:
        """Send a signature that is the caller's no more; where ``task_always_eager`` is set, run it instead."""
        return eager.as_if_sent(self, call) if self.conf.task_always_eager else sending.send(self, call)

    def run_signature(self, call: Any) -> Any:
        """Run a signature here and now."""
        return eager.run(self, call)

    def freeze_signature(self, call: Any, task_id: str | None = None) -> Any:
        """Give all tasks of a signature their ids; returns its result."""
        return sending.frozen(self, call, task_id)

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """A signature of this app."""
        return canvas.signature(*args, **{"app": self, **kwargs})

    subtask = signature

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:
        """The result of a call, by its id."""
        return result.AsyncResult(task_id, app=self, **kwargs)

    def GroupResult(self, *args: Any, **kwargs: Any) -> Any:
        """The results of a group."""
        return result.GroupResult(*args, **{"app": self, **kwargs})

    def ResultSet(self, results: Any, **kwargs: Any) -> Any:
        """Results together."""
        return result.ResultSet(results, app=self, **kwargs)

    @cached_property
    def routes(self) -> Routes:
        """``task_routes``."""
        return Routes(self.conf)

    def callee(self, name: str) -> Any:
        """The task of TaskBus to be called by that name; one that is only known to workers is made up."""
        bus = self.bus
        found = bus.tasks.get(name) or self._callees.get(name)
        if found is None:
            found = self._callees[name] = taskbus.task(name=name)(_anything)
            found.bind(bus)
        return found

    # --- periodic tasks --------------------------------------------------------------------------------------------

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **options: Any
    ) -> str:
        """One more entry of ``beat_schedule``; returns its name."""
        call = canvas.maybe_signature(sig, self)
        name = name or repr(call)
        entry = {
            "task": call.task, "schedule": schedule, "args": args or call.args, "kwargs": dict(kwargs) or call.kwargs,
            "options": {**call.options, **options},
        }  # fmt: skip
        self.conf.beat_schedule = {**self.conf.beat_schedule, name: entry}
        if self._has_schedule:
            keep_entry(self, self.bus, name, entry)
        return name

    # --- the application behind it -----------------------------------------------------------------------------------

    @property
    def bus(self) -> TaskBus:
        """The ``TaskBus``; what is set in ``conf`` about brokers, results and workers after this has no effect."""
        if self._bus is None:
            with self._making:
                if self._bus is None:
                    self._make_bus()
        assert self._bus is not None
        return self._bus

    def _make_bus(self) -> None:
        self.on_configure.send(sender=self)
        middleware = [Lives(self), *([django.Connections()] if django.is_used() else [])]
        made = TaskBus(self.main or "celery", middleware=middleware, **bus_settings(self.conf))
        self._bus = made
        self.on_after_configure.send(sender=self, source=self.conf)
        for task in list(self._tasks.values()):
            self._adopt(task)
        self.on_after_finalize.send(sender=self)

    def _adopt(self, task: Any) -> None:
        task.prepare()
        defaults = {key: getattr(task, key) for key in ("queue", "routing_key", "exchange")}
        queue = queue_of(self.routes.options(task.name, **defaults))
        options = {
            "name": task.name,
            "queue": queue,
            "retry": WHEN_ASKED,
            "time_limit": task.time_limit,
            "soft_time_limit": task.soft_time_limit,
            "store_results": None if not task.ignore_result else False,
            "serializer": task.serializer,
        }
        self.bus.task(**options)(body_of(task))

    def __taskbus__(self) -> TaskBus:
        """The ``TaskBus`` with all its tasks: what ``taskbus worker -A`` asks for."""
        if not self._has_imported:
            self._has_imported = True
            django.set_up()
            import_modules.send(sender=self)
            for module in (*self.conf.imports, *self.conf.include):
                importlib.import_module(module)
            while self._found:
                self._import(self._found.pop(0))
            keep_schedule(self, self.bus)
            self._has_schedule = True
        return self.bus

    def _import(self, found: tuple[Any, str | None]) -> None:
        packages, related = found
        names: Iterable[str] = packages() if callable(packages) else packages or django.packages()
        for package in names:
            module = f"{package}.{related}" if related else package
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise

    def set_current(self) -> None:
        """Make it the app of tasks that have none of their own."""
        state.set_current_app(self)

    def set_default(self) -> None:
        """As ``set_current``."""
        self.set_current()

    def close(self) -> None:
        """Close its connections; using it again opens new ones."""
        if self._bus is not None:
            self._bus.close()

    def __enter__(self) -> "Celery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def current_task(self) -> Any:
        """The task that runs here."""
        return state.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The task that the worker was given."""
        return state.get_current_worker_task()

    @cached_property
    def control(self) -> Control:
        """Remote control."""
        return Control(self)

    def __getattr__(self, name: str) -> Any:
        words = NOT_HERE.get(name)
        if words is None:
            raise AttributeError(f"a Celery app on TaskBus has no {name!r}")
        raise NotSupported(f"app.{name}: {words}")

    def __repr__(self) -> str:
        return f"<Celery {self.main or '__main__'} on TaskBus>"


def _anything(*args: Any, **kwargs: Any) -> Any:
    """Stands for the function of a task that only workers know."""


state.set_default_app(lambda: Celery("default"))
