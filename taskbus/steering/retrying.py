"""Running a task again: from its dead letter, or as a new task where the caller says all of its arguments."""

from collections.abc import Callable
from dataclasses import dataclass

from taskbus.app import TaskBus
from taskbus.monitor.report import TaskRecord
from taskbus.outcome import State
from taskbus.steering.letters import Edit, dead_letters_of, edited
from taskbus.steering.refusal import NotThere, Refusal
from taskbus.steering.sending import send
from taskbus.store.base import Filter, StoredResult

Recall = Callable[[str], TaskRecord | None]
"""What is remembered of a task's last attempt, None if nothing."""
AS_IT_IS = Edit()


@dataclass(frozen=True, slots=True)
class Retried:
    """What was sent. ``is_new``: under an id of its own; else as the task that it was, from its dead letter."""

    id: str
    is_new: bool


def retry(app: TaskBus, task_id: str, edit: Edit = AS_IT_IS, *, recall: Recall, queue: str | None = None) -> Retried:
    """Send a task again.

    One with a dead letter is replayed under its id, with the arguments of its message, or others in their place. Of one
    without, the message is gone, and what is remembered of its arguments is text for people, which may be cut: it is
    sent as a new task only with arguments that the caller gives in full. ``queue``: for such a one.

    Raises ``NotThere``, ``Refusal`` with the reason, or the errors of ``Task.delay``.
    """
    dead = dead_letters_of(app)
    for replayed in dead.replay(Filter(task_ids=(task_id,)), edit=edited(app, edit)):
        if replayed.refused:
            raise Refusal(f"task {task_id} was not sent again: {replayed.refused}")
        return Retried(task_id, is_new=False)
    stored, record = app.store.results([task_id]).get(task_id), recall(task_id)
    _must_have_ended(task_id, stored, record)
    if record is not None and record.flow and not edit.is_any:
        return _in_its_flow(app, task_id, record.flow)
    if edit.args is None or edit.kwargs is None:
        raise Refusal(
            f"task {task_id} has no dead letter, and its message is gone: what is remembered of its arguments is text"
            " that was cut and cleared of secrets",
            "give all of its arguments, positional and by keyword, to send it as a new task",
        )
    task = (record and record.task) or (stored and stored.task) or ""
    wanted = queue or (record.queue if record is not None else "")
    if not task or not (wanted or task in app.tasks):
        raise Refusal(
            f"it is not known which {'queue' if task else 'task'} {task_id} was", "send it anew by its name and queue"
        )
    priority = record.priority if record is not None and record.priority else None
    return Retried(send(app, task, edit.args, edit.kwargs, queue=wanted or None, priority=priority), is_new=True)


def _must_have_ended(task_id: str, stored: StoredResult | None, record: TaskRecord | None) -> None:
    if stored is None and record is None:
        raise NotThere(
            f"nothing is known of a task {task_id!r}",
            "it waits, or runs, or was never sent, or what was kept of it is over its time to live",
        )
    state = str(stored.state) if stored is not None else record.state if record is not None else ""
    if state in (State.PENDING, State.STARTED, State.RETRY):
        raise Refusal(f"task {task_id} has not ended ({state})", "it will go on by itself")


def _in_its_flow(app: TaskBus, task_id: str, flow: str) -> Retried:
    """A task of a workflow that failed, by the message that the workflow keeps."""
    for replayed in app.flow(flow).retried(task_id):
        if replayed.refused:
            raise Refusal(f"task {task_id} was not sent again: {replayed.refused}")
        return Retried(task_id, is_new=False)
    raise Refusal(
        f"task {task_id} has not failed in its workflow {flow}",
        "give all of its arguments, positional and by keyword, to send it as a new task",
    )
