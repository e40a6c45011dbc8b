"""Taking in what a ``ReportStore`` gave, in the one transaction that also says how far each node was followed.

Totals: what a node said last of a minute is kept as it said it while the node may still replace it. Replacing it adds
the difference to the sums of minute, hour, day, and of all time; so those are what the nodes said last, added up. A
minute is *settled* once the node said anything of a later one without saying this one again: it never will.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from taskbus.history.naming import ERROR, QUEUE, TASK, numbers_of
from taskbus.history.record_rows import NAMES, Prepared, read_records
from taskbus.history.retention import EVER, SPANS
from taskbus.history.shapes import Cursor
from taskbus.history.tally import Key, Tally, difference, expanded, read_totals, squeezed
from taskbus.history.words import Words
from taskbus.monitor.report import COUNTED
from taskbus.store.reports import Minute, Records

T = TypeVar("T")
logger = logging.getLogger(__name__)

MARGIN = 10
"""Minutes for which a settled one is kept all the same."""
FUTURE = 1440
"""Minutes by which a node's clock may be ahead; what it counts later than that is not taken."""


class Standing(NamedTuple):
    """How far a node was followed; minutes up to ``settled`` cannot be replaced any more."""

    minutes: int
    records: int
    settled: int


class Merge:
    """One merge, within the transaction of ``cursor``."""

    def __init__(self, words: Words, cursor: Any, now: float) -> None:
        self._sql = words.sql
        self._words = words
        self._cursor = cursor
        self._now = now

    def take(self, minutes: Sequence[Minute], records: Sequence[Records], seen: Mapping[str, Cursor]) -> None:
        """See ``History.merge``."""
        sql, cursor = self._sql, self._cursor
        next_number, rows_kept, bytes_kept = cursor.execute(sql["lock"], {}).fetchone()
        nodes = sorted({each.node for each in minutes} | {each.node for each in records})
        standings = self._standings(nodes)
        gone = {node for node in nodes if _is_less(standings[node], seen.get(node, Cursor()))}
        fresh = [each for each in minutes if each.node not in gone and each.number > standings[each.node].minutes]
        bundles = [each for each in records if each.node not in gone and each.number > standings[each.node].records]
        if not fresh and not bundles:
            return
        self._take_minutes(fresh, standings)
        prepared = [record for each in bundles for record in _readable(each, each.records, read_records) or ()]
        self._insert(prepared, next_number)
        self._move(fresh, bundles, standings)
        size = sum(each.row["size"] for each in prepared)
        cursor.execute(
            sql["unlock"],
            {
                "next_number": next_number + len(prepared),
                "rows_kept": rows_kept + len(prepared),
                "bytes_kept": bytes_kept + size,
            },
        )

    def _standings(self, nodes: Sequence[str]) -> dict[str, Standing]:
        found = self._ask("nodes", {"nodes": self._words.list(nodes)})
        known = {node: Standing(*rest) for node, *rest in found}
        return {node: known.get(node, Standing(0, 0, 0)) for node in nodes}

    def _ask(self, statement: str, given: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = self._cursor.execute(self._sql[statement], given).fetchall()
        return found

    # --- totals --------------------------------------------------------------------------------------------------

    def _take_minutes(self, fresh: Sequence[Minute], standings: Mapping[str, Standing]) -> None:
        latest = self._now // 60 + FUTURE
        taken = [each for each in fresh if standings[each.node].settled < each.minute <= latest]
        for each in fresh if len(taken) < len(fresh) else ():
            if each not in taken:
                logger.warning("history: %s says of minute %d what cannot be counted any more", each.node, each.minute)
        if not taken:
            return
        given = {
            "nodes": self._words.list(sorted({each.node for each in taken})),
            "first": min(each.minute for each in taken),
            "last": max(each.minute for each in taken),
        }
        before = {(node, minute): totals for node, minute, totals in self._ask("node_minutes", given)}
        changes: dict[int, dict[Key, Tally]] = {}
        rows = []
        for each in sorted(taken, key=lambda each: (each.node, each.minute)):
            new = _readable(each, each.totals, read_totals)
            if new is not None:
                old = before.get((each.node, each.minute))
                _add(changes.setdefault(each.minute, {}), difference(new, read_totals(expanded(old)) if old else []))
                totals = squeezed(each.totals)
                rows.append({"node": each.node, "minute": each.minute, "number": each.number, "totals": totals})
        if rows:
            self._cursor.executemany(self._sql["upsert_node_minute"], rows)
            self._sum(changes)

    def _sum(self, changes: Mapping[int, Mapping[Key, Tally]]) -> None:
        """Add what has changed to the sums."""
        keys = {key for change in changes.values() for key in change}
        wanted = [pair for task, queue in keys for pair in ((TASK, task), (QUEUE, queue))]
        numbers = numbers_of(self._words, self._cursor, wanted, self._now)
        for span in (*SPANS, EVER):
            sums: dict[tuple[int, int, int], Tally] = {}
            for minute, change in changes.items():
                since = minute * 60 // span * span if span else 0
                for (task, queue), tally in change.items():
                    if not tally.is_nothing:
                        key = numbers[TASK, task], numbers[QUEUE, queue]
                        sums.setdefault((since, *key), Tally()).merge(tally)
                        if span:
                            sums.setdefault((since, 0, 0), Tally()).merge(tally)
            if sums:
                self._save(span, sums)

    def _save(self, span: int, sums: Mapping[tuple[int, int, int], Tally]) -> None:
        """Add these to what is there."""
        given = {"span": span, "numbers": self._words.list(sorted({since for since, _, _ in sums}))}
        for since, task, queue, *counts, detail in self._ask("totals", given):
            tally = sums.get((since, task, queue))
            if tally is not None:
                tally.count(counts)
                tally.merge_detail(detail)
        rows = [
            {
                "span": span, "since": since, "task": task, "queue": queue,
                **dict(zip(COUNTED, tally.counts, strict=True)), "detail": tally.detail(),
            }
            for (since, task, queue), tally in sorted(sums.items())
        ]  # fmt: skip
        self._cursor.executemany(self._sql["upsert_total"], rows)

    # --- records -------------------------------------------------------------------------------------------------

    def _insert(self, prepared: Sequence[Prepared], number: int) -> None:
        if not prepared:
            return
        wanted = {(kind, each.names[kind]) for each in prepared for kind in NAMES if each.names[kind]}
        numbers = numbers_of(self._words, self._cursor, wanted, self._now)
        latest = self._now + FUTURE * 60.0  # what ends later than that would never grow old
        rows = [
            {
                "number": at,
                **each.row,
                "ended_at": min(each.row["ended_at"], latest),
                **{kind: numbers.get((kind, each.names[kind]), 0) for kind in NAMES},
            }
            for at, each in enumerate(prepared, number)
        ]
        self._cursor.executemany(self._sql["insert_record"], rows)
        details = [{"number": at, "detail": each.detail} for at, each in enumerate(prepared, number) if each.detail]
        if details:
            self._cursor.executemany(self._sql["insert_detail"], details)
        self._newest_errors([row for row in rows if row[ERROR]])

    def _newest_errors(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Remember the newest example of each error of each task."""
        newest: dict[tuple[int, int], Mapping[str, Any]] = {}
        for row in rows:
            key = row[TASK], row[ERROR]
            if key not in newest or row["ended_at"] >= newest[key]["ended_at"]:
                newest[key] = row
        if not newest:
            return
        tasks, errors = (self._words.list(sorted({key[place] for key in newest})) for place in (0, 1))
        for task, error, last_at in self._ask("errors_known", {"numbers": tasks, "others": errors}):
            if (task, error) in newest and last_at > newest[task, error]["ended_at"]:
                del newest[task, error]
        saved = [
            {
                "task": task, "error": error, "last_at": row["ended_at"],
                "task_id": row["task_id"], "message": row["message"],
            }
            for (task, error), row in sorted(newest.items())
        ]  # fmt: skip
        if saved:
            self._cursor.executemany(self._sql["upsert_error"], saved)

    # --- how far we are ------------------------------------------------------------------------------------------

    def _move(self, minutes: Sequence[Minute], records: Sequence[Records], standings: Mapping[str, Standing]) -> None:
        nodes = {each.node for each in minutes} | {each.node for each in records}
        moved = {node: standings[node] for node in nodes}
        newest: dict[str, Minute] = {}
        for each in minutes:
            moved[each.node] = moved[each.node]._replace(minutes=max(moved[each.node].minutes, each.number))
            if each.node not in newest or each.minute > newest[each.node].minute:
                newest[each.node] = each
        for bundle in records:
            moved[bundle.node] = moved[bundle.node]._replace(records=max(moved[bundle.node].records, bundle.number))
        for node, last in newest.items():
            moved[node] = moved[node]._replace(settled=self._settle(last, moved[node].settled))
        rows = [
            {
                "node": node, "minutes_seen": standing.minutes, "records_seen": standing.records,
                "settled": standing.settled, "seen_at": self._now,
            }
            for node, standing in sorted(moved.items())
        ]  # fmt: skip
        self._cursor.executemany(self._sql["upsert_node"], rows)

    def _settle(self, last: Minute, settled: int) -> int:
        """Forget what a node said of minutes that it will not say again; returns up to which minute it will not."""
        up_to = last.minute - MARGIN
        if up_to <= settled or last.minute > self._now // 60 + FUTURE:
            return settled
        given = {"node": last.node, "minute": up_to, "number": last.number}
        self._cursor.execute(self._sql["settle"], given)
        (left,) = self._cursor.execute(self._sql["unsettled"], {"node": last.node, "minute": up_to}).fetchone()
        return max(settled, up_to if left is None else left - 1)


def _is_less(standing: Standing, seen: Cursor) -> bool:
    return standing.minutes < seen.minutes or standing.records < seen.records


def _add(to: dict[Key, Tally], what: Mapping[Key, Tally]) -> None:
    for key, tally in what.items():
        if key in to:
            to[key].merge(tally)
        else:
            to[key] = tally


def _readable(said: Minute | Records, packed: bytes, read: Callable[[bytes], list[T]]) -> list[T] | None:
    """What is in these bytes; None where they cannot be read: one node must not keep the others from being heard."""
    try:
        return read(packed)
    except ValueError as error:
        logger.warning("history: report %d of %s cannot be read: %s", said.number, said.node, error)
        return None
