"""What a caller holds of a group it sent: the results of its members, together."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from taskbus.errors import ConfigError, ResultTimeout, TaskBusError
from taskbus.outcome import Failure, State
from taskbus.store.results import AsyncResult, as_completed, refresh
from taskbus.workflow.counts import Counts
from taskbus.workflow.failed import FailedTask
from taskbus.workflow.shape import Sender

R = TypeVar("R", covariant=True)


class GroupResult(Generic[R]):
    """The results of a group, in the order of its members. A member that ends in a group is a ``GroupResult`` itself.

    ``children`` are the results, ``id`` names the group in its workflow, which ``flow_id`` names. ``before`` is the
    result of what it runs after, where its members cannot say that it was not run: there are none, or it collects.
    """

    __slots__ = ("_is_collecting", "_sender", "before", "children", "flow_id", "id")

    def __init__(
        self,
        group_id: str,
        children: "Sequence[AsyncResult[Any] | GroupResult[Any]]",
        *,
        flow_id: str = "",
        is_collecting: bool = False,
        sender: Sender | None = None,
    ) -> None:
        self.id = group_id
        self.flow_id = flow_id
        self.children = tuple(children)
        self.before: AsyncResult[Any] | GroupResult[Any] | None = None
        self._is_collecting = is_collecting
        self._sender = sender

    def get(self, timeout: float | None = None) -> list[R]:
        """The values, in the order of the members, as soon as all are there; the first failure as soon as it is.

        Of a group with ``collect=True`` what failed is a ``FailedTask`` in its place.

        Raises:
            ResultTimeout: not within ``timeout`` seconds; the tasks may still finish.
            ResultError, RemoteError and so on: as ``AsyncResult.get`` of the member that failed, or of what failed
                before the group could run.
        """
        fatal = self._fatal()
        for result in as_completed(self._awaited(), timeout):
            if result.id in fatal:
                result.get(0)
        return self._values()

    async def aget(self, timeout: float | None = None) -> list[R]:
        """As ``get``; the event loop goes on meanwhile."""
        fatal, ends = self._fatal(), list(self._awaited())
        for each in ends:
            each._must_be_kept()
        await asyncio.to_thread(refresh, ends)
        for each in ends:
            if each.final is not None and each.id in fatal:
                each.get(0)
        arriving = [asyncio.ensure_future(_arrived(each)) for each in ends if each.final is None]
        try:
            for soonest in asyncio.as_completed(arriving, timeout=timeout):
                result = await soonest
                if result.id in fatal:
                    result.get(0)
        except TimeoutError as error:
            if isinstance(error, TaskBusError):
                raise
            missing = sum(each.final is None for each in ends)
            raise ResultTimeout(f"no result of {missing} tasks within {timeout:g} s; they may still come") from None
        finally:
            for each_task in arriving:
                each_task.cancel()
        return self._values()

    def as_completed(self, timeout: float | None = None) -> Iterator[AsyncResult[Any]]:
        """The results of the members as they become final; of groups inside it those of their members.

        Raises as ``taskbus.as_completed``.
        """
        return as_completed(self._ends(), timeout)

    @property
    def results(self) -> "tuple[AsyncResult[Any] | GroupResult[Any], ...]":
        """``children``, in Celery's word."""
        return self.children

    @property
    def state(self) -> State:
        """``SUCCESS`` when all have succeeded, as the first that failed when one has, else ``PENDING``."""
        ends = list(self._awaited())
        refresh(ends)
        fatal = self._fatal()
        finals = [each.final for each in ends]
        failed = [
            final.state
            for each, final in zip(ends, finals, strict=True)
            if final is not None and final.state is not State.SUCCESS and each.id in fatal
        ]
        return failed[0] if failed else State.SUCCESS if None not in finals else State.PENDING

    @property
    def is_ready(self) -> bool:
        """Whether all results are final."""
        ends = list(self._awaited())
        refresh(ends)
        return all(each.final is not None for each in ends)

    def completed_count(self) -> int:
        """How many of the results are final; a group inside it counts as many as it has."""
        ends = list(self._ends())
        refresh(ends)
        return sum(each.final is not None for each in ends)

    def counts(self) -> Counts:
        """How many tasks of the whole workflow wait, run and have ended."""
        if self._sender is None:
            if self.children:
                raise ConfigError("this group was put together by hand, from results of no one workflow")
            return Counts()
        counts: Counts = self._sender.flow(self.flow_id).counts()
        return counts

    def forget(self) -> None:
        """Delete the results from the store."""
        for each in self._ends():
            each.forget()

    def __len__(self) -> int:
        return len(self.children)

    def __iter__(self) -> "Iterator[AsyncResult[Any] | GroupResult[Any]]":
        return iter(self.children)

    def __getitem__(self, place: int) -> "AsyncResult[Any] | GroupResult[Any]":
        return self.children[place]

    def __repr__(self) -> str:
        return f"<GroupResult {self.id} of {len(self.children):,}>"

    # Groups may be nested deeper than Python's stack is: what follows goes through them with lists of its own.

    def _groups(self) -> "list[GroupResult[Any]]":
        """This group, all inside it and what they run after; each comes after those that it is made of."""
        found: list[GroupResult[Any]] = []
        seen: set[int] = set()
        stack: list[tuple[GroupResult[Any], bool]] = [(self, False)]
        while stack:
            group, is_over = stack.pop()
            if is_over:
                found.append(group)
            elif id(group) not in seen:
                seen.add(id(group))
                stack.append((group, True))
                stack += [(each, False) for each in (*group.children, group.before) if isinstance(each, GroupResult)]
        return found

    def _awaited(self) -> Iterator[AsyncResult[Any]]:
        """All results that say what became of the group: those of its members, and of what must succeed before."""
        seen: set[str] = set()
        for group in reversed(self._groups()):
            for each in (group.before, *group.children):
                if isinstance(each, AsyncResult) and each.id not in seen:
                    seen.add(each.id)
                    yield each

    def _ends(self) -> Iterator[AsyncResult[Any]]:
        stack: list[AsyncResult[Any] | GroupResult[Any]] = [self]
        while stack:
            found = stack.pop()
            if isinstance(found, AsyncResult):
                yield found
            else:
                stack += reversed(found.children)

    def _fatal(self) -> set[str]:
        """The ids of those whose failure fails this group, whatever becomes of the others."""
        fatal: set[str] = set()
        groups = {id(self)}
        for group in reversed(self._groups()):
            if id(group) in groups:
                for each in (group.before, *(() if group._is_collecting else group.children)):
                    if isinstance(each, AsyncResult):
                        fatal.add(each.id)
                    elif each is not None:
                        groups.add(id(each))
        return fatal

    def _values(self) -> list[Any]:
        """The list, when all are final: from the inside out. What fails this group was raised before."""
        made: dict[int, list[Any] | _Lost] = {}

        def of(each: "AsyncResult[Any] | GroupResult[Any]") -> Any:
            return made[id(each)] if isinstance(each, GroupResult) else _value(each)

        for group in self._groups():
            before = _lost(group.before) if isinstance(group.before, AsyncResult) else made.get(id(group.before))
            values = [of(each) for each in group.children]
            lost = [value for value in values if isinstance(value, _Lost)]
            if isinstance(before, _Lost):
                made[id(group)] = before
            elif lost and not group._is_collecting:
                made[id(group)] = lost[0]
            else:
                made[id(group)] = [value.failed if isinstance(value, _Lost) else value for value in values]
        found = made[id(self)]
        return [found.failed] if isinstance(found, _Lost) else found


class _Lost(NamedTuple):
    """Stands for a value that there is none of; a ``FailedTask`` may be a value as well."""

    failed: FailedTask


def _value(result: AsyncResult[Any]) -> Any:
    return _lost(result) or result.get(0)


def _lost(result: AsyncResult[Any]) -> _Lost | None:
    final = result.final
    if final is None or final.state is State.SUCCESS:
        return None
    failure = final.failure or Failure("taskbus.errors.TaskRevoked", "the task was revoked before it ran")
    return _Lost(FailedTask(final.task_id, final.task, failure.type, failure.message))


async def _arrived(result: AsyncResult[Any]) -> AsyncResult[Any]:
    await result._arrive(None)
    return result
