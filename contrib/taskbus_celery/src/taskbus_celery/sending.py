"""From a signature to a workflow of TaskBus that is sent, and to the results to wait for."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import taskbus
from taskbus import PublishFailed
from taskbus_celery import canvas, result, signals
from taskbus_celery.exceptions import Ignore, NotSupported, OperationalError, warn_once
from taskbus_celery.request import ERRBACK, GROUP, OF_CAUSE, OF_TASK, OWN, PARENT, ROOT, text_headers
from taskbus_celery.routing import queue_of
from taskbus_celery.state import get_current_worker_task
from taskbus_celery.utils.ids import uuid

LINKS = ("link", "link_error")
HONOURED = ("countdown", "eta", "expires", "priority", "queue", "task_id", "headers", "link", "link_error")
NEEDLESS = frozenset({
    "add_to_parent", "chain", "chord", "connection", "declare", "delivery_mode", "exchange", "exchange_type",
    "group_id", "group_index", "mandatory", "options", "parent_id", "producer", "publisher", "reply_to", "result_cls",
    "retries", "retry", "retry_policy", "root_id", "route_name", "router", "routing_key", "task_type", "interval",
    "max_retries", "task_name", "app", "replaced_task_nesting", "immutable", "persistent", "max_interval",
})  # fmt: skip
"""Options of a call that say how Celery is to send it, or that it sets itself."""
DIFFERENT: Mapping[str, str] = {
    "time_limit": "a time limit is the task's: @app.task(time_limit=...)",
    "soft_time_limit": "a time limit is the task's: @app.task(soft_time_limit=...)",
    "ignore_result": "whether a result is kept is the task's to say: @app.task(ignore_result=...)",
    "serializer": "the serializer is the task's: @app.task(serializer=...)",
    "compression": "messages are not compressed",
    "shadow": "a task is shown by its own name",
    "stamped_headers": "there are no stamps; use headers",
    "stamps": "there are no stamps; use headers",
}
_ENVELOPE = frozenset({
    "lang", "task", "id", "root_id", "parent_id", "eta", "expires", "retries", "timelimit", "argsrepr", "kwargsrepr",
    "origin", "group",
})  # fmt: skip


WORKFLOWS = (canvas.chain, canvas.group, canvas.chord)


class Published(NamedTuple):
    """What the signals of a send tell."""

    name: str
    body: Any
    headers: dict[str, Any]
    queue: str


class Place(NamedTuple):
    """Where a call stands in what is sent. ``root``: None where it is the first itself."""

    root: str | None = None
    parent: str | None = None
    group: str | None = None
    errback_of: str = ""


class Replacing(Ignore):
    """Ends the attempt of a task whose place ``signature`` takes."""

    def __init__(self, signature: Any) -> None:
        super().__init__("Replaced by new task")
        self.signature = signature


def send(app: Any, call: Any) -> Any:
    """Send a signature that is the caller's no more; returns its result, None for a chain of nothing.

    Raises ``OperationalError`` where the broker does not take it.
    """
    if isinstance(call, canvas.chain) and not call.tasks:
        return None
    promised = frozen(app, call)
    published: list[Published] = []
    try:
        if type(call) not in WORKFLOWS and not any(call.options.get(link) for link in LINKS):
            made = _made(app, call, place_here(), published)
            promised.inner = made.callee.apply_async(made.args, made.kwargs, **made.options)
        else:
            woven(app, call, place_here(), published).apply_async()
    except PublishFailed as error:
        raise OperationalError(str(error)) from error
    for each in published:
        tell = {"exchange": "", "routing_key": each.queue}
        signals.after_task_publish.send(sender=each.name, headers=each.headers, body=each.body, **tell)
        args, kwargs, _ = each.body
        signals.task_sent.send(
            sender=each.name, task_id=each.headers["id"], task=each.name, args=args, kwargs=kwargs,
            eta=each.headers["eta"], taskset=each.headers["group"],
        )  # fmt: skip
    return promised


def place_here() -> Place:
    """Where what is sent from here stands: below the task that runs here, if one does."""
    task = get_current_worker_task()
    request = None if task is None else task.request
    if request is None or request.id is None:
        return Place()
    return Place(request.root_id or request.id, request.id)


def frozen(app: Any, call: Any, id: str | None = None, parent: Any = None) -> Any:
    """Give every task of a signature its id, and return the result to wait for."""
    if isinstance(call, canvas.chain):
        *before, last = call.tasks
        for step in before:
            parent = frozen(app, step, None, parent)
        return frozen(app, last, id or call.options.pop("task_id", None), parent)
    if isinstance(call, canvas.group):
        group_id = call.options.setdefault("task_id", id or uuid())
        return result.GroupResult(
            group_id, [frozen(app, task, None, parent) for task in call.tasks], app=app, parent=parent
        )
    if isinstance(call, canvas.chord):
        if call.body is None:
            raise TypeError("a chord needs a body: chord(header)(body)")
        header = frozen(app, call.tasks, None, parent)
        return frozen(app, call.body, id or call.options.pop("task_id", None), header)
    if id is not None:
        call.options["task_id"] = id
    task_id = call.options.setdefault("task_id", uuid())
    return app.AsyncResult(task_id, parent=parent, task_name=call.task)


def woven(app: Any, call: Any, place: Place, published: list[Published]) -> Any:
    """The workflow of TaskBus that a frozen signature stands for."""
    if isinstance(call, canvas.chain):
        shape = _line(app, call, call.tasks, place, published)
    elif isinstance(call, canvas.group):
        shape = _members(app, call, place, published)
    elif isinstance(call, canvas.chord):
        call.body["is_body"] = True
        shape = _line(app, call, [call.tasks, call.body], place, published)
    else:
        shape = _call(app, call, place, published)
    return _linked(app, shape, call, place, published)


def _line(app: Any, call: Any, steps: Sequence[Any], place: Place, published: list[Published]) -> Any:
    """Steps in turn; what the whole is told about its beginning, the first is."""
    given, named = call.get("args", ()), call.get("given", {})
    shapes = []
    root, parent = place.root, place.parent
    for number, step in enumerate(steps):
        if number == 0 and (given or named):
            step = step.clone(given, named)
        own = {key: value for key, value in call.options.items() if key in ("queue", "priority", "headers", "expires")}
        if number == 0:
            own |= {key: call.options[key] for key in ("countdown", "eta") if key in call.options}
        step.options.update({key: value for key, value in own.items() if key not in step.options})
        shapes.append(
            woven(app, step, Place(root, parent, place.group, place.errback_of if not number else ""), published)
        )
        root = root or first_id(step)
        parent = last_id(step)
    return taskbus.chain(shapes) if len(shapes) > 1 else shapes[0]


def _members(app: Any, call: Any, place: Place, published: list[Published]) -> Any:
    given, named = call.get("args", ()), call.get("given", {})
    own = {key: value for key, value in call.options.items() if key in HONOURED and key not in ("task_id", *LINKS)}
    shapes = []
    for task in call.tasks:
        if given or named:
            task = task.clone(given, named)
        task.options.update({key: value for key, value in own.items() if key not in task.options})
        shapes.append(woven(app, task, place._replace(group=call.options["task_id"]), published))
    return taskbus.group(shapes).options(task_id=call.options["task_id"])


def _linked(app: Any, shape: Any, call: Any, place: Place, published: list[Published]) -> Any:
    below = Place(place.root or first_id(call), last_id(call))
    for callback in canvas.listed(call.options.get("link")):
        callback = canvas.maybe_signature(callback, app).clone()
        frozen(app, callback)
        shape = shape.link(woven(app, callback, below, published))
    kind = OF_CAUSE if isinstance(call, canvas.chain) else OF_TASK if call.get("is_body") else OWN
    for errback in canvas.listed(call.options.get("link_error")):
        errback = canvas.maybe_signature(errback, app).clone()
        frozen(app, errback)
        shape = shape.link_error(woven(app, errback, below._replace(errback_of=kind), published))
    return shape


def first_id(call: Any) -> str:
    """The id of the first task that runs."""
    while True:
        if isinstance(call, canvas.chord):
            call = call.tasks
        if not isinstance(call, canvas.chain | canvas.group) or not call.tasks:
            return str(call.options.get("task_id", ""))
        call = call.tasks[0]


def last_id(call: Any) -> str:
    """The id of the task that ends it, or of the group."""
    while isinstance(call, canvas.chain | canvas.chord):
        call = call.tasks[-1] if isinstance(call, canvas.chain) else call.body
    return str(call.options.get("task_id", ""))


class Made(NamedTuple):
    """A call of a task of TaskBus's."""

    callee: Any
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


