"""The named cases about results that are kept on another server than the queues."""

from dataclasses import replace

from .cases import GATE, RULES, running
from .cases_of_networks import BACK_WITHIN, lasts
from .checker import Verdict
from .harness import Cell
from .place import Place
from .registry import Cases

case = Cases()


@case("47", "the result server is down when tasks end: they are settled when it is back", only_apart=True)
def store_down(place: Place) -> Verdict:
    options = {"options": ("--databases", "64", "--save", "", "--appendonly", "yes", "--appendfsync", "always")}
    settings = options if place.results and place.results.kind == "redis" else {}
    with (
        place.results_alone(**settings) as (place, server),
        Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell,
    ):
        cell.send("rejected", "never", expect="dead")
        worker = cell.worker()
        cell.until(lambda: cell.of("dlq_seen"), "the first dead letter")
        ids = cell.send("hold", GATE, count=2)
        running(cell, 2)
        server.kill()
        cell.open(GATE)
        cell.until(lambda: len(cell.of("end", *ids)) == 2, "both to end")
        lasts(cell, 2 * cell.rules.lease)
        server.start()
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        assert worker.process.returncode == 0
        return verdict


@case("48", "the result server does what it is asked, and its reply is lost", only_apart=True)
def store_lies(place: Place) -> Verdict:
    with place.results_wired() as (place, proxy), Cell(place) as cell:
        worker = cell.worker()
        cell.send("quick")
        cell.until(cell.is_drained, "the first task to end")
        for task in ("quick", "aquick", "flaky", "brief", "doomed") * 2:
            (id,) = cell.send(task, expect="dead" if task == "doomed" else "end", countdown=0.5)
            (sent,) = cell.of("pub_try", id)
            lost = proxy.lose_reply(sent["lib"].encode())
            cell.until(lambda lost=lost: lost.is_over, "a reply to be lost", 10.0)
        proxy.heal()
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        assert worker.process.returncode == 0
        return verdict
