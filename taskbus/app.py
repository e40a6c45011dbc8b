"""``TaskBus``: the one place that knows all the parts and wires them together, once."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from taskbus import codec
from taskbus.beat.book import Schedules
from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Record
from taskbus.broker.joining import Transaction, run_in
from taskbus.celery_results.reading import CeleryReader
from taskbus.clock import Clock, wall_clock
from taskbus.config import DEFAULT_DATABASE, load
from taskbus.database.urls import absolute
from taskbus.decorator import TaskFactory
from taskbus.errors import BrokerError, ConfigError, PublishFailed
from taskbus.message import Message
from taskbus.middleware import Middleware, sending
from taskbus.monitor.announcing import announcer
from taskbus.options import TaskOptions
from taskbus.schedule.timetable import Timetable
from taskbus.spool.outlet import Outlet
from taskbus.spool.spool import Spool
from taskbus.store.base import Store
from taskbus.store.flows import FlowView, When
from taskbus.store.notes import Notes
from taskbus.store.opening import SCHEMES as STORE_SCHEMES
from taskbus.store.opening import open_store
from taskbus.store.results import AsyncResult
from taskbus.task import Task
from taskbus.workflow.batch import Batch
from taskbus.workflow.canvas import Canvas
from taskbus.workflow.flows import Flows
from taskbus.workflow.handle import FlowHandle, listed
from taskbus.workflow.plan import Plan

R = TypeVar("R")
ANY_SIZE = 1 << 40
"""What is relayed was checked when it was sent."""


class TaskBus:
    """An application: its tasks, its broker, its result store.

    Without ``broker`` and ``results`` everything lives in one SQLite file, ``taskbus.db`` in the working folder.
    ``raises`` names the exception classes (besides Python's own) that a result may raise again on the caller's side.
    Constructors of such exceptions are not called if they want more than a message: the error then has its message, but
    not the attributes they would set. An exception group, and a class whose ``__str__`` needs such attributes, arrive
    as a ``RemoteError``. Further keywords are the settings of ``Config``.

    Making one connects to nothing: broker and store are opened when they are first used, and again after a fork.
    """

    def __init__(
        self,
        name: str,
        *,
        broker: str | None = None,
        results: str | None = None,
        middleware: Sequence[Middleware] = (),
        raises: Sequence[type[Exception]] = (),
        clock: Clock = wall_clock,
        **settings: Any,
    ) -> None:
        given = {"broker": broker, "results": results, **settings}
        self.config, self.origins = load({key: value for key, value in given.items() if value is not None})
        self.name = name
        self.clock = clock
        self.middleware = list(middleware)
        self.raises = {f"{error.__module__}.{error.__qualname__}": error for error in raises}
        self.broker_url = absolute(self.config.broker or f"sqlite:///{DEFAULT_DATABASE}")
        self.results_url = absolute(self.config.results or self._default_results())
        spool = self.config.spool and Path(self.config.spool).expanduser().absolute()
        self.spool = Spool(str(spool), self.config.max_spool_bytes) if spool else None
        self.tasks: dict[str, Task[..., Any]] = {}
        self.task = TaskFactory(self._adopt)
        self._opening = threading.RLock()
        self._broker: Broker | None = None
        self._store: Store | None = None
        self._outlet: Outlet | None = None
        self._outbox: tuple[int, ThreadPoolExecutor] | None = None
        self._store_when_asked = lambda: self.store
        self._celery = CeleryReader(self.config)
        self.announcer = announcer(self.broker_url, self.config.telemetry_rate) if self.config.telemetry_sent else None
        self._any_store_when_asked = self._celery.beside(self._store_when_asked)
        self._flows = Flows(self)
        self.schedules = Schedules(self)
        self.notes = Notes(self)

    # --- tasks ---------------------------------------------------------------------------------------------------

    def include(self, *modules: str) -> None:
        """Import modules and adopt the tasks that ``@task`` made in them.

        A task adopted by several applications is known to each; called by its module's name it is sent by the last one.
        """
        for module in modules:
            try:
                names = vars(import_module(module))
            except ModuleNotFoundError as error:
                if not f"{module}.".startswith(f"{error.name}."):
                    raise
                raise ConfigError(f"app.include({module!r}): there is no module {error.name!r}") from None
            found = [value for value in names.values() if isinstance(value, Task)]
            own = [task for task in found if task.__module__ == module]
            if not own:
                raise ConfigError(f"app.include({module!r}): that module defines no tasks; decorate them with @task")
            for task in own:
                self._adopt(task)

    def _adopt(self, task: Task[..., Any]) -> None:
        known = self.tasks.get(task.name)
        if known is not None and known.function is not task.function and not _is_reloaded(known, task):
            raise ConfigError(
                f"two tasks are named {task.name!r}: {known.function!r} and {task.function!r}; give one a name=..."
            )
        task.bind(self)
        self.tasks[task.name] = task
        if task.options_given.schedule is not None:
            self.schedules.declare(task.name, task, task.options_given.schedule)

    # --- sending -------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The broker's time, by which countdowns and expiries are measured; the local one where it cannot be opened."""
        try:
            return self.broker.now()
        except BrokerError:
            return self.clock()

    def submit(self, message: Message, session: "Transaction | None" = None) -> None:
        """Hand a message to the broker, through the middleware; durable when this returns.

        With a spool it may be durable on this disk, to be relayed when the broker is back. With a ``session`` it is
        durable when that commits. Raises as ``Task.delay``.
        """
        publish = self.outlet.publish if session is None else partial(self._publish_in, session)
        if self.announcer is not None:
            publish = partial(self.announcer.send_by, publish)
        if not self.middleware:
            publish(message)
            return
        with sending(self.middleware, message) as changed:
            publish(changed)

    async def asubmit(self, message: Message, session: "Transaction | None" = None) -> None:
        """As ``submit``, in a thread of the application's own, so that the event loop goes on."""
        if session is not None:
            await run_in(session, partial(self.submit, message))
            return
        send = partial(copy_context().run, self.submit, message)  # middleware reads the caller's context variables
        await asyncio.get_running_loop().run_in_executor(self._outbox_thread(), send)

    def begin(self, plan: Plan, session: "Transaction | None" = None) -> None:
        """Record a workflow and send its first tasks, through the middleware; raises as ``Canvas.delay``."""
        self._flows.begin(plan, session)

    async def abegin(self, plan: Plan, session: "Transaction | None" = None) -> None:
        """As ``begin``, in a thread of the application's own, so that the event loop goes on."""
        if session is not None:
            await run_in(session, partial(self.begin, plan))
            return
        send = partial(copy_context().run, self.begin, plan)
        await asyncio.get_running_loop().run_in_executor(self._outbox_thread(), send)

    def batch(self, max_size: int = 1000) -> AbstractContextManager[None]:
        """Send what this thread sends inside the block together, ``max_size`` at a time: one round trip for many.

        The tasks are accepted when the block has ended without an error. An error inside it discards what was not yet
        sent. ``PublishFailed`` and ``PublishUnknown`` name in ``task_ids`` those of the round trip that failed.
        """
        block = self.outlet.batch(max_size)
        return block if self.announcer is None else self.announcer.batch(block)

    def announce(self, messages: Sequence[Message]) -> None:
        """Tell monitors that these were sent, if they are to hear of it (``telemetry_sent``)."""
        if self.announcer is not None:
            self.announcer.sent(messages)

    def send(
        self, task_name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a call by name, with the options of ``apply_async``; unchecked if only workers know the task."""
        task = self.tasks.get(task_name) or Task(_anything, TaskOptions(name=task_name), self)
        return task.apply_async(args, kwargs, **options)

    # --- workflows -----------------------------------------------------------------------------------------------

    def batch_of(
        self,
        name: str,
        *,
        on_success: Canvas[object, Any, Any] | None = None,
        on_complete: Canvas[object, Any, Any] | None = None,
        on_death: Canvas[object, Any, Any] | None = None,
        parent: Batch | None = None,
    ) -> Batch:
        """A group whose members are added in a block, as many as you like: ``with app.batch_of("x") as b: b.add(...)``.

        Each callback runs once: ``on_success`` when all members have succeeded, ``on_complete`` when all have ended,
        ``on_death`` as soon as one has failed for good. They are given nothing. ``parent``: a batch of which this one
        is a member. See ``Batch`` for what an error in the block does.
        """
        given = ((When.SUCCESS, on_success), (When.ALWAYS, on_complete), (When.DEATH, on_death))
        callbacks = [(when, callback) for when, callback in given if callback is not None]
        return Batch(self._flows, name=name, callbacks=callbacks, parent=parent)

    def open_batch(self, batch_id: str) -> Batch:
        """A batch that is there already, to add members: inside one of its tasks, by ``Context.flow_id``.

        A batch inside another one has an id of its own, ``Batch.id``.
        """
        return Batch(self._flows, batch_id)

    def flow(self, flow_id: str) -> FlowHandle:
        """A workflow by its id, to look at, cancel or mend; nothing is asked yet."""
        return FlowHandle(flow_id, self._flows)

    def flows(self, limit: int | None = None) -> Iterator[FlowView]:
        """Workflows, the newest first, at most ``limit``; read page by page as they are asked for."""
        return listed(self._flows, limit)

    # --- schedules -----------------------------------------------------------------------------------------------

    def schedule(
        self, name: str, call: "Task[..., Any] | Canvas[object, Any, Any]", timetable: Timetable, *,
        catch_up: str = "latest", max_catch_up: int = 100, overlap: str = "allow",
    ) -> None:  # fmt: skip
        """Say in code that beats are to send ``call`` (``task.s(...)``) whenever ``timetable`` says so.

        ``catch_up``: of runs missed while no beat was running, the ``latest`` one is sent, ``none``, or ``all`` (the
        last ``max_catch_up`` of them). ``overlap``: while the last run has not ended, the next is sent all the same
        (``allow``), left out (``skip``), or waits for its end, one at a time (``queue_one``).

        Nothing is connected to. ``app.schedules`` is what may be said at run time. Raises ``ConfigError`` that names
        what cannot be.
        """
        self.schedules.declare(name, call, timetable, catch_up=catch_up, max_catch_up=max_catch_up, overlap=overlap)

    # --- results -------------------------------------------------------------------------------------------------

    def expect(
        self, task: Task[..., R], task_id: str, *, decode: Callable[[bytes, str], R] | None = None, queue: str = ""
    ) -> AsyncResult[R]:
        """The result of a call of ``task``, decoded as its return annotation says, or by ``decode``.

        ``queue``: to which it was sent. Of one shared with Celery the result is where Celery keeps it.
        """
        return AsyncResult(
            task_id,
            self._celery.asked_of(queue) or self._store_when_asked,
            decode=decode or task.arguments.result,
            allowed=self.raises,
            is_kept=task.store_results,
            task=task.name,
        )

    def result(self, task_id: str, *, queue: str = "") -> AsyncResult[Any]:
        """The result of any task, by id; ``queue``: as for ``expect``, if it is known.

        Without it Celery's results are looked into too, where ``celery_results`` is set and our own know nothing.
        """
        place = self._celery.asked_of(queue) or (self._store_when_asked if queue else self._any_store_when_asked)
        return AsyncResult(task_id, place, decode=codec.decode, allowed=self.raises)

    # --- parts ---------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The broker, opened when first used."""
        if self._broker is None:
            with self._opening:
                if self._broker is None:
                    self._broker = self.open_broker(self.config.max_message_bytes)
        return self._broker

    def open_broker(self, max_message_bytes: int) -> Broker:
        """A broker of the caller's own, who closes it."""
        return Broker(
            self.broker_url,
            clock=self.clock,
            max_message_bytes=max_message_bytes,
            publish_timeout=self.config.publish_timeout,
            dedup_window=self.config.dedup_window,
            celery_queues=self.config.celery_queues,
        )

    @property
    def outlet(self) -> Broker | Outlet:
        """Where this application sends: the broker, with a spool behind it if one is set.

        Raises ``PublishFailed`` where the broker cannot be opened: that too is the outcome of a send.
        """
        if self.spool is None:
            try:
                return self.broker
            except BrokerError as error:
                raise PublishFailed(str(error)) from error
        if self._outlet is None:
            with self._opening:
                if self._outlet is None:
                    self._outlet = Outlet(
                        self.spool,
                        lambda: self.broker,
                        partial(self.open_broker, ANY_SIZE),
                        self.config.max_message_bytes,
                    )
        return self._outlet

    @property
    def store(self) -> Store:
        """The store of results and dead letters, opened when first used."""
        if self._store is None:
            with self._opening:
                if self._store is None:
                    self._store = open_store(self.results_url, self.clock)
        return self._store

    @property
    def record(self) -> Record:
        """What a settlement calls to write to the store."""
        return self.store.apply

    @property
    def shares_database(self) -> bool:
        """Whether broker and store are one database, so that a settlement is one transaction."""
        return bool(self.broker.database) and self.broker.database == self.store.database

    def close(self) -> None:
        """Release connections and threads. The application may be used again; it then opens new ones."""
        with self._opening:
            broker, self._broker = self._broker, None
            store, self._store = self._store, None
            outbox, self._outbox = self._outbox, None
            outlet, self._outlet = self._outlet, None
        if outbox is not None and outbox[0] == os.getpid():
            outbox[1].shutdown()
        for part in (outlet, self.schedules, store, self._celery, self.announcer, broker):
            if part is not None:
                part.close()

    def __enter__(self) -> "TaskBus":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TaskBus {self.name!r}, {len(self.tasks)} tasks>"

    def _publish_in(self, session: "Transaction", message: Message) -> None:
        try:
            broker = self.broker
        except BrokerError as error:
            advice = "if it is your own transaction that holds it, open the broker before that begins, as by app.broker"
            raise PublishFailed(f"{error}; {advice}") from error
        broker.publish_in(session, message)

    def _outbox_thread(self) -> ThreadPoolExecutor:
        """One thread is enough: a publish is a round trip, and each thread would hold a connection of its own."""
        with self._opening:
            if self._outbox is None or self._outbox[0] != os.getpid():
                self._outbox = (os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="taskbus-send"))
            return self._outbox[1]

    def _default_results(self) -> str:
        scheme = self.broker_url.partition(":")[0].partition("+")[0]
        return self.broker_url if scheme in STORE_SCHEMES else f"sqlite:///{DEFAULT_DATABASE}"


def _anything(*args: Any, **kwargs: Any) -> Any:
    """Stands for the function of a task that only workers know."""


def _is_reloaded(known: Task[..., Any], task: Task[..., Any]) -> bool:
    """Whether both are one function defined twice: its module was imported anew, or ran as a script before."""
    return known.function.__qualname__ == task.function.__qualname__ and (
        known.function.__code__.co_filename == task.function.__code__.co_filename
    )
