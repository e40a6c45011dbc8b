"""The ledgers of a cell, joined: which tasks were sent, when they ran and how, and what the nemesis did to whom."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .ledger import Event

INF = float("inf")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a cell allows. ``window``: how long an attempt may be over and not yet settled when a fault hits.
    ``waking``: how long after a stop that outlasted its lease a worker may still start what its runners were given.

    ``runner_death`` and ``lease + sweep + slack`` are the longest times after which an interrupted task must run again,
    ``handover`` (if not 0) the one after a SIGTERM. ``drain``: how long everything accepted may take to come to an end.
    ``sigterm_interrupts``: SIGTERM may interrupt attempts (they outlast the grace period). ``forks``: settling takes
    the broker several steps, so that what a fault interrupts may go on as two messages. ``fences_grow``: from one
    delivery of a message to the next, which they cannot where they are by the clocks of hosts, and these differ.
    """

    lease: float = 2.0
    sweep: float = 0.5
    slack: float = 2.0
    runner_death: float = 1.0
    window: float = 1.0
    waking: float = 0.25
    epsilon: float = 0.05
    wedge: float = 15.0
    drain: float = 60.0
    handover: float = 0.0
    sigterm_interrupts: bool = False
    forks: bool = False
    fences_grow: bool = True


@dataclass(slots=True)
class Run:
    """One start of a task body. ``end`` is infinite for a run that never said how it ended; ``life`` counts replays."""

    id: str
    key: str
    attempt: int
    token: int
    pid: int
    worker: int
    start: float
    life: int
    lib: str
    end: float = INF
    ended: bool = False
    said: bool = False


@dataclass(slots=True)
class Fault:
    """One act of the nemesis; ``until`` is when a stopped process went on, and the instant itself for a kill.

    An ``outage`` is the broker's or the network's: all workers may lose their leases, until it is over.
    """

    t: float
    action: str
    victim: str
    worker: int
    pids: Sequence[int]
    until: float
    point: str = ""

    @property
    def forks(self) -> bool:
        """Whether it may come between two steps of a settlement. A worker that was stopped before the first one must
        find out that its lease is gone, and take none."""
        return self.action != "stop" or self.point in ("", "settle.inside", "flow.recorded")

    def interrupts(self, run: Run, rules: Rules) -> bool:
        """Whether this fault may have kept the run from ending, or its end from being settled."""
        if self.action == "term" and self.victim != "runner" and not rules.sigterm_interrupts:
            return False
        if self.action == "stop" and self.victim == "runner":
            return False  # the supervisor still renews its lease: nothing is taken from it
        if self.worker not in (0, run.worker) or (self.victim == "runner" and run.pid not in self.pids):
            return False
        stops = INF if self.action == "term" else self.until + rules.window
        return run.start <= stops and run.end >= self.t - rules.window

    def woke_stale(self, run: Run, rules: Rules) -> bool:
        """Whether this stop let the run start after its lease had been taken away: nothing had told the worker yet."""
        stopped = self.action == "stop" and self.victim != "runner" and self.worker == run.worker
        return stopped and self.until - self.t > rules.lease and self.t <= run.start <= self.until + rules.waking

    def recovery(self, rules: Rules) -> float:
        """How soon after this fault what it interrupted must run again."""
        if self.action == "term" and self.victim != "runner" and rules.handover:
            return rules.handover
        if self.victim == "runner" and self.action != "stop":
            return rules.runner_death
        return rules.lease + rules.sweep + rules.slack


