"""Workflows as the crash suite sends them: what is expected of each call is in the ledger before it can run.

Used by the harness, and by a producer of its own that may be killed on the way.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from taskbus import TaskBus, chain, chord, group
from taskbus.errors import PublishUnknown, SendError

from .ledger import Ledger

Build = Callable[["Parts"], Any]
"""Makes a canvas of the calls it takes."""

PRODUCED = "p"
"""How the ids of a producer's calls begin; those of the harness begin otherwise."""


class Parts:
    """Makes the calls of one workflow, each with the next of ``ids``, and notes them."""

    def __init__(self, app: TaskBus, ledger: Ledger, ids: Iterator[str]) -> None:
        if not app.tasks:
            app.include(f"{__package__}.tasks")
        self._app, self._ledger, self._ids = app, ledger, ids
        self.accepted: list[str] = []
        """Those that will come to an end, once the workflow is accepted."""

    def __call__(
        self, task: str, *args: Any, takes: bool = False, expect: str = "end", results: bool = True, id: str = ""
    ) -> Any:
        """A call of a task with a new id, or ``id``. ``takes``: its first argument is the value of what runs before.

        ``expect`` as in the ledger.
        """
        id, lib = id or next(self._ids), str(uuid.uuid4())
        self.note(id, lib, expect=expect, results=results)
        made = self._app.tasks[task]
        return (made.s if takes else made.si)(id, *args).options(task_id=lib)

    def note(self, id: str, lib: str, *, expect: str = "end", results: bool = True) -> None:
        """A call that will be made under these ids."""
        self._ledger.log("pub_try", id, lib=lib, expect=expect, results=results, eta=None)
        if expect != "never":
            self.accepted.append(id)

    def replaced(self, count: int) -> Any:
        """A call that is replaced by a chord of ``count`` calls."""
        id, end, lib = next(self._ids), next(self._ids), str(uuid.uuid4())
        self.note(id, lib, results=False)  # the result of that id is that of its end
        self.note(end, lib)
        return self._app.tasks["unfolds"].si(id, end, self._pairs(count)).options(task_id=lib)

    def adding(self, count: int) -> Any:
        """A member of a batch that adds ``count`` more."""
        return self("adds", self._pairs(count))

    def _pairs(self, count: int) -> list[list[str]]:
        pairs = [[next(self._ids), str(uuid.uuid4())] for _ in range(count)]
        for id, lib in pairs:
            self.note(id, lib)
        return pairs


def send_flow(app: TaskBus, ledger: Ledger, ids: Iterator[str], build: Build) -> Any:
    """Send a workflow; it is accepted or refused as a whole. Returns its result, None if it was not accepted."""
    parts = Parts(app, ledger, ids)
    canvas, result = build(parts), None
    with _noted(ledger, parts):
        result = canvas.delay()
    return result


def send_batch(app: TaskBus, ledger: Ledger, ids: Iterator[str], build: Callable[[Parts], "Filling"]) -> None:
    """Fill a batch; its members and callbacks count as accepted when the block has ended."""
    parts = Parts(app, ledger, ids)
    filling = build(parts)
    with _noted(ledger, parts), app.batch_of("crash", **filling.callbacks) as batch:
        for member in filling.members:
            batch.add(member)


class Filling:
    """What is put into a batch. ``members`` may be made as they are added."""

    def __init__(self, members: Iterable[Any], **callbacks: Any) -> None:
        self.members, self.callbacks = members, callbacks


@contextmanager
def _noted(ledger: Ledger, parts: Parts) -> Iterator[None]:
    try:
        yield
    except PublishUnknown as error:
        _for_all(ledger, "pub_unk", parts.accepted, why=str(error))
    except SendError as error:
        _for_all(ledger, "pub_rej", parts.accepted, why=str(error))
    else:
        _for_all(ledger, "pub_ok", parts.accepted)


def _for_all(ledger: Ledger, ev: str, ids: Sequence[str], **more: Any) -> None:
    for id in ids:
        ledger.log(ev, id, **more)


# --- what is sent ----------------------------------------------------------------------------------------------------


def line(part: Parts) -> Any:
    """A chord in a chain: six calls, the last of which is the end of it all."""
    members = [part("quick"), part("aquick"), part("quick")]
    return chain(part("quick"), chord(members, part("joined", 3, takes=True)), part("quick"))


def doomed_line(part: Parts) -> Any:
    """A chord of which a member fails for good: its body does not run, and who waits for the failure is told of it."""
    members = [part("quick"), part("doomed", expect="dead"), part("flaky")]
    body = part("joined", 3, takes=True, expect="blocked").link_error(part("told", "never", takes=True))
    return chord(members, body).link(part("quick", expect="blocked"))


def collecting(part: Parts) -> Any:
    """The same, where the body is given what failed."""
    members = [part("quick"), part("doomed", expect="dead"), part("flaky")]
    return chord(members, part("tallied", 2, 1, takes=True), collect=True) | part("quick")


def unfolding(part: Parts) -> Any:
    """Calls that are replaced by workflows, in a chain and in a group."""
    members = group(part.replaced(2), part("quick"), part.replaced(0))
    return chain(part("quick"), part.replaced(3), members, part("joined", 3, takes=True))


def unseen(part: Parts) -> Any:
    """As ``line``, where no result is to be seen."""
    members = [part("quick", results=False) for _ in range(4)]
    return chain(
        part("quick", results=False), chord(members, part("joined", 4, takes=True, results=False)),
        part("quick", results=False),
    )  # fmt: skip


def good_batch(part: Parts) -> Filling:
    """A batch that succeeds, to which a member adds others."""
    members = [part("quick"), part("flaky"), part.adding(3), part("aquick") | part("quick")]
    return Filling(members, on_success=part("quick"), on_complete=part("quick"), on_death=part("quick", expect="never"))


def bad_batch(part: Parts) -> Filling:
    """A batch with members that fail for good."""
    members = [part("quick"), part("doomed", expect="dead"), part("doomed", expect="dead"), part("quick")]
    return Filling(
        members, on_success=part("quick", expect="blocked"), on_complete=part("quick"), on_death=part("quick")
    )


FILL = 20
"""Members of a batch that is filled step by step."""


def large_batch(part: Parts) -> Filling:
    """A batch of ``FILL`` members, made as they are added; its callbacks are the first calls noted."""
    callbacks = {
        "on_success": part("quick"), "on_complete": part("quick"), "on_death": part("quick", expect="never"),
    }  # fmt: skip
    return Filling((part("quick") for _ in range(FILL)), **callbacks)
