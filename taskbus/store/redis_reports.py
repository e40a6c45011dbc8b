"""Reports in Redis or Valkey: each act is one script, what it does is in ``redis_reports.lua``.

Every key ends by itself but that of the pauses. Records may take ``MAX_RECORD_BYTES`` of the server's memory in all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from taskbus.clock import Clock, wall_clock
from taskbus.database.redis import RedisDatabase, Refused, load
from taskbus.database.redis_cluster import ClusterLink
from taskbus.database.remark import Remark, Weight
from taskbus.store.redis_ground import store_errors
from taskbus.store.redis_look import KEEPS_ALL, settings
from taskbus.store.redis_records import pack_raw, to_bytes
from taskbus.store.reports import (
    KEEP_ANSWERS,
    KEEP_MINUTES,
    KEEP_NODE,
    KEEP_RECORDS,
    MAX_INBOX,
    MAX_RECORD_BYTES,
    MAX_RECORDS,
    SWEEP_LIMIT,
    Answer,
    Inbox,
    Minute,
    Node,
    Order,
    Records,
    Report,
    whole_reports,
)

CALL = load(__package__, "redis_reports.lua")
KEEP = [
    int(KEEP_NODE), int(KEEP_MINUTES), int(KEEP_RECORDS), int(KEEP_ANSWERS), MAX_RECORDS, MAX_RECORD_BYTES,
]  # fmt: skip


class RedisReports:
    """The reports in ``database``. Nothing is connected to before it is used."""

    def __init__(self, database: RedisDatabase, clock: Clock = wall_clock) -> None:
        self._database = database
        self._clock = clock
        self._base = f"{database.prefix}:reports:{{all}}:"
        self.database = database.identity

    def post(self, report: Report, orders_after: int, answers: Sequence[Answer] = ()) -> Inbox:
        payload = pack_raw([_report(report, answers), KEEP, str(orders_after), self._now(), MAX_INBOX])
        return _inbox(self._call("post", payload))

    # --- reading -------------------------------------------------------------------------------------------------

    def inbox(self, node: str, orders_after: int = 0) -> Inbox:
        return _inbox(self._call("inbox", to_bytes(node), str(orders_after), self._now(), MAX_INBOX))

    def nodes(self) -> Sequence[Node]:
        rows = self._call("nodes")
        return sorted(Node(_text(name), int(number), float(at), state) for name, number, at, state in rows)

    def minutes(self, seen: Mapping[str, int], limit: int = 5000) -> Sequence[Minute]:
        while True:
            answer = self._call("minutes", _seen(seen), limit + 1)
            found = [
                Minute(_text(name), int(minute), int(number), totals)
                for name, minute, number, totals in zip(*[iter(answer)] * 4, strict=True)
            ]
            whole = whole_reports(found, limit)
            if whole is not None:
                return whole
            limit *= 2

    def records(self, seen: Mapping[str, int], limit: int = 1000) -> Sequence[Records]:
        found = []
        for name, member in zip(*[iter(self._call("records", _seen(seen), limit))] * 2, strict=True):
            number, _, records = member.partition(b"\0")
            found.append(Records(_text(name), int(number), records))
        return found

    # --- orders and pauses ---------------------------------------------------------------------------------------

    def order(self, order: bytes, now: float, *, node: str = "", ttl: float = 60.0) -> int:
        given = (str(int(now * 1e6)), to_bytes(node), order, repr(now + ttl), repr(ttl), KEEP[1])
        return int(self._call("order", *given, repeatable=False))

    def answers(self, order: int) -> Sequence[Answer]:
        found = self._command("HGETALL", f"{self._base}answers:{order}")
        return sorted(Answer(order, _text(name), answer) for name, answer in found.items())

    def pause(self, queue: str) -> bool:
        return bool(self._command("SADD", f"{self._base}paused", to_bytes(queue)))

    def resume(self, queue: str) -> bool:
        return bool(self._command("SREM", f"{self._base}paused", to_bytes(queue)))

    def paused(self) -> frozenset[str]:
        return _names(self._command("SMEMBERS", f"{self._base}paused"))

    def watch(self, until: float) -> None:
        self._call("watch", repr(until), math.ceil(KEEP_MINUTES))

    # --- the database --------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> int:
        """See ``ReportStore.sweep``. Most goes by itself; this is exact, and frees what nobody asks for earlier."""
        edges = (now, now - KEEP_NODE, (now - KEEP_MINUTES) / 60, now - KEEP_RECORDS, now - KEEP_MINUTES)
        return int(self._call("sweep", SWEEP_LIMIT, *map(repr, edges)))

    def examine(self) -> Sequence[Remark]:
        """Whether a pause may be lost; what cannot be asked is said by the results in the same database."""
        link = self._database.link()
        with store_errors():
            try:
                links = [each for _, each in link.nodes()] if isinstance(link, ClusterLink) else [link]
                found = [settings(each) for each in links]
            except Refused:
                return []
        return list(dict.fromkeys(remark for each in found for remark in _remarks(each)))

    def close(self) -> None:
        self._database.leave()

    def _now(self) -> str:
        """The time by the clock that was given; "" for the server's own."""
        return "" if self._clock is wall_clock else repr(self._clock())

    def _call(self, *args: Any, repeatable: bool = True) -> Any:
        """All but an order may be done again when a reply was lost: it changes nothing the second time."""
        with store_errors():
            return self._database.link().script(CALL, (self._base,), args, repeatable=repeatable)

    def _command(self, *command: Any) -> Any:
        with store_errors():
            return self._database.link().call(*command, repeatable=True)


def _remarks(found: Mapping[str, str]) -> list[Remark]:
    """In words, what of ``CONFIG GET`` concerns pauses: their key has no end, so that only ``allkeys-*`` evicts it."""
    remarks = []
    policy = found.get("maxmemory-policy", KEEPS_ALL)
    if policy.startswith("allkeys"):
        text = f"maxmemory-policy={policy}: a queue may cease to be paused when memory is short"
        remarks.append(
            Remark(Weight.RISK, "pauses", text, "CONFIG SET maxmemory-policy noeviction (and in redis.conf)")
        )
    if found.get("appendonly") == "no" and not found.get("save"):
        text = "appendonly=no, save='': a restart of the server forgets which queues are paused"
        remarks.append(Remark(Weight.RISK, "pauses", text, "CONFIG SET appendonly yes (and in redis.conf)"))
    return remarks


def _report(report: Report, answers: Sequence[Answer]) -> list[Any]:
    return [
        to_bytes(report.node), report.number, repr(report.at), b"" if report.is_last else report.state,
        int(report.is_last), [each for minute in report.minutes.items() for each in minute], report.records,
        [each for answer in answers for each in (str(answer.order), to_bytes(answer.node), answer.answer)],
    ]  # fmt: skip


def _inbox(answer: Sequence[Any]) -> Inbox:
    orders, paused, watched_until = answer
    found = [_order(number, packed) for number, packed in zip(*[iter(orders)] * 2, strict=True)]
    return Inbox(found, _names(paused), float(watched_until))


def _order(number: bytes, packed: bytes) -> Order:
    name, body, until = msgpack.unpackb(packed, raw=True)
    return Order(int(number), _text(name), body, float(until))


def _seen(seen: Mapping[str, int]) -> bytes:
    return pack_raw({to_bytes(name): number for name, number in seen.items()})


def _names(found: Any) -> frozenset[str]:
    return frozenset(map(_text, found))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def open_url(url: str, clock: Clock) -> RedisReports:
    """The reports at ``url``."""
    return RedisReports(RedisDatabase.open(url), clock)
