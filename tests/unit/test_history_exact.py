"""Whatever happens, and in whatever order: the history counts what a ledger does."""

import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taskbus.history.history import History
from taskbus.history.opening import open_history
from taskbus.history.retention import DAY
from taskbus.history.shapes import Cursor
from taskbus.store.memory_reports import MemoryReports
from taskbus.testing.clock import MovableClock
from tests.contract.history_rig import Abort, CountingNode, Ledger, dying_at
from tests.contract.test_history_merging import MINUTE, NOW

nodes = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("count"), nodes, st.sampled_from(["a", "b"]), st.sampled_from(["SUCCESS", "FAILURE"])),
    st.tuples(st.just("post"), nodes, st.booleans()),
    st.tuples(st.just("read"), st.integers(0, 1), st.sampled_from([1, 2, 500])),
    st.tuples(st.just("merge"), st.integers(0, 1), st.sampled_from([None, None, *range(0, 24, 3)])),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.just("later"), st.integers(1, 15)),
)


class World:
    """Three nodes, one store of their reports, two collectors that read and merge when they are told, one history."""

    def __init__(self, folder: str) -> None:
        self.clock = MovableClock(NOW)
        self.reports: Any = MemoryReports(self.clock)
        self.url = f"sqlite:///{folder}/history.db"
        self.history: History = open_history(self.url, self.clock)
        self.ledger = Ledger()
        self.nodes = [CountingNode(f"node-{each}", self.ledger) for each in range(3)]
        self.minute = MINUTE
        self.held: dict[int, Any] = {}
        self.told: dict[Any, int] = {}

    def count(self, node: int, task: str, state: str) -> None:
        self.nodes[node].count(self.minute, task, state, times=1 + node)

    def post(self, node: int, is_heard: bool) -> None:
        self.nodes[node].post(self.reports, self.clock(), is_heard=is_heard)

    def read(self, collector: int, limit: int) -> None:
        seen = self.history.cursors()
        minutes = self.reports.minutes({node: each.minutes for node, each in seen.items()}, limit)
        records = self.reports.records({node: each.records for node, each in seen.items()}, limit)
        self.held[collector] = minutes, records, dict(seen)

    def merge(self, collector: int, dies_at: int | None) -> None:
        """Merge what was read, perhaps long ago; perhaps only in part, as the process dies."""
        minutes, records, seen = self.held.get(collector, ((), (), dict[str, Cursor]()))
        if dies_at is None:
            self.history.merge(minutes, records, seen)
            return
        with dying_at(self.history, dies_at):
            try:
                self.history.merge(minutes, records, seen)
            except Abort:
                pass

    def restart(self, collector: int) -> None:
        self.held.pop(collector, None)
        self.history.close()
        self.history = open_history(self.url, self.clock)

    def later(self, minutes: int) -> None:
        self.minute += minutes
        self.clock.advance(60.0 * minutes)

    def scrape(self) -> None:
        """What is told of all time never gets less, whatever was merged, taken back, forgotten or begun anew."""
        told = {
            (each.task, kind, name): count
            for each in self.history.totals()
            for kind, counts in (("counts", each.counts), ("deaths", each.deaths))
            for name, count in counts.items()
        }
        assert all(told.get(key, 0) >= count for key, count in self.told.items())
        self.told = told

    def settle(self) -> None:
        """Say and read all that is left."""
        for node in self.nodes:
            node.post(self.reports, self.clock())
            node.post(self.reports, self.clock())
        for _ in range(2):
            self.read(0, 500)
            self.merge(0, None)


@settings(max_examples=60)
@given(st.lists(steps, min_size=5, max_size=60))
def test_no_order_of_reports_merges_and_deaths_makes_a_count_wrong(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        for name, *given_ in script:
            getattr(world, name)(*given_)
            world.scrape()
        world.settle()
        world.ledger.check(world.history)
        world.clock.advance(400 * DAY)
        while world.history.sweep():
            pass
        world.restart(0)
        assert world.history.counts("30d").received == 0 and world.history.kept().rows == 0
        world.scrape()
        world.ledger.check_totals(world.history)
        world.history.close()
