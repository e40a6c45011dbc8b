"""What a caller holds of a task it sent: a promise of its return value, or of its error."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, NoReturn, TypeVar

from taskbus.context import Progress
from taskbus.errors import ResultError, ResultTimeout
from taskbus.outcome import Failure, State
from taskbus.store.base import ResultStore, StoredResult
from taskbus.store.progress import progress_of
from taskbus.store.remote import KNOWN, error_of
from taskbus.store.waiting import Arrival, waiting_for

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

QUERY_SIZE = 1000


class AsyncResult(Generic[R_co]):
    """The result of one call of a task. Once it is final it is kept here, and the store is not asked again.

    ``flow_id`` names the workflow that it is the result of; "" if it was sent alone.
    """

    __slots__ = ("__weakref__", "_allowed", "_decode", "_final", "_is_kept", "_place", "_task", "flow_id", "id")

    def __init__(
        self,
        task_id: str,
        store: ResultStore | Callable[[], ResultStore],
        *,
        decode: Callable[[bytes, str], R_co],
        allowed: Mapping[str, type[BaseException]] = KNOWN,
        is_kept: bool = True,
        task: str = "",
    ) -> None:
        """``store`` may be a function that opens it: a task that was sent stays sent, though its store be out of reach.

        ``decode`` turns stored bytes and their content type into the value; ``allowed``: see ``remote.error_of``.

        ``is_kept`` False: the task, named ``task``, keeps no results, so that waiting for one would never end.
        """
        self.id = task_id
        self.flow_id = ""
        self._place = store
        self._decode = decode
        self._allowed = allowed
        self._is_kept = is_kept
        self._task = task
        self._final: StoredResult | None = None

    def get(self, timeout: float | None = None) -> R_co:
        """The return value, as soon as it is there. Sleeps until then; never polls.

        Raises:
            ResultTimeout: not within ``timeout`` seconds; the task may still finish.
            ResultError: the task is declared with ``store_results=False``.
            TaskExpired, TaskRevoked: the task was called off.
            RemoteError: the task failed; or its own class of error, if it is Python's or one the app ``raises``.
        """
        return self._value(self._await(timeout))

    async def aget(self, timeout: float | None = None) -> R_co:
        """As ``get``; the event loop goes on meanwhile."""
        self._must_be_kept()
        return self._value(self._final or await self._arrive(timeout))

    def wait(self, timeout: float | None = None) -> State:
        """The final state, as soon as it is there, or the present one after ``timeout`` seconds.

        Never raises the task's error; raises ``ResultError`` if the task keeps no results.
        """
        try:
            return self._await(timeout).state
        except ResultTimeout:
            return self.state

    @property
    def state(self) -> State:
        """How the task stands, as far as it is on record.

        ``PENDING`` while nothing is: it waits, it is running for the first time (a start is not recorded), its result
        was forgotten or is too old, or it was never sent. ``RETRY`` from its first failed attempt to its end.
        """
        found = self._read()
        return State.PENDING if found is None else found.state

    @property
    def is_ready(self) -> bool:
        """Whether the result is final."""
        return self.state.is_final

    @property
    def failure(self) -> Failure | None:
        """The error of the last attempt known, as data; None if there is none."""
        found = self._read()
        return None if found is None else found.failure

    @property
    def final(self) -> StoredResult | None:
        """The final result as it was recorded, where it is known here already; the store is not asked."""
        return self._final

    def recorded(self) -> StoredResult | None:
        """What is on record of the task now, as it is kept; None if nothing is."""
        return self._read()

    def progress(self) -> Progress | None:
        """How far the task said last that it has come (``Context.progress``); None if it has not, or not yet."""
        return progress_of(self._store, self.id)

    def forget(self) -> None:
        """Delete the result from the store."""
        self._store.forget((self.id,))
        self._final = None

    @property
    def _store(self) -> ResultStore:
        return self._place() if callable(self._place) else self._place

    def _must_be_kept(self) -> None:
        """Raise ``ResultError`` if there will never be a result."""
        if not self._is_kept:
            raise ResultError(
                f"task {self._task or self.id} keeps no results; declare it with store_results=True to wait for them"
            )

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncResult cannot be pickled: pass result.id, and use app.result(id) on the other side")

    def __repr__(self) -> str:
        return f"<AsyncResult {self.id}{f' {self._final.state}' if self._final else ''}>"

    def _read(self) -> StoredResult | None:
        if self._final is not None:
            return self._final
        found = self._store.results((self.id,)).get(self.id)
        if found is not None and found.state.is_final:
            self._final = found
        return found

    def _await(self, timeout: float | None) -> StoredResult:
        self._must_be_kept()
        found = self._read()
        if found is not None and found.state.is_final:
            return found
        arrivals: SimpleQueue[Arrival] = SimpleQueue()
        waiting, token = waiting_for(self._store), object()
        waiting.add(self.id, token, arrivals.put)
        waiting.look()
        try:
            return self._settle(arrivals.get(timeout=None if timeout is None else max(0.0, timeout)))
        except Empty:
            raise _timed_out(f"task {self.id}", timeout) from None
        finally:
            waiting.remove(self.id, token)

    async def _arrive(self, timeout: float | None) -> StoredResult:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Arrival] = loop.create_future()
        waiting, token = waiting_for(self._store), object()
        waiting.add(self.id, token, partial(_hand_over, loop, future))
        waiting.look()
        try:
            async with asyncio.timeout(timeout):
                arrival = await future
        except TimeoutError:
            found = await asyncio.to_thread(self._read)  # with a timeout of 0 nobody may have looked yet
            if found is None or not found.state.is_final:
                raise _timed_out(f"task {self.id}", timeout) from None
            return found
        finally:
            waiting.remove(self.id, token)
        return self._settle(arrival)

    def _settle(self, arrival: Arrival) -> StoredResult:
        if isinstance(arrival, Exception):
            raise arrival
        self._final = arrival
        return arrival

    def _value(self, final: StoredResult) -> R_co:
        error = error_of(final, self._allowed)
        if error is not None:
            raise error
        return None if final.value is None else self._decode(final.value, final.content_type)  # type: ignore[return-value]


def _hand_over(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Arrival]", arrival: Arrival) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, future, arrival)
    except RuntimeError:
        return  # the loop was closed: nobody waits there any more


def _resolve(future: "asyncio.Future[Arrival]", arrival: Arrival) -> None:
    if not future.done():
        future.set_result(arrival)


def _timed_out(what: str, timeout: float | None) -> ResultTimeout:
    seconds = max(0.0, timeout or 0.0)
    return ResultTimeout(
        f"no result of {what} within {seconds:g} s; it may still come, unless no worker takes its queue, "
        "the app.batch() it was sent in is still open, or the result was forgotten or outlived its result_ttl"
    )


def as_completed(results: Iterable[AsyncResult[R]], timeout: float | None = None) -> Iterator[AsyncResult[R]]:
    """The results as they become final, each object once, whatever they hold. One query serves all that are waited for.

    Raises ``ResultTimeout`` when ``timeout`` seconds have passed since the first was asked for and some are missing,
    ``ResultError`` before all others if one is of a task that keeps none.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pending: dict[str, list[AsyncResult[R]]] = {}
    distinct = list({id(result): result for result in results}.values())
    for result in distinct:
        result._must_be_kept()
    for result in distinct:
        if result._final is not None:
            yield result
        else:
            pending.setdefault(result.id, []).append(result)
    yield from _already_there(pending)
    arrivals: SimpleQueue[Arrival] = SimpleQueue()
    stores = {task_id: members[0]._store for task_id, members in pending.items()}
    try:
        for task_id, store in stores.items():
            waiting_for(store).add(task_id, arrivals, arrivals.put)
        for store in {id(store): store for store in stores.values()}.values():
            waiting_for(store).look()
        while pending:
            yield from _take(pending, _next(arrivals, deadline, timeout, len(pending)))
    finally:
        for task_id, store in stores.items():
            waiting_for(store).remove(task_id, arrivals)


