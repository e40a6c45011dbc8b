"""A call that follows, as a message in Celery's wire format. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskbus.celery_results.hostile import decoding
from taskbus.celery_results.signature import Call
from taskbus.codec import celery as body_codec
from taskbus.message import MAX_PRIORITY, Message

LONGEST_REPR = 1024


@decoding("a signature of Celery's")
def message_of(call: Call, queue: str, now: float) -> Message:
    """The message that Celery would send for a call, to the queue that its options name, else to ``queue``.

    Always JSON, which every worker of Celery's reads. Raises ``EncodeError`` for arguments that it has no form for.
    """
    options = call.options
    embed = {
        "callbacks": list(call.callbacks) or None,
        "errbacks": list(call.errbacks) or None,
        "chain": list(call.chain) or None,
        "chord": call.chord,
    }
    body = body_codec.encode(call.args, call.kwargs, embed)
    properties = {"correlation_id": call.id, "reply_to": _text(options.get("reply_to")), "delivery_mode": 2}
    expires_at = _instant(options.get("expires"), now)
    if expires_at is not None:
        properties["expiration"] = str(max(0, int((expires_at - now) * 1000)))
    priority, retries = options.get("priority"), options.get("retries")
    return Message(
        id=call.id,
        task=call.task,
        body=body,
        content_type=body_codec.kind(body_codec.JSON),
        queue=_text(options.get("queue")) or _text(options.get("routing_key")) or queue,
        priority=min(max(priority, 0), MAX_PRIORITY) if isinstance(priority, int) else 0,
        attempt=retries + 1 if isinstance(retries, int) else 1,
        sent_at=now,
        due_at=_instant(options.get("countdown") or options.get("eta"), now),
        expires_at=expires_at,
        celery={
            "content-type": body_codec.JSON,
            "content-encoding": "utf-8",
            "headers": _headers(call),
            "properties": properties,
        },
    )


def _headers(call: Call) -> dict[str, Any]:
    options = call.options
    stamped = options.get("stamped_headers")
    own = options.get("headers")
    return {
        **(own if isinstance(own, Mapping) else {}),
        "lang": "py",
        "task": call.task,
        "id": call.id,
        "shadow": options.get("shadow"),
        "eta": None,
        "expires": None,
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
        "retries": options.get("retries") or 0,
        "timelimit": [options.get("time_limit"), options.get("soft_time_limit")],
        "root_id": options.get("root_id") or call.id,
        "parent_id": options.get("parent_id"),
        "argsrepr": _repr(tuple(call.args)),
        "kwargsrepr": _repr(dict(call.kwargs)),
        "origin": "taskbus",
        "ignore_result": options.get("ignore_result"),
        "replaced_task_nesting": options.get("replaced_task_nesting") or 0,
        "stamped_headers": stamped,
        "stamps": {name: options.get(name) for name in stamped or ()},
    }


def _instant(value: Any, now: float) -> float | None:
    """Seconds from now, or a time in ISO 8601."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return now + value
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone().timestamp()
        except ValueError:
            return None
    return value.timestamp() if isinstance(value, datetime) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_REPR else f"{text[: LONGEST_REPR - 3]}..."
