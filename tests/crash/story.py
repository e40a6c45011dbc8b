"""A ledger written by hand, for the tests of the checker."""

from itertools import count

from .ledger import Event

WORKER = 100


class Story:
    """Writes a ledger by hand: each call is one event, at the instant given."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._seq = count()
        self._runs = count()

    def add(self, ev: str, id: str, t: float, pid: int = 1, **fields: object) -> None:
        self.events.append({"ev": ev, "id": id, "t": t, "pid": pid, "seq": next(self._seq), **fields})

    def send(self, id: str, t: float = 0.0, answer: str = "pub_ok", **fields: object) -> None:
        self.add("pub_try", id, t, lib=f"lib-{id}", **{"expect": "end", **fields})
        if answer:
            self.add(answer, id, t + 0.01)

    def run(
        self,
        id: str,
        start: float,
        end: float | None,
        *,
        token: int = 1,
        attempt: int = 1,
        pid: int = 7,
        worker: int = WORKER,
        lib: str = "",
        sink: bool = True,
        how: str = "end",
    ) -> None:
        run = f"run-{next(self._runs)}"
        lib = lib or f"lib-{id}"
        self.add("start", id, start, pid, run=run, attempt=attempt, token=token, worker=worker, lib=lib)
        if end is not None:
            if how == "end" and sink:
                self.add("sink", id, end - 0.001, pid, token=token, ok=True)
            self.add(how, id, end, pid, run=run)

    def result(self, id: str, t: float, state: str = "SUCCESS", token: int | None = 1) -> None:
        self.add("res_seen", id, t, state=state, token=token)

    def fault(
        self, t: float, action: str = "kill9", victim: str = "group", pids: tuple[int, ...] = (WORKER, 7), at: str = "x"
    ) -> None:
        self.add("nem", "", t, fault=at, on=True, action=action, victim=victim, worker=WORKER, pids=list(pids))

    def outage(self, begin: float, end: float) -> None:
        for t, on in ((begin, True), (end, False)):
            self.add("nem", "", t, fault="net", on=on, action="outage", victim="broker", worker=0, pids=[-1])

    def heal(self, t: float, pids: tuple[int, ...] = (WORKER, 7)) -> None:
        self.add("nem", "", t, fault="x", on=False, action="stop", victim="group", worker=WORKER, pids=list(pids))

    def drain(self, begin: float = 1.5, end: float = 30.0, left: int = 0, ids: tuple[str, ...] = ()) -> None:
        self.add("drain_begin", "", begin)
        self.add("quiesced", "", end, left=left, ids=list(ids))


def healthy() -> Story:
    """Two tasks that went well, and a third that a killed worker had begun."""
    story = Story()
    for index, id in enumerate(("a", "b")):
        story.send(id)
        story.run(id, 1.0 + index, 1.5 + index)
        story.result(id, 4.0)
    story.send("c")
    story.run("c", 3.0, None)
    story.fault(3.5)
    story.run("c", 6.0, 6.1, token=2, pid=8)
    story.result("c", 6.2, token=2)
    story.drain()
    return story