@dataclass(slots=True)
class Joined:
    """The ledgers of one cell, by task."""

    tried: dict[str, Event] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    dead: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    sinks: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    returns: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    """What a worker was about to give back by a copy, as runs that took no time: a fault may come before the ack."""
    replays: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[Fault] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    left: int = 0
    left_ids: list[str] = field(default_factory=list)
    drain_at: float = INF
    quiesced_at: float = INF
    bad_exits: list[str] = field(default_factory=list)

    def life(self, id: str, t: float) -> int:
        """How often the task had been replayed by then."""
        return sum(at <= t for at in self.replays[id])

    def is_forked(self, id: str, rules: Rules) -> bool:
        """Whether a fault may have made two messages of this task's one: where it ran, or while it was given back."""
        held = (*self.runs.get(id, ()), *self.returns.get(id, ()))
        return rules.forks and any(
            fault.forks and fault.interrupts(each, rules) for each in held for fault in self.faults
        )

    def finished(self, id: str) -> bool:
        """Whether the task's last life has come to an end that the ledgers show."""
        life = len(self.replays[id])
        return (
            any(run.ended and run.life == life for run in self.runs[id])
            or any(self.life(id, event["t"]) == life for event in self.dead[id])
            or any(event["state"] == "REVOKED" for event in self.seen[id])
            or (self.is_blocked(id) and any(event["state"] == "FAILURE" for event in self.seen[id]))
        )

    def is_blocked(self, id: str) -> bool:
        """Whether it must not run, as what it waits for fails."""
        return id in self.tried and self.tried[id].get("expect") == "blocked"


def join(events: Iterable[Event]) -> Joined:
    """Sort the events of a cell by what they say."""
    ordered = sorted(events, key=lambda event: (event["t"], event["pid"], event["seq"]))
    joined, runs, died = Joined(), {}, {}
    for event in ordered:
        id, t = event["id"], event["t"]
        match event["ev"]:
            case "pub_try":
                joined.tried.setdefault(id, event)
            case "pub_ok":
                joined.acked.add(id)
            case "pub_rej":
                joined.rejected.add(id)
            case "pub_unk":
                joined.unknown.add(id)
            case "replay_begin":
                joined.replays[id].append(t)
            case "start":
                run = runs[event["run"]] = _run(joined, event)
                joined.runs[id].append(run)
            case "back":
                for back in _returns(joined, event):
                    joined.returns[back.id].append(back)
            case "end" | "err":
                run = runs[event["run"]]
                run.end, run.ended, run.said = t, event["ev"] == "end", True
            case "dlq_seen":
                joined.dead[id].append(event)
            case "res_seen":
                joined.seen[id].append(event)
            case "sink":
                joined.sinks[id].append(event)
            case "gone":
                died[event["of"]] = t
            case "nem":
                _join_fault(joined, event)
            case "drain_begin":
                joined.drain_at = t
            case "quiesced":
                joined.quiesced_at, joined.left, joined.left_ids = t, event["left"], event["ids"]
            case "exit" if event["why"]:
                joined.bad_exits.append(event["why"])
        if event["ev"] in ("start", "end", "err", "dlq_seen"):
            joined.progress.append(t)
    for run in runs.values():
        if not run.said:
            run.end = min([died.get(run.pid, INF), *(f.t for f in joined.faults if _killed(f, run))])
    joined.unknown |= joined.tried.keys() - joined.acked - joined.rejected
    return joined


def _run(joined: Joined, event: Event) -> Run:
    return Run(
        id=event["id"],
        key=event["run"],
        attempt=event["attempt"],
        token=event["token"],
        pid=event["pid"],
        worker=event["worker"],
        start=event["t"],
        life=joined.life(event["id"], event["t"]),
        lib=event["lib"],
    )


def _returns(joined: Joined, event: Event) -> list[Run]:
    """What a worker was about to give back, by the ids of the harness: two calls may have one task id."""
    at, told = event["t"], {"attempt": 0, "token": 0, "run": ""}
    ids = [id for id, sent in joined.tried.items() if sent.get("lib") in event["libs"]]
    runs = [_run(joined, {**event, **told, "id": id, "lib": joined.tried[id]["lib"]}) for id in ids]
    return [replace(run, end=at, said=True) for run in runs]


def _join_fault(joined: Joined, event: Event) -> None:
    if event["on"]:
        until = INF if event["action"] in ("stop", "outage") else event["t"]
        joined.faults.append(
            Fault(event["t"], event["action"], event["victim"], event["worker"], event["pids"], until, event["fault"])
        )
        return
    for fault in joined.faults:
        if fault.until == INF and fault.pids == event["pids"]:
            fault.until = event["t"]


def _killed(fault: Fault, run: Run) -> bool:
    return fault.action not in ("stop", "term", "outage") and run.pid in fault.pids and fault.t >= run.start
