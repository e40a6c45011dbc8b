"""What real Celery sends for a signature, caught before it reaches a broker, in a form that ours can be put in too."""

from collections.abc import Sequence
from typing import Any

from celery import Celery, signature
from celery.backends.base import Backend

from taskbus.celery_results.signature import Call, Sending


class Counting(Backend):
    """A backend that counts chords by itself, like Redis, and only remembers how large they are to be."""

    sizes: list[tuple[str, int]] = []

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        Counting.sizes.append((group_id, chord_size))

    def apply_chord(self, header_result_args: Any, body: Any, **options: Any) -> None:
        pass

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        return result

    def remove_pending_result(self, result: Any) -> Any:
        return result


def celery_app() -> Celery:
    app = Celery("captured", broker="memory://", backend=Counting, set_as_current=False)
    app.conf.update(task_always_eager=False)
    for name in ("add", "total", "one", "failed"):
        app.task(_nothing, name=name, shared=False)
    return app


def _nothing(*args: Any) -> None:
    """Is never called."""


def sent_by_celery(app: Celery, plain: dict[str, Any], args: Sequence[Any], **options: Any) -> dict[str, Any]:
    """Have Celery send the signature, as a worker does after a task with result ``args[0]``."""
    caught: list[dict[str, Any]] = []

    def catch(producer: Any, name: str, message: Any, **routing: Any) -> None:
        task_args, kwargs, embed = message.body
        # Without a parent, a worker names the task that it runs; here none is running.
        headers = {**message.headers, "parent_id": message.headers["parent_id"] or options.get("parent_id")}
        caught.append(_form(headers, task_args, kwargs, embed))

    Counting.sizes = []
    app.amqp.send_task_message = catch
    app.amqp.__dict__["send_task_message"] = catch
    signature(plain, app=app).apply_async(args, **options)
    return {"calls": caught, "chords": [list(each) for each in Counting.sizes]}


def sent_by_taskbus(plain: dict[str, Any], args: Sequence[Any], **options: Any) -> dict[str, Any]:
    sending = Sending("seed")
    sending.send(plain, args, **options)
    return {
        "calls": [_form(_headers(call), call.args, call.kwargs, _embed(call)) for call in sending.calls],
        "chords": [[chord.group, chord.size] for chord in sending.chords],
    }


def _headers(call: Call) -> dict[str, Any]:
    options = call.options
    return {
        "task": call.task,
        "id": call.id,
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
        "root_id": options.get("root_id") or call.id,
        "parent_id": options.get("parent_id"),
        "stamps": {name: options[name] for name in options.get("stamped_headers") or ()},
    }


def _embed(call: Call) -> dict[str, Any]:
    return {"callbacks": call.callbacks, "errbacks": call.errbacks, "chain": call.chain, "chord": call.chord}


def _form(headers: dict[str, Any], args: Any, kwargs: Any, embed: dict[str, Any]) -> dict[str, Any]:
    named = ("task", "id", "group", "group_index", "root_id", "parent_id", "stamps")
    return {
        **{name: headers[name] for name in named},
        "args": _plain(args),
        "kwargs": _plain(kwargs),
        "embed": {name: _plain(embed.get(name)) or None for name in ("callbacks", "errbacks", "chain", "chord")},
    }


_NOISE = ("reply_to", "add_to_parent")
"""Where replies would go, and a keyword of a Python call that Celery lets slip into the options of a nested chord."""


def _plain(value: Any) -> Any:
    """Without noise and empty options; a chord's header as a group."""
    if isinstance(value, dict):
        kept = {name: _plain(each) for name, each in value.items() if name not in _NOISE}
        if "subtask_type" in kept:
            kept["options"] = {name: each for name, each in kept["options"].items() if each not in (None, [], ())}
            if kept["subtask_type"] == "chord" and isinstance(kept["kwargs"].get("header"), list):
                header = kept["kwargs"]["header"]
                kept["kwargs"]["header"] = {
                    "task": "celery.group", "args": [], "kwargs": {"tasks": header}, "options": {},
                    "subtask_type": "group", "immutable": False,
                }  # fmt: skip
        return kept
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def renamed(value: Any, known: dict[str, str] | None = None) -> Any:
    """The same with the ids that were made up (they look like UUIDs) counted in the order in which they are met."""
    known = {} if known is None else known
    if isinstance(value, dict):
        return {name: renamed(value[name], known) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [renamed(each, known) for each in value]
    if isinstance(value, str) and len(value) == 36 and value.count("-") == 4:
        return known.setdefault(value, f"id{len(known)}")
    return value
