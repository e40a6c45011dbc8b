"""Joins the ledgers of a cell into verdicts: what was lost, run twice, run early, completed by a stale worker.

It imports nothing of the queue under test and never asks it what happened. A run that a fault made necessary is
excused and only counted; the same run without a fault is a violation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from .history import INF, Fault, Joined, Rules, Run, join
from .ledger import Event

FINAL = ("SUCCESS", "FAILURE", "REVOKED")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledgers prove; task ids, sorted. ``valid`` when every list that names a broken promise is empty."""

    attempted: int = 0
    acked: int = 0
    rejected: int = 0
    unknown: int = 0
    finished: int = 0
    dead: int = 0
    parked: Sequence[str] = ()
    """Accepted, not finished, still on a queue at the end."""
    gone: Sequence[str] = ()
    """Accepted, not finished, nowhere."""
    unexpected: Sequence[str] = ()
    """Started though nobody sent it, under another id than it was sent with, or though what it waits for failed."""
    ghost: Sequence[str] = ()
    """Started though its send was rejected."""
    dup: Sequence[str] = ()
    """An attempt that had ended ran again, and no fault explains it."""
    extra_start: Sequence[str] = ()
    """An attempt was started again before it ended, one after the other, and no fault explains it."""
    overlap: Sequence[str] = ()
    """Two runs of one task at the same time, and no fault explains it."""
    early: Sequence[str] = ()
    """Started before its time."""
    stale_accepted: Sequence[str] = ()
    """A run whose lease was taken away wrote to the sink, or its result became final; or tokens did not grow."""
    flip: Sequence[str] = ()
    """A final result changed."""
    vanish: Sequence[str] = ()
    """A final result was gone before its time to live."""
    unrecorded: Sequence[str] = ()
    """Ran to its end, and no final result says so."""
    innocent_dead: Sequence[str] = ()
    """Buried though it did nothing wrong."""
    leftover: Sequence[str] = ()
    """Finished, and yet something of it is still on a queue."""
    slow: Sequence[str] = ()
    """Interrupted, and run again later than promised."""
    orphans: Sequence[str] = ()
    """Processes alive after their worker had died, and workers that did not leave as they should."""
    wedged: float = 0.0
    """Longest time without progress while there was work and no fault."""
    recovered: Sequence[str] = ()
    """The outcome of its send was unknown, and it ran: fine."""
    reruns: int = 0
    """Runs that a fault excuses."""
    late: float = 0.0
    """Largest delay between a due time and the start."""
    recovered_after: float = 0.0
    """Longest time between a fault and the new start of a task it interrupted."""
    valid: bool = True

    @property
    def violations(self) -> dict[str, Any]:
        """The broken promises, by name."""
        return {name: getattr(self, name) for name in VIOLATIONS if getattr(self, name)}

    def as_row(self) -> dict[str, Any]:
        """Plain data for a report; empty lists left out."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value != ()
        }


VIOLATIONS = (
    "parked", "gone", "unexpected", "ghost", "dup", "extra_start", "overlap", "early", "stale_accepted", "flip",
    "vanish", "unrecorded", "innocent_dead", "leftover", "slow", "orphans", "wedged",
)  # fmt: skip


def check(events: Iterable[Event], rules: Rules) -> Verdict:
    """The verdict on a cell."""
    joined = join(events)
    lost = sorted(id for id in joined.acked if not joined.finished(id))
    again = _reruns(joined, rules)
    recovery, slow = _recovery(joined, rules)
    flip, vanish = _unstable(joined)
    dead = sorted(id for id in joined.dead if joined.dead[id])
    verdict = {
        "attempted": len(joined.tried),
        "acked": len(joined.acked),
        "rejected": len(joined.rejected),
        "unknown": len(joined.unknown),
        "finished": sum(joined.finished(id) for id in joined.tried),
        "dead": len(dead),
        "parked": [id for id in lost if id in joined.left_ids],
        "gone": [id for id in lost if id not in joined.left_ids],
        "unexpected": _unexpected(joined),
        "ghost": [id for id in joined.rejected if joined.runs[id]],
        "early": _early(joined, rules),
        "stale_accepted": _stale(joined, rules),
        "flip": flip,
        "vanish": vanish,
        "unrecorded": _unrecorded(joined),
        "innocent_dead": [id for id in dead if joined.tried.get(id, {}).get("expect", "any") == "end"],
        "leftover": _leftover(joined, rules),
        "slow": slow,
        "orphans": joined.bad_exits,
        "recovered": [id for id in joined.unknown if any(run.ended for run in joined.runs[id])],
        **again,
    }
    found: dict[str, Any] = {name: tuple(sorted(set(v))) if isinstance(v, list) else v for name, v in verdict.items()}
    found |= {
        "wedged": _wedged(joined, rules),
        "late": round(_late(joined), 3),
        "recovered_after": round(recovery, 3),
    }
    return Verdict(**found, valid=not any(found[name] for name in VIOLATIONS))


def _reruns(joined: Joined, rules: Rules) -> dict[str, Any]:
    """Runs beyond the one that each attempt of each life is entitled to, each counted once, under its worst name."""
    found: dict[str, Any] = {"dup": [], "extra_start": [], "overlap": [], "reruns": 0}
    for id, runs in joined.runs.items():
        for index, run in enumerate(runs):
            same = [other for other in runs[:index] if (other.life, other.attempt) == (run.life, run.attempt)]
            beside = [other for other in runs[:index] if other.end > run.start]
            if not same and not beside:
                continue
            excused = all(any(fault.interrupts(other, rules) for fault in joined.faults) for other in (*same, *beside))
            woke_stale = any(fault.woke_stale(run, rules) for fault in joined.faults)
            if excused or woke_stale or joined.is_forked(id, rules):
                found["reruns"] += 1
            elif beside:
                found["overlap"].append(id)
            else:
                found["dup" if any(other.ended for other in same) else "extra_start"].append(id)
    return found


def _recovery(joined: Joined, rules: Rules) -> tuple[float, list[str]]:
    """The longest time from a fault to the next start of what it interrupted, and the tasks it was too long for."""
    longest, slow = 0.0, []
    for id, runs in joined.runs.items():
        for index, run in enumerate(runs):
            same = [other for other in runs[:index] if (other.life, other.attempt) == (run.life, run.attempt)]
            causes = [
                fault
                for fault in joined.faults
                for other in same
                if fault.t <= run.start and fault.interrupts(other, rules)
            ]
            if causes:
                cause = max(causes, key=lambda fault: fault.t)
                since = min(cause.until, run.start) if cause.action == "outage" else cause.t
                took = run.start - since - _stopped(joined, cause, run.start)
                longest = max(longest, took)
                # A worker that has been struck itself does not replace its dead runners any more.
                of_worker = [fault for fault in joined.faults if fault.worker == cause.worker and fault.t <= run.start]
                if took > max(fault.recovery(rules) for fault in (cause, *of_worker)):
                    slow.append(id)
    return longest, slow


def _stopped(joined: Joined, cause: Fault, until: float) -> float:
    """For how long, between a fault and an instant, other processes were stopped that might have made up for it."""
    others = [fault for fault in joined.faults if fault.action == "stop" and fault is not cause]
    return sum(max(0.0, min(other.until, until) - max(other.t, cause.t)) for other in others)


def _early(joined: Joined, rules: Rules) -> list[str]:
    return [id for id, run, due in _due(joined) if run.start < due - rules.epsilon]


def _late(joined: Joined) -> float:
    return max((run.start - due for _, run, due in _due(joined)), default=0.0)


def _due(joined: Joined) -> list[tuple[str, Run, float]]:
    """The first runs of delayed tasks, with the instant they were due at."""
    delayed = [(id, sent["eta"]) for id, sent in joined.tried.items() if sent.get("eta") is not None]
    return [(id, joined.runs[id][0], due) for id, due in delayed if joined.runs[id]]


def _unexpected(joined: Joined) -> list[str]:
    return [
        id
        for id, runs in joined.runs.items()
        if any(id not in joined.tried or run.lib != joined.tried[id].get("lib", run.lib) for run in runs)
        or (runs and joined.tried[id].get("expect") in ("blocked", "never"))
    ]


def _stale(joined: Joined, rules: Rules) -> list[str]:
    """Tasks where a smaller token won: at the sink, in the result, or because the starts' tokens did not grow."""
    if not rules.fences_grow:
        return []
    stale = []
    for id, runs in joined.runs.items():
        known = [run for run in runs if not any(fault.woke_stale(run, rules) for fault in joined.faults)]
        if any(not _grows(a, b) for a, b in pairwise(known)):
            stale.append(id)
    for id, sinks in joined.sinks.items():
        accepted = sorted((event for event in sinks if event["ok"]), key=lambda event: event.get("nth", 0))
        written = [event["token"] for event in accepted]
        if any(a > b for a, b in pairwise(written)):
            stale.append(id)
    for id, seen in joined.seen.items():
        for event in seen:
            if event["state"] == "SUCCESS" and event.get("token") is not None:
                newer = [run for run in joined.runs[id] if run.token > event["token"] and run.start < event["t"]]
                if newer:
                    stale.append(id)
    return [id for id in stale if not joined.is_forked(id, rules)]