def _call(app: Any, call: Any, place: Place, published: list[Published]) -> Any:
    callee, args, kwargs, options = _made(app, call, place, published)
    made = callee.si(*args, **kwargs) if call.immutable else callee.s(*args, **kwargs)
    return made.options(**options)


def _made(app: Any, call: Any, place: Place, published: list[Published]) -> Made:
    """The call, told to those who listen to ``before_task_publish``."""
    name = call.task
    task = app.tasks.get(name)
    callee = app.callee(name)
    defaults = {} if task is None else {key: getattr(task, key) for key in _DEFAULTS if getattr(task, key) is not None}
    options = app.routes.options(name, call.args, call.kwargs, **{**defaults, **call.options})
    _tell(name, task, options)
    task_id = options["task_id"]
    queue = queue_of(options) or callee.queue
    body = (call.args, call.kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    headers = {
        "lang": "py", "task": name, "id": task_id, "root_id": place.root or task_id, "parent_id": place.parent,
        "group": place.group, "eta": _iso(options.get("eta")), "expires": options.get("expires"), "retries": 0,
        "timelimit": [None, None], "argsrepr": "", "kwargsrepr": "", "origin": "", **(options.get("headers") or {}),
    }  # fmt: skip
    properties = {"correlation_id": task_id, "priority": options.get("priority"), "reply_to": ""}
    signals.before_task_publish.send(
        sender=name, body=body, exchange="", routing_key=queue, headers=headers, properties=properties, declare=[],
        retry_policy=None,
    )  # fmt: skip
    published.append(Published(name, body, headers, queue))
    own = {key: value for key, value in headers.items() if key not in _ENVELOPE}
    sent: dict[str, str] = text_headers(own)
    for key, value in ((ROOT, place.root), (PARENT, place.parent), (GROUP, place.group), (ERRBACK, place.errback_of)):
        if value:
            sent[key] = value
    sent |= call.get("bus_headers", {})
    args, kwargs = [plain(each) for each in call.args], {key: plain(each) for key, each in call.kwargs.items()}
    chosen = {"queue": queue, "task_id": task_id, "headers": sent or None, "priority": _priority(app, options)}
    return Made(callee, args, kwargs, {**chosen, **_times(app, options)})


_DEFAULTS = ("queue", "routing_key", "exchange", "priority", "expires")


def plain(value: Any) -> Any:
    """A signature that is an argument, as a dict; other things as they are."""
    if isinstance(value, canvas.Signature):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()} if type(value) is dict else value


