"""What a worker needs to answer for Celery's tasks: where their results are kept, and how what follows is sent."""

from collections.abc import Mapping, Sequence

from taskbus.celery_results import unlocking
from taskbus.celery_results.document import Call, Document, document
from taskbus.celery_results.follow import Doomed, Following
from taskbus.celery_results.opening import located, open_celery_results
from taskbus.celery_results.port import CeleryResults
from taskbus.celery_results.sending import message_of
from taskbus.config import Config
from taskbus.message import Message
from taskbus.outcome import State
from taskbus.worker.options import TaskSpec

FLOW_TASKS = FLOW_ENDED, FLOW_FAILED, FLOW_WATCH = "taskbus.flow_ended", "taskbus.flow_failed", "taskbus.flow_watch"
"""Tasks that tell a flow of a member that is Celery's: its value, that it failed; and a look at what Celery keeps."""
SWEEP_EVERY = 60.0
"""Seconds between looks for documents that are too old."""


class CeleryDesk:
    """``results`` None: nothing is kept for Celery. ``worker``: its name, as documents say it."""

    def __init__(self, specs: Mapping[str, TaskSpec], config: Config, worker: str) -> None:
        place = config.celery_results
        self.results: CeleryResults | None = open_celery_results(place, config.result_ttl) if place else None
        self.is_extended = bool(place) and located(place).is_extended
        self.config = config
        self.worker = worker
        self._specs = specs
        self._swept_at = 0.0

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Tasks of Celery's own that are run at this desk."""
        unlock = {} if self.results is None else {unlocking.TASK: TaskSpec(store_results=False)}
        return unlock | (dict.fromkeys(FLOW_TASKS, TaskSpec(store_results=False)) if self.config.celery_queues else {})

    def takes_error(self, task: str) -> bool:
        """Whether a task is an errback of the new form; one that is not known here counts as none."""
        spec = self._specs.get(task)
        return spec is not None and spec.takes > 1

    def messages(self, following: Following, queue: str, now: float) -> list[Message]:
        """What is to be sent; to ``queue`` where a signature names none: there were who take this task were found.

        Raises ``EncodeError``.
        """
        messages = [message_of(call, queue, now) for call in following.calls]
        if self.results is not None and not self.results.ability.counts:
            begun = [chord for chord in following.chords if chord.is_whole]
            messages += [message_of(unlocking.unlock_of(chord), queue, now) for chord in begun]
        return messages

    def doomed(self, doomed: Sequence[Doomed], ttl: float, now: float) -> list[Document]:
        """The documents of tasks that will never run."""
        return [Document(each.headers["id"], self._doomed(each, now), ttl) for each in doomed]

    def _doomed(self, doomed: Doomed, now: float) -> dict[str, object]:
        call = Call(doomed.headers)
        return document(State.FAILURE, call, failure=doomed.failure, at=now, is_extended=self.is_extended)

    def sweep(self, now: float) -> None:
        """Delete documents that are too old, now and then, where the database does not. Raises ``StoreError``."""
        if self.results is not None and now >= self._swept_at + SWEEP_EVERY:
            self._swept_at = now
            self.results.sweep(now, self.config.result_ttl)

    def close(self) -> None:
        if self.results is not None:
            self.results.close()
