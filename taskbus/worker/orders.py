"""What a worker does when it is told to: Celery 5.7's control commands, with its replies.

Each function is given the worker and the command's arguments by name, and returns what is sent back; an error is
replied as such. Source of names and texts: celery/worker/control.py, as its replies were seen.
"""

import logging
import signal as signals
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from taskbus.outcome import Revoked
from taskbus.worker.mourning import TERMINATED
from taskbus.worker.realm import Active, Realm
from taskbus.worker.settlement import Ended, Held
from taskbus.worker.standing import REVOKED
from taskbus.worker.telling import fields_of

logger = logging.getLogger(__name__)
Reply = Any


# --- tasks -----------------------------------------------------------------------------------------------------------


def revoke(realm: Realm, task_id: str | Sequence[str], terminate: bool = False, signal: Any = None, **_: Any) -> Reply:
    """Let tasks not run; with ``terminate`` end them if they run here."""
    ids = {task_id} if isinstance(task_id, str) else set(task_id or ())
    number = _signal(signal)
    realm.standing.revoke(ids)
    found = _withdraw(realm, [held for held in realm.reserved() if held.message and held.message.id in ids])
    logger.info("revoked by remote control: %s", ", ".join(sorted(ids)))
    if not terminate:
        return {"ok": f"tasks {ids} flagged as revoked"}
    found += _terminate(realm, [active for active in realm.active() if _id(active.held) in ids], number)
    return {"ok": f"terminate: {', '.join(map(_id, found))}" if found else "terminate: tasks unknown"}


def terminate(realm: Realm, signal: Any, task_id: str | Sequence[str], **_: Any) -> Reply:
    """End tasks that run here, and let them not run again."""
    return revoke(realm, task_id, terminate=True, signal=signal)


def revoke_by_stamped_headers(
    realm: Realm, headers: Mapping[str, Any] | Sequence[str], terminate: bool = False, signal: Any = None, **_: Any
) -> Reply:
    """Let tasks with one of these headers not run; with ``terminate`` end them if they run here."""
    number = _signal(signal)
    if not isinstance(headers, Mapping):
        headers = dict(header.split("=", 1) for header in headers)
    wanted = {name: value if isinstance(value, list) else [value] for name, value in headers.items()}
    realm.standing.revoke_stamped(wanted)
    _withdraw(realm, [held for held in realm.reserved() if realm.standing.has_stamp(held, wanted)])
    if not terminate:
        return {"ok": f"headers {headers} flagged as revoked, but not terminated"}
    running = [active for active in realm.active() if realm.standing.has_stamp(active.held, wanted)]
    if not _terminate(realm, running, number):
        return {"ok": f"headers {headers} were not terminated"}
    return {"ok": f"headers {headers} revoked"}


def _withdraw(realm: Realm, reserved: Iterable[Held]) -> list[Held]:
    """End what has not started. What a runner was given already is called back, and ends when it comes again."""
    chosen = {id(held): held for held in reserved}
    here = [held for held in realm.dispatcher.waiting() if id(held) in chosen]
    if here:
        realm.dispatcher.empty(here)
    here += realm.standing.empty(chosen.keys())
    realm.end([Ended(held, Revoked(REVOKED)) for held in here])
    for runner in realm.runners():
        if any(id(held) in chosen for held in runner.held.values()):
            runner.send("recall")
    return list(chosen.values())


def _terminate(realm: Realm, running: Sequence[Active], number: int) -> list[Held]:
    """Kill the runners of these attempts: their own end is the only one that no code can refuse."""
    for active in running:
        logger.warning("terminating %s (signal %d asked for)", _id(active.held), number, extra=fields_of(active.held))
        active.runner.killed_for[active.held.tag] = TERMINATED
        active.runner.kill()
    return [active.held for active in running]


def _signal(signal: Any) -> int:
    """A signal by number or name. Raises ``AttributeError`` or ``TypeError`` for what is none, as Celery does."""
    if isinstance(signal, int):
        return signal
    name = str(signal or "SIGTERM").upper()
    return int(getattr(signals, name if name.startswith("SIG") else f"SIG{name}"))


