"""What is done with dead letters: look at them, send them again, delete them. The same on every store and broker."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.errors import BadArguments, CodecError, DecodeError, PayloadTooLarge
from taskbus.message import CHUNK, FLOW, OWN_HEADERS, TAKES, Message
from taskbus.store.base import AnyChange, DeadLetter, Exhume, Filter, ForgetFailure, Group, Purge, Store
from taskbus.store.flows import ReviveNode
from taskbus.wire import formats

PAGE = 100
PURGE_PAGE = 500
EVERYTHING = Filter()

Transact = Callable[[Message, Sequence[AnyChange]], bool]
"""Publishes the message and records the changes in one step; False, with nothing published, if they were refused.

Where broker and store are two, it first publishes, then records.
"""
Edit = Callable[[Message], Message]
"""Makes another message of one that is about to be sent again, or raises an error of ``errors`` that says why not."""
KEPT = (FLOW, CHUNK, TAKES)
"""Of the headers that TaskBus adds, those without which the message would mean something else."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one dead letter. ``refused`` says why it stays where it is; empty: its task was sent again."""

    task_id: str
    task: str
    queue: str
    refused: str = ""


class DeadLetters:
    """The dead letters of ``store``. What is replayed goes out by ``transact``, which is one step unless ``apart``."""

    def __init__(
        self,
        store: Store,
        transact: Transact,
        clock: Clock = wall_clock,
        max_message_bytes: int = 1 << 20,
        *,
        apart: bool = False,
    ) -> None:
        self._store = store
        self._transact = transact
        self._clock = clock
        self._max_message_bytes = max_message_bytes
        self._apart = apart

    def list(
        self, where: Filter = EVERYTHING, limit: int | None = None, *, is_newest_first: bool = False
    ) -> Iterator[DeadLetter]:
        """The letters that match, oldest or newest first, up to ``limit``; read page by page as they are asked for."""
        after: tuple[float, str] | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._store.dead_letters(where, limit=size, after=after, is_newest_first=is_newest_first)
            yield from page
            if len(page) < size:
                return
            after = page[-1].dead_at, page[-1].task_id
            left = None if left is None else left - len(page)

    def count(self, where: Filter = EVERYTHING) -> int:
        """How many letters match."""
        return self._store.count_dead_letters(where)

    def groups(self, where: Filter = EVERYTHING) -> Sequence[Group]:
        """The letters that match, by task, reason and class of error; the largest group first."""
        return self._store.dead_letter_groups(where)

    def show(self, task_id: str) -> DeadLetter | None:
        """One letter with all its attempts; None if there is none of that id."""
        return next(iter(self._store.dead_letters(Filter(task_ids=(task_id,)), limit=1)), None)

    def replay(
        self,
        where: Filter = EVERYTHING,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        edit: Edit | None = None,
    ) -> Iterator[Replayed]:
        """Send the tasks of the letters that match again, oldest first, at most ``limit``, as they are asked for.

        Each is one atomic step: its task is queued and its letter gone, or neither, so replaying may be interrupted
        anywhere and started anew. Where broker and store are two databases, first the task's failure is forgotten, then
        the task queued, then the letter gone: interrupted in between it stays, and started anew may send its task a
        second time. A task keeps its id and arguments; it starts at its first attempt, now, without expiry. Letters
        that die again meanwhile are not taken twice. ``dry_run`` tells what would be done, save
        that it does not foresee who is refused because of a task that has not ended.

        ``edit`` may give a task other arguments; a letter that it raises for is refused, and stays as it is.

        The workflow of a task goes on from there. Refused is what would not run as it should: where its workflow was
        cancelled; while a task that is given its failure has not ended; and where its workflow is forgotten, and with
        it a value that the task is given. One that is given none is sent alone then.

        Raises:
            PublishFailed: the broker refused; the letters not yet reported stay.
        """
        sent = 0
        for letter in self.list(self._until_now(where)):
            if limit is not None and sent >= limit:
                return
            outcome = self._replay(letter, dry_run, edit)
            sent += not outcome.refused
            yield outcome

    def _replay(self, letter: DeadLetter, dry_run: bool, edit: Edit | None) -> Replayed:
        try:
            message = self._message(letter)
            message = message if edit is None else edit(message)
        except (CodecError, BadArguments, PayloadTooLarge) as error:
            return Replayed(letter.task_id, letter.task, letter.queue, str(error))
        revivals: list[AnyChange] = []
        refused = ""
        if flow := message.headers.get(FLOW):
            view = self._store.flow(flow)
            if view is None and TAKES in message.headers:
                refused = _forgotten(flow)
            elif view is None:
                message = message._replace(headers=_without(FLOW, message.headers))
            elif view.is_cancelled:
                refused = _cancelled(flow)
            else:
                revivals.append(ReviveNode(flow, message.id, is_sent=True))
        if not refused and not dry_run and not self._send(message, letter, revivals):
            refused = self._why_not(message, letter)
        return Replayed(letter.task_id, letter.task, letter.queue, refused)

    def _send(self, message: Message, letter: DeadLetter, revivals: Sequence[AnyChange]) -> bool:
        """Exchange the letter for its message; False: refused.

        Where that is no one step, a worker may end the task before the last one, well or as a new letter, and that must
        count. So what stands in its way is forgotten before, and only the very letter that was sent is struck off.
        """
        if not self._apart:
            return self._transact(message, [Exhume(letter.task_id), *revivals])
        if self._store.apply([ForgetFailure(letter.task_id, letter.dead_at), *revivals]) is None:
            return False
        return self._transact(message, [Purge(letter.task_id, letter.dead_at)])

    def _why_not(self, message: Message, letter: DeadLetter) -> str:
        """Why sending it again was refused."""
        flow = message.headers.get(FLOW)
        found = self.show(letter.task_id)
        if flow is None or found is None or found.dead_at != letter.dead_at:
            return "it is gone: replayed or purged"
        view = self._store.flow(flow)
        if view is None:
            return _forgotten(flow)
        return _cancelled(flow) if view.is_cancelled else not_yet(flow)

    def _message(self, letter: DeadLetter) -> Message:
        if letter.content_type not in formats.READ:
            raise DecodeError(
                f"content type {letter.content_type!r} is not one of {' and '.join(formats.READ)}: no TaskBus message"
            )
        message = formats.decode(letter.wire, letter.queue, letter.priority, self._max_message_bytes)
        headers = {
            name: text for name, text in message.headers.items() if name in KEPT or not name.startswith(OWN_HEADERS)
        }
        return message._replace(attempt=1, sent_at=self._clock(), due_at=None, expires_at=None, headers=headers)

    def purge(self, where: Filter = EVERYTHING) -> int:
        """Delete the letters that match, with their attempts, and return how many; the tasks' results stay."""
        return sum(self.purged(where))

    def purged(self, where: Filter = EVERYTHING) -> Iterator[int]:
        """As ``purge``, a page at a time as they are asked for: how many each page was."""
        where = self._until_now(where)
        while page := self._store.dead_letters(where, limit=PURGE_PAGE):
            self._store.apply([Purge(letter.task_id) for letter in page])
            yield len(page)

    def _until_now(self, where: Filter) -> Filter:
        """``where`` without what dies from now on, so that going through it comes to an end."""
        now = self._clock()
        limit: Any = now if where.older_than is None else min(now, where.older_than)
        return replace(where, older_than=limit)


def not_yet(flow: str) -> str:
    """Why a task of a flow that goes on cannot be run again."""
    return (
        f"a task of its workflow {flow} that is given its failure has not ended yet; replay it when that has:"
        f" taskbus flow show {flow}"
    )


def _cancelled(flow: str) -> str:
    return f"its workflow {flow} was cancelled"


def _forgotten(flow: str) -> str:
    return (
        f"its workflow {flow} ended longer than flow_ttl ago, and what it gave to this task is forgotten;"
        " send the task anew, with all its arguments"
    )


def _without(header: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: text for name, text in headers.items() if name != header}
