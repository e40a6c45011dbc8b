"""Forgetting what is older, or more, than is kept: a few rows at a time, so that nothing waits for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskbus.history.retention import DAY, SPANS, Retention
from taskbus.history.words import Words
from taskbus.store.reports import KEEP_MINUTES

LIMIT = 1000
"""Rows that go at once."""
NODES_KEPT = KEEP_MINUTES + DAY
"""Seconds after which it is forgotten how far a node was followed: no store has anything of it then."""
Read = Callable[[str, Any], list[Any]]
Write = Callable[[Callable[[Any], int]], int]


class Sweep:
    """One sweep. Whatever two do at once is done once."""

    def __init__(self, words: Words, read: Read, write: Write, retention: Retention, now: float) -> None:
        self._words = words
        self._sql = words.sql
        self._read = read
        self._write = write
        self._retention = retention
        self._now = now

    def run(self) -> int:
        """See ``History.sweep``."""
        gone = self._records()
        if gone < LIMIT:
            gone += self._totals(LIMIT - gone)
        if gone < LIMIT:
            gone += self._others(LIMIT - gone)
        return gone

    # --- records -------------------------------------------------------------------------------------------------

    def _records(self) -> int:
        retention = self._retention
        for statement, age in (("successes_before", retention.successes), ("records_before", retention.failures)):
            found = self._read(statement, {"before": self._now - age, "limit": LIMIT})
            if found:
                return self._forget(found)
        return self._surplus()

    def _surplus(self) -> int:
        """The oldest of what is too much: successes, as long as there are any."""
        _, rows, size = self._read("standing", {})[0]
        too_many = rows - self._retention.rows
        if size > self._retention.bytes:
            too_many = max(too_many, 1 + int((size - self._retention.bytes) / max(1, size / max(1, rows))))
        limit = min(LIMIT, too_many)
        if limit <= 0:
            return 0
        found = self._read("oldest_successes", {"limit": limit}) or self._read("oldest_records", {"limit": limit})
        return self._forget(found) if found else 0

    def _forget(self, found: Sequence[tuple[int, int]]) -> int:
        numbers = {"numbers": self._words.list([number for number, _ in found])}

        def work(cursor: Any) -> int:
            next_number, rows, size = cursor.execute(self._sql["lock"], {}).fetchone()
            there = cursor.execute(self._sql["still_there"], numbers).fetchall()
            cursor.execute(self._sql["forget_records"], numbers)
            cursor.execute(self._sql["forget_details"], numbers)
            left = {"rows_kept": rows - len(there), "bytes_kept": max(0, size - sum(each for _, each in there))}
            cursor.execute(self._sql["unlock"], {"next_number": next_number, **left})
            return len(there)

        return self._write(work)

    # --- totals --------------------------------------------------------------------------------------------------

    def _totals(self, limit: int) -> int:
        retention = self._retention
        for span in SPANS:
            age = retention.minutes if span < 3600 else retention.hours
            found = self._read("old_totals", {"span": span, "before": int(self._now - age - span), "limit": limit})
            if found:
                keys = [dict(zip(("span", "since", "task", "queue"), key, strict=True)) for key in sorted(found)]
                return self._many("forget_totals", keys)
        return 0

    # --- the rest ------------------------------------------------------------------------------------------------

    def _others(self, limit: int) -> int:
        gone = 0
        old = self._old("old_nodes", NODES_KEPT, limit)
        if old:
            names = {"nodes": self._words.list(old)}
            self._one("forget_node_minutes", names)
            gone += self._one("forget_nodes", names)
        errors = self._read("old_errors", {"before": self._now - self._retention.failures, "limit": limit})
        if errors:
            gone += self._many("forget_error", [{"task": task, "error": error} for task, error in sorted(errors)])
        for noun, keys in (("audit", "numbers"), ("jobs", "names")):
            if old := self._old(f"old_{noun}", self._retention.audit, limit):
                gone += self._one(f"forget_{noun}", {keys: self._words.list(old)})
        longest = max(self._retention.hours, self._retention.failures) + 3 * DAY
        if old := self._old("old_names", longest, limit):
            gone += self._one("forget_names", {"numbers": self._words.list(old), "before": self._now - longest})
        return gone

    def _old(self, statement: str, age: float, limit: int) -> list[Any]:
        return [key for (key, *_) in self._read(statement, {"before": self._now - age, "limit": limit})]

    def _one(self, statement: str, given: Mapping[str, Any]) -> int:
        return self._write(lambda cursor: int(cursor.execute(self._sql[statement], given).rowcount))

    def _many(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> int:
        def work(cursor: Any) -> int:
            cursor.executemany(self._sql[statement], rows)
            return len(rows)

        return self._write(work)
