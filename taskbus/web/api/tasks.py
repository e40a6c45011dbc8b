"""Tasks: to search, look at, send, retry and revoke; and how those of each name do."""

from collections.abc import Mapping, Sequence

from msgspec import UnsetType

from taskbus.history.shapes import TaskType
from taskbus.monitor.report import TaskRecord
from taskbus.steering import detail as known
from taskbus.steering import retrying, revoking
from taskbus.steering.letters import Edit
from taskbus.steering.nodes import seen_nodes
from taskbus.steering.refusal import NotThere, near
from taskbus.steering.search import Places, search
from taskbus.steering.sending import send
from taskbus.steering.showing import Showing
from taskbus.steering.tracing import trace
from taskbus.web import picture
from taskbus.web.api.charts import counts_of, quantiles_of, series_of
from taskbus.web.house import House, Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes import tasks as shapes
from taskbus.web.shapes.basis import Changed, Counts, Listing, Quantiles, Range
from taskbus.web.shapes.records import Replay

tasks = Routes("tasks")
types = Routes("types")
REVOKING = 3.0
"""Seconds to wait for workers to say that they know of a revocation: it stands without that."""


@tasks.get("/tasks")
def find(visit: Visit, query: shapes.TaskSearch) -> Listing[shapes.TaskRow]:
    """Tasks that match: of the history, or those that run or wait now (``state:started``, ``state:pending``)."""
    house = visit.house
    places = Places(house.app, Showing(house.app), house.reports, house.history)
    found = search(places, query.where, sort=query.sort, limit=query.limit, after=query.after or None)
    items = [picture.row_shape(row) for row in found.rows]
    return Listing(items=items, next=found.next, count=found.count, is_capped=found.is_capped, note=found.note)


@tasks.get("/tasks/{id}")
def show(visit: Visit, id: str) -> shapes.TaskDetail:
    """All that is known of one task."""
    house = visit.house
    found = trace(house.app, house.reports, house.history, id)
    if not found.is_known:
        raise NotThere(
            f"nothing is known of a task {id!r}",
            "it was never sent, or what was kept of it is over its time to live"
            + ("" if found.was_all_looked_through else "; it may still wait in a queue too long to look through"),
        )
    showing = Showing(house.app)
    return detail_shape(showing.detail(known.detail(found, showing.call), found.message))


@tasks.post("/tasks")
def send_one(visit: Visit, body: shapes.NewTask) -> shapes.Sent:
    """Send a task by its name; checked against its signature where the code is known here."""
    house = visit.house
    visit.note(target=body.task, detail=body.queue)
    sent = send(
        house.app, body.task, body.args, body.kwargs, queue=body.queue, countdown=body.countdown,
        priority=body.priority,
    )  # fmt: skip
    visit.note(target=f"{body.task} {sent}")
    return shapes.Sent(id=sent)


@tasks.post("/tasks/{id}/retry")
def retry(visit: Visit, id: str, body: shapes.Again) -> shapes.Sent:
    """Run a task again: from its dead letter, or as a new task with all of its arguments given."""
    house = visit.house
    edit = edit_of(body)
    visit.note(target=id, detail="edited" if edit.is_any else None)
    done = retrying.retry(house.app, id, edit, recall=lambda task_id: last_record(house, task_id))
    visit.note(detail=f"as {done.id}" if done.is_new else None)
    return shapes.Sent(id=done.id)


@tasks.post("/tasks/{id}/revoke")
def revoke(visit: Visit, id: str, body: shapes.Revocation) -> Changed:
    """Let a task not run; with ``terminate`` end it if it runs. ``count``: the workers that have said they know."""
    house = visit.house
    visit.note(target=id, detail="terminate" if body.terminate else None)
    done = revoking.revoke(house.app, house.reports, [id], terminate=body.terminate, timeout=REVOKING)
    return Changed(changed=True, count=len(done.told))


def edit_of(body: shapes.Again | Replay) -> Edit:
    """The arguments that a body gives, None for those that it leaves as they were."""
    args = None if isinstance(body.args, UnsetType) else body.args
    return Edit(args, None if isinstance(body.kwargs, UnsetType) else body.kwargs)