def _id(held: Held) -> str:
    return held.message.id if held.message else ""


def rate_limit(realm: Realm, task_name: str, rate_limit: Any, **_: Any) -> Reply:
    """Let a task start so often here from now on."""
    if task_name not in realm.specs:
        return {"error": "unknown task"}
    try:
        realm.standing.limit(task_name, rate_limit, time.monotonic())
    except ValueError as error:
        return {"error": f"Invalid rate limit string: {error!r}"}
    if task_name not in realm.standing.limits:
        return {"ok": "rate limit disabled successfully"}
    return {"ok": "new rate limit set successfully"}


def time_limit(
    realm: Realm, task_name: str | None = None, hard: float | None = None, soft: float | None = None, **_: Any
) -> Reply:
    """Give a task other time limits, for attempts that start from now on."""
    spec = realm.specs.get(task_name or "")
    if spec is None or task_name is None:
        return {"error": "unknown task"}
    hard, soft = (float(limit) if limit else None for limit in (hard, soft))
    realm.specs[task_name] = replace(spec, time_limit=hard)
    realm.watch()
    realm.crew.announce("limits", task_name, soft, hard)
    return {"ok": "time limits set successfully"}


# --- the worker ------------------------------------------------------------------------------------------------------


def enable_events(realm: Realm, **_: Any) -> Reply:
    """Tell of tasks from now on."""
    if realm.telemetry.is_on:
        return {"ok": "task events already enabled"}
    realm.telemetry.is_on = True
    return {"ok": "task events enabled"}


def disable_events(realm: Realm, **_: Any) -> Reply:
    """Tell of tasks no longer."""
    if not realm.telemetry.is_on:
        return {"ok": "task events already disabled"}
    realm.telemetry.is_on = False
    return {"ok": "task events disabled"}


def election(realm: Realm, id: str, topic: str, action: Any = None, **_: Any) -> Reply:
    """No worker of ours stands for election; that it has heard of one is told where the event comes."""
    return None


def pool_grow(realm: Realm, n: int = 1, **_: Any) -> Reply:
    """Have ``n`` runners more."""
    _resize(realm, int(n))
    return {"ok": "pool will grow"}


def pool_shrink(realm: Realm, n: int = 1, **_: Any) -> Reply:
    """Have ``n`` runners less, once they have finished what they run."""
    _resize(realm, -int(n))
    return {"ok": "pool will shrink"}


def _resize(realm: Realm, by: int) -> None:
    crew = realm.crew
    if not crew.size:
        raise ValueError("the pool solo has no runners; start the worker with another --pool")
    if crew.size + by < 1:
        raise ValueError(f"a pool of {crew.size} cannot shrink by {-by}: it keeps at least one runner")
    crew.resize(crew.size + by)


def pool_restart(realm: Realm, modules: Any = None, reload: bool = False, **_: Any) -> Reply:
    """Replace every runner, once it has finished what it runs. The code stays what it was when the worker started."""
    if reload or modules:
        raise ValueError("a runner has the code its worker started with; restart the worker for other code")
    for runner in realm.runners():
        realm.crew.retire(runner)
    return {"ok": "reload started"}


def autoscale(realm: Realm, max: int | None = None, min: int | None = None, **_: Any) -> Reply:
    """Answered as by a Celery worker that was not started with it."""
    raise ValueError("Autoscale not enabled")


def add_consumer(realm: Realm, queue: str, **_: Any) -> Reply:
    """Consume one more queue; exchange and routing key mean nothing here."""
    realm.consumer.attend([*realm.consumer.queues, queue])
    return {"ok": f"add consumer {queue}"}


def cancel_consumer(realm: Realm, queue: str, **_: Any) -> Reply:
    """Consume a queue no longer; what was taken from it is done."""
    realm.consumer.attend([name for name in realm.consumer.queues if name != queue])
    return {"ok": f"no longer consuming from {queue}"}


def shutdown(realm: Realm, msg: str = "Got shutdown from remote", **_: Any) -> Reply:
    """Stop in good order; nobody is answered."""
    logger.warning("%s", msg)
    realm.stop()
    return None