def _tell(name: str, task: Any, options: Mapping[str, Any]) -> None:
    for option in options.keys() - NEEDLESS:
        if option in HONOURED:
            continue
        if option == "ignore_result" and bool(options[option]) == bool(task is not None and task.ignore_result):
            continue
        if option == "serializer" and options[option] in (None, getattr(task, "serializer", None), "json"):
            continue
        words = DIFFERENT.get(option, "it is no option that TaskBus knows; put it in headers={...}")
        warn_once(f"{name}: the option {option}={options[option]!r} of a call has no effect here: {words}")


def _priority(app: Any, options: Mapping[str, Any]) -> int | None:
    given = options.get("priority")
    priority = app.conf.task_default_priority if given is None else given
    if priority is None:
        return None
    if not 0 <= int(priority) <= 9:
        warn_once(f"priority={priority} is beyond 0 to 9, and cut to that")
    return min(9, max(0, int(priority)))


def _times(app: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if options.get("eta") is not None:
        times["eta"] = aware(app, options["eta"])
    elif options.get("countdown") is not None:
        times["countdown"] = options["countdown"]
    expires = options.get("expires")
    if expires is not None:
        times["expires"] = expires if isinstance(expires, int | float | timedelta) else aware(app, expires)
    return times


def aware(app: Any, instant: Any) -> datetime:
    """As Celery takes it: without a zone, it is in the one that is set, UTC if none is."""
    if isinstance(instant, str):
        instant = datetime.fromisoformat(instant)
    if not isinstance(instant, datetime):
        raise NotSupported(f"{instant!r} is no instant; give a datetime")
    zone = UTC if not app.conf.timezone else ZoneInfo(str(app.conf.timezone))
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)


def _iso(instant: Any) -> Any:
    return instant.isoformat() if isinstance(instant, datetime) else instant


def replace(task: Any, call: Any) -> Any:
    """What ``Task.replace`` does."""
    call = canvas.maybe_signature(call, task.app).clone()
    accumulate = canvas.Signature("celery.accumulate", (), {"index": 0}, app=task.app)
    if isinstance(call, canvas.group):
        call = call | accumulate
    if isinstance(call, canvas.chain) and isinstance(call.tasks[-1], canvas.group):
        call = canvas.joined([*call.tasks, accumulate], task.app)
    return task.on_replace(call)


def replaced(task: Any, call: Any) -> Any:
    """What ``Task.on_replace`` does: eagerly the value, else it raises what ends the attempt."""
    if task.request.is_eager:
        return call.apply().get()
    raise Replacing(call)