def last_record(house: House, task_id: str) -> TaskRecord | None:
    """What the history remembers of a task's last attempt."""
    records = house.history.attempts(task_id) if house.history is not None else ()
    return records[-1] if records else None


# --- types -----------------------------------------------------------------------------------------------------------


@types.get("/types")
def list_types(visit: Visit, query: Range) -> Listing[shapes.Type]:
    """How the tasks of each name did, by name; also of those that workers know and nobody sent."""
    found = types_of(visit.house, query.range)
    note = "" if visit.house.history is not None else "there is no history: these are the tasks that workers know"
    return Listing(items=found, count=len(found), note=note)


@types.get("/types/{task}")
def show_type(visit: Visit, task: str, query: Range) -> shapes.TypeDetail:
    """How the tasks of one name did."""
    found = {each.task: each for each in types_of(visit.house, query.range, task)}
    if task not in found:
        others = (each.task for each in types_of(visit.house, query.range))
        raise NotThere(f"no task {task!r} is known here", near(task, others))
    return shapes.TypeDetail(type=found[task], series=series_of(visit.house, query.range, task=task))


def types_of(house: House, range: str, task: str | None = None) -> list[shapes.Type]:
    """The types of task that the history or a living worker knows, or the one of that name, by name."""
    workers = _knowing(house)
    remembered = house.history.types(range, task=task) if house.history is not None else ()
    found = {each.task: _type(each, workers.get(each.task, ())) for each in remembered}
    for name in workers:
        if name not in found and task in (None, name):
            found[name] = _unseen(name, workers[name])
    return [found[name] for name in sorted(found)]


def _knowing(house: House) -> Mapping[str, Sequence[str]]:
    """By task, the living workers that know it."""
    found: dict[str, list[str]] = {}
    for seen in seen_nodes(house.reports, house.clock(), kind="worker"):
        for task in seen.state.tasks if seen.is_alive else ():
            found.setdefault(task, []).append(seen.name)
    return found


def _type(each: TaskType, workers: Sequence[str]) -> shapes.Type:
    return shapes.Type(
        task=each.task,
        queues=list(each.queues),
        counts=counts_of(each.counts),
        rate=each.rate,
        wait=quantiles_of(each.wait),
        run=quantiles_of(each.run),
        errors=[
            shapes.ErrorOfType(
                error=group.error,
                count=group.count,
                message=group.message,
                last_at=group.last_at or None,
                example=group.example,
            )
            for group in each.errors
        ],
        workers=list(workers),
        is_registered=bool(workers),
        spark=list(each.spark),
    )


def _unseen(task: str, workers: Sequence[str]) -> shapes.Type:
    return shapes.Type(
        task=task, queues=[], counts=Counts(), rate=0.0, wait=Quantiles(), run=Quantiles(), errors=[],
        workers=list(workers), is_registered=True, spark=[],
    )  # fmt: skip


# --- shapes ----------------------------------------------------------------------------------------------------------


def attempt_shape(attempt: known.Attempt) -> shapes.Attempt:
    """An attempt as it is sent."""
    fields = {name: getattr(attempt, name) for name in known.Attempt.__dataclass_fields__}
    return shapes.Attempt(**{**fields, "logs": list(attempt.logs)})


def detail_shape(detail: known.Detail) -> shapes.TaskDetail:
    """All that is known of a task as it is sent."""
    return shapes.TaskDetail(
        row=picture.row_shape(detail.row),
        attempts=[attempt_shape(each) for each in detail.attempts],
        result=detail.result,
        traceback=detail.traceback,
        logs=list(detail.logs),
        progress=picture.progress(detail.progress),
        trace=detail.trace,
        parent=detail.parent,
        flow=detail.flow,
        is_dead_letter=detail.is_dead_letter,
        is_running=detail.is_running,
        is_waiting=detail.is_waiting,
        priority=detail.priority,
        due_at=detail.due_at,
        python=detail.python,
        cli=detail.cli,
    )
