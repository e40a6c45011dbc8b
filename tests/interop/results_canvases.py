"""What is sent to the two fleets, and read, by either of them: single tasks, and workflows of Celery's."""

from collections.abc import Mapping
from typing import Any

from celery import chain, chord, group
from celery.exceptions import ChordError
from celery.result import AsyncResult

from tests.interop.results_fleet import BOTH, OURS, PATIENCE, THEIRS, Fleet


def got(result: Any) -> Any:
    """What a reader of either kind gets."""
    return result.get(timeout=PATIENCE)


def by_id(fleet: Fleet, result: Any) -> Any:
    """The result alone: one that knows what came before raises the error of that."""
    return AsyncResult(result.id, app=fleet.celery)


def sent(fleet: Fleet, sender: str, task: str, queue: str, *args: Any) -> str:
    if sender == "celery":
        return str(fleet.sig(task, *args, queue=queue).apply_async().id)
    return fleet.taskbus.send(f"shop.{task}", args, queue=queue).id


def read_by(fleet: Fleet, reader: str, task_id: str, queue: str) -> Any:
    return got(
        AsyncResult(task_id, app=fleet.celery) if reader == "celery" else fleet.taskbus.result(task_id, queue=queue)
    )


WHO = {"ours": (OURS, OURS), "ours first": (OURS, THEIRS), "theirs first": (THEIRS, OURS), "theirs": (THEIRS, THEIRS),
       "whoever comes": (BOTH, BOTH)}  # fmt: skip


class Canvases:
    """Workflows whose steps are on queue ``one`` and queue ``two``, with what must come out of each."""

    def __init__(self, fleet: Fleet, one: str, two: str) -> None:
        self.sig, self.one, self.two = fleet.sig, one, two

    def add(self, *args: int, two: bool = False) -> Any:
        return self.sig("add", *args, queue=self.two if two else self.one)

    def members(self) -> list[Any]:
        return [self.add(n, n, two=bool(n % 2)) for n in range(4)]

    def a_chain(self) -> Any:
        return chain(self.add(1, 2), self.add(10, two=True), self.add(100)), 113

    def a_group(self) -> Any:
        return group(self.members()), [0, 2, 4, 6]

    def a_chord(self) -> Any:
        return chord(self.members(), self.sig("listed", queue=self.two)), [0, 2, 4, 6]

    def a_chord_within_a_chain(self) -> Any:
        header = group(self.add(10, two=True), self.add(20))
        return chain(self.add(1, 2), header, self.sig("total", queue=self.two), self.add(1000)), 13 + 23 + 1000

    def a_chord_with_a_chord_and_a_chain_in_it(self) -> Any:
        inner = chord([self.add(1, 1), self.add(2, 2, two=True)], self.sig("total", queue=self.one))
        steps = chain(self.add(3, 3, two=True), self.add(4))
        return chord([inner, steps, self.add(5, 5, two=True)], self.sig("listed", queue=self.one)), [6, 10, 10]

    def a_chord_that_ends_in_a_chain(self) -> Any:
        body = chain(self.sig("total", queue=self.one), self.add(1, two=True), self.add(1))
        return chord(self.members(), body), 14

    def a_chord_of_chains_that_end_in_groups(self) -> Any:
        ends = chain(self.add(1, 2), group(self.add(10, two=True), self.add(20)))
        return chord([ends, self.add(1, 1)], self.sig("listed", queue=self.two)), [[13, 23], 2]

    def two_chords_one_after_the_other(self) -> Any:
        first, second = group(self.add(1, 1), self.add(2, 2, two=True)), group(self.add(10), self.add(20, two=True))
        totals = [self.sig("total", queue=queue) for queue in (self.two, self.one)]
        return chain(first, totals[0], second, totals[1]), 42


class Failures(Canvases):
    """Workflows that fail, with what is raised at their end."""

    def bad(self) -> Any:
        return self.sig("fail", "bad", queue=self.one)

    def a_member_of_a_chord(self) -> Any:
        return chord([self.add(1, 1, two=True), self.bad()], self.sig("total", queue=self.one)), ChordError

    def a_chain_in_a_chord(self) -> Any:
        steps = chain(self.bad(), self.add(1, two=True))
        return chord([steps, self.add(1, 1, two=True)], self.sig("total", queue=self.one)), ChordError

    def the_first_of_a_chain(self) -> Any:
        return chain(self.bad(), self.add(1, two=True), self.add(2)), ValueError

    def a_chord_before_more_of_a_chain(self) -> Any:
        return chain(
            group(self.bad(), self.add(1, 1, two=True)), self.sig("total", queue=self.two), self.add(1)
        ), ChordError


def names_of(kind: type, *besides: str) -> list[str]:
    return [name for name in vars(kind) if not name.startswith("_") and name not in besides]


GOOD, BAD = names_of(Canvases, "add", "members"), names_of(Failures, "bad")


Sent = Mapping[tuple[str, str], tuple[Any, Any]]
"""By the name of a workflow and who works on it: its result, and what that must be."""


def send_all(fleet: Fleet, who: Mapping[str, tuple[str, str]]) -> Sent:
    """All of them, sent before the first is waited for: chords in tables take a second each, all at the same time."""
    sent = {}
    for kind, names in ((Canvases, GOOD), (Failures, BAD)):
        for each, queues in who.items():
            for name in names:
                canvas, expected = getattr(kind(fleet, *queues), name)()
                sent[name, each] = (canvas.apply_async(), expected)
    return sent