def _grows(before: Run, after: Run) -> bool:
    """Whether the token did. A worker may use one again, for an attempt whose runner it has seen dead."""
    same = (before.worker, before.attempt, before.life) == (after.worker, after.attempt, after.life)
    return before.token <= after.token if same else before.token < after.token


def _unstable(joined: Joined) -> tuple[list[str], list[str]]:
    """Tasks whose final result changed, and tasks whose final result went away."""
    flip, vanish = [], []
    for id, seen in joined.seen.items():
        for before, after in pairwise(seen):
            if before["state"] not in FINAL or joined.life(id, before["t"]) != joined.life(id, after["t"]):
                continue
            if before["state"] == "FAILURE" and joined.replays.get(id):
                begun = [run for run in joined.runs[id] if joined.replays[id][-1] <= run.start <= before["t"]]
                if after["state"] == "PENDING" or not begun:
                    continue  # the replay that had begun took this failure, of the life before, out after it was seen
            if after["state"] != "PENDING":
                flip.append(id)
            elif joined.tried.get(id, {}).get("results", True):
                vanish.append(id)
    return flip, vanish


def _unrecorded(joined: Joined) -> list[str]:
    """Tasks that came to their end, and whose result does not say how."""
    missing = []
    for id in joined.acked:
        if not joined.tried[id].get("results", True) or not joined.finished(id) or joined.quiesced_at == INF:
            continue
        seen = joined.seen[id]
        must_succeed = joined.tried[id].get("expect") != "any" and not joined.dead[id]
        expected = ("SUCCESS",) if must_succeed and any(run.ended for run in joined.runs[id]) else FINAL
        if not seen or seen[-1]["state"] not in expected:
            missing.append(id)
    return missing


def _leftover(joined: Joined, rules: Rules) -> list[str]:
    """What has ended and is still there. The second message that a fault made may wait for an attempt of its own."""
    unknown = ["?"] * (joined.left - len(joined.left_ids))
    return [id for id in joined.left_ids if joined.finished(id) and not joined.is_forked(id, rules)] + unknown


def _wedged(joined: Joined, rules: Rules) -> float:
    """The longest silence while the drain had work to do and no fault was on."""
    if joined.drain_at == INF:
        return 0.0
    begin = max([joined.drain_at, *(fault.until for fault in joined.faults if fault.until < joined.quiesced_at)])
    points = [begin, *(t for t in joined.progress if t > begin)]
    if joined.left and joined.quiesced_at < INF:
        points.append(joined.quiesced_at)
    longest = max((b - a for a, b in pairwise(points)), default=0.0)
    return round(longest, 1) if longest > rules.wedge else 0.0