def refresh(results: Iterable[AsyncResult[Any]]) -> None:
    """Ask the store, in a query for many, which of the results are final by now: ``AsyncResult.final``."""
    pending: dict[str, list[AsyncResult[Any]]] = {}
    for result in results:
        if result.final is None:
            pending.setdefault(result.id, []).append(result)
    for _ in _already_there(pending):
        pass


def _already_there(pending: dict[str, list[AsyncResult[R]]]) -> Iterator[AsyncResult[R]]:
    by_store: dict[int, list[str]] = {}
    for task_id, members in pending.items():
        by_store.setdefault(id(members[0]._store), []).append(task_id)
    for ids in by_store.values():
        store: Any = pending[ids[0]][0]._store
        for start in range(0, len(ids), QUERY_SIZE):
            for found in store.results(ids[start : start + QUERY_SIZE]).values():
                if found.state.is_final:
                    yield from _take(pending, found)


def _take(pending: dict[str, list[AsyncResult[R]]], arrival: Arrival) -> Iterator[AsyncResult[R]]:
    if isinstance(arrival, Exception):
        raise arrival
    for result in pending.pop(arrival.task_id, ()):
        result._final = arrival
        yield result


def _next(arrivals: "SimpleQueue[Arrival]", deadline: float | None, timeout: float | None, missing: int) -> Arrival:
    try:
        return arrivals.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
    except Empty:
        raise _timed_out(f"{missing} tasks", timeout) from None
