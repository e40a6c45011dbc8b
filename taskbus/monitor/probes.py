"""Whether a process lives, is ready, has started: told by how its work gets on, not by whether it answers.

*live*: its loop turns. Neither a broker that is away nor a task that takes long makes it restart. *ready*: it takes
what comes, or would. *startup*: everything it needs was there once. The same words are told over HTTP and in a file.
Imports nothing but the standard library: ``taskbus health`` must take no time.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

WITHIN = 30.0
"""Seconds within which a loop that lives has turned. A turn may wait for a broker's time-outs, several in a row."""


class Vitals(NamedTuple):
    """What a process says of itself at ``at``. Instants are of its host's monotonic clock, 0 is never.

    ``kind``: worker or beat. ``turned_at``: when its loop last turned. ``answered_at``: when the broker last answered,
    which it should every ``answers_within`` seconds; ``failing_since`` and ``failure``: since when it does not and why.
    ``runners`` of ``wanted`` are up. ``is_up``: it has started. ``role``: of a beat, leader or standby.
    """

    kind: str
    name: str
    pid: int
    at: float
    turned_at: float
    answered_at: float = 0.0
    answers_within: float = WITHIN
    failing_since: float = 0.0
    failure: str = ""
    runners: int = 0
    wanted: int = 0
    queues: tuple[str, ...] = ()
    is_up: bool = False
    is_stopping: bool = False
    role: str = ""


class Verdict(NamedTuple):
    """An answer to a probe: it is yes if there are no ``reasons`` against it."""

    probe: str
    reasons: tuple[str, ...]
    vitals: Vitals
    now: float

    @property
    def is_ok(self) -> bool:
        return not self.reasons

    def as_json(self) -> str:
        """``{"probe", "status": "ok"|"failing", "reasons": [text], "kind", "name", "pid", ...}``; ages in seconds."""
        vitals = self.vitals
        said: dict[str, Any] = {
            "probe": self.probe,
            "status": "ok" if self.is_ok else "failing",
            "reasons": list(self.reasons),
            "kind": vitals.kind,
            "name": vitals.name,
            "pid": vitals.pid,
            "turned": _age(vitals.turned_at, self.now),
            "broker_answered": _age(vitals.answered_at, self.now),
        }
        if vitals.kind == "worker":
            said |= {"runners": vitals.runners, "wanted": vitals.wanted, "queues": list(vitals.queues)}
        if vitals.role:
            said["role"] = vitals.role
        return json.dumps(said)


def live(vitals: Vitals, now: float, within: float = WITHIN) -> Verdict:
    """Whether its loop has turned in the last ``within`` seconds; if not, nothing but a new process helps."""
    reasons: tuple[str, ...] = ()
    silent_for, still_for = now - vitals.at, now - vitals.turned_at
    if not 0 <= silent_for <= within:
        reasons = (f"it has said nothing for {abs(silent_for):.0f} s: it was stopped, or is gone",)
    elif vitals.turned_at and still_for > within:
        reasons = (f"its loop has not turned for {still_for:.0f} s",)
    return Verdict("live", reasons, vitals, now)


def ready(vitals: Vitals, now: float, within: float = WITHIN) -> Verdict:
    """Whether it takes what comes: it lives, has started, does not stop, and the broker answers it."""
    reasons = list(live(vitals, now, within).reasons)
    if vitals.is_stopping:
        reasons.append("it is stopping")
    elif not vitals.is_up:
        reasons += startup(vitals, now, within).reasons
    elif vitals.wanted and not vitals.runners:
        reasons.append(f"none of its {vitals.wanted} runners is up")
    if vitals.failing_since:
        reasons.append(f"the broker fails since {max(0.0, now - vitals.failing_since):.1f} s: {vitals.failure}")
    elif vitals.is_up and not vitals.answered_at:
        reasons.append("the broker has not been asked yet")
    elif vitals.is_up and now - vitals.answered_at > vitals.answers_within:
        reasons.append(f"the broker has not answered for {now - vitals.answered_at:.0f} s")
    return Verdict("ready", tuple(reasons), vitals, now)


def startup(vitals: Vitals, now: float, within: float = WITHIN) -> Verdict:
    """Whether everything it needs was there once. It stays yes."""
    reasons: tuple[str, ...] = ()
    if not vitals.is_up:
        missing = (
            f"{vitals.runners} of {vitals.wanted} runners are up" if vitals.wanted else "its first turn is not over"
        )
        reasons = (f"it is starting: {missing}",)
    return Verdict("startup", reasons, vitals, now)


Probe = Callable[[Vitals, float, float], Verdict]
PROBES: dict[str, Probe] = {"live": live, "ready": ready, "startup": startup}


def pack(vitals: Vitals) -> str:
    """As a line of JSON for a file."""
    return json.dumps(vitals._asdict()) + "\n"


def unpack(text: str) -> Vitals:
    """What ``pack`` made, by any version. Raises ``ValueError`` for anything else."""
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError("not the state of a TaskBus process")
    try:
        known = {name: said[name] for name in Vitals._fields if name in said}
        return Vitals(**{**known, "queues": tuple(known.get("queues", ()))})
    except TypeError as error:
        raise ValueError(f"not the state of a TaskBus process: {error}") from error


def _age(at: float, now: float) -> float | None:
    return round(max(0.0, now - at), 3) if at else None
