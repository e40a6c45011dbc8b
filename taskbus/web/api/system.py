"""What it all stands on: broker, stores, settings and versions; and who changed what."""

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from taskbus import __version__
from taskbus.database.remark import Remark as Said
from taskbus.database.urls import redacted, redacted_text
from taskbus.errors import TaskBusError
from taskbus.monitor.settings import shown
from taskbus.store.base import Filter
from taskbus.web import picture
from taskbus.web.aside import answer
from taskbus.web.house import House, Visit
from taskbus.web.problems import NOTHING, alive
from taskbus.web.routes import Routes
from taskbus.web.shapes.basis import Listing, Paging
from taskbus.web.shapes.picture import AuditEntry, Broker, HistoryPlace, Remark, Results, Setting, System

system = Routes("system")
PATIENCE = 5.8
"""Seconds after which what does not answer is shown as such; a little more than a database is given."""
NO_ANSWER = "no answer in time"
PARTS = ("kombu", "sqlalchemy", "msgpack", "redis", "psycopg", "pymysql", "starlette", "uvicorn", "msgspec")
"""Whose versions are worth knowing; those that are not installed are left out."""


@system.get("/system")
def show(visit: Visit) -> System:
    """Broker, stores, beats, settings without secrets, what each says of itself, and versions. Within six seconds."""
    house, until = visit.house, time.monotonic() + PATIENCE
    ask = house.aside.ask
    broker, results = ask(partial(_broker, house)), ask(partial(_results, house))
    history = ask(partial(_history, house))
    remarks = [(subject, ask(partial(_remarks, subject, examine))) for subject, examine in _examined(house)]
    return System(
        broker=answer(broker, until, _no_broker(house, NO_ANSWER)),
        results=answer(results, until, _no_results(house, NO_ANSWER)),
        history=answer(history, until, _no_history(house, NO_ANSWER)),
        beats=[picture.node(node) for node in alive(house.snapshot or NOTHING, "beat")],
        config=_settings(house),
        remarks=_distinct(each for subject, asked in remarks for each in answer(asked, until, [_silent(subject)])),
        versions=_versions(),
    )


@system.get("/audit")
def audit(visit: Visit, query: Paging) -> Listing[AuditEntry]:
    """Who changed what, or was refused to; the newest first."""
    history = visit.house.history
    if history is None:
        return Listing(items=[], note=f"changes are in this server's log alone: {visit.house.history_error}")
    page = history.audit(limit=query.limit, after=query.after or None)
    entries = [
        AuditEntry(
            at=each.at,
            user=each.user,
            role=each.role,
            action=each.action,
            target=each.target,
            detail=each.detail,
            count=each.count,
        )
        for each in page.entries
    ]
    return Listing(items=entries, next=page.next, count=len(entries), is_capped=page.next is not None)


def _broker(house: House) -> Broker:
    try:
        broker = house.broker
        features = [
            *(name for name in _PROMISES if getattr(broker.features, name)),
            *broker.features.notes,
        ]
        return Broker(url=broker.safe_url, latency=broker.ping(), version="", features=features)
    except TaskBusError as error:
        return _no_broker(house, str(error))


def _no_broker(house: House, error: str) -> Broker:
    return Broker(url=redacted(house.app.broker_url), latency=None, version="", features=[], error=error)


_PROMISES = ("durable", "priorities", "delays", "fanout", "atomic_settle", "processes", "dedup", "lists", "pushes")


def _results(house: House) -> Results:
    url, clock = redacted(house.app.results_url), house.clock
    try:
        started = clock()
        dead = house.store.count_dead_letters(Filter())
        took = max(0.0, clock() - started)
        is_shared = house.app.shares_database
        return Results(url=url, latency=took, version="", is_shared=is_shared, dead_letters=dead)
    except TaskBusError as error:
        return _no_results(house, str(error))


def _no_results(house: House, error: str) -> Results:
    url = redacted(house.app.results_url)
    return Results(url=url, latency=None, version="", is_shared=False, dead_letters=None, error=error)


def _history(house: House) -> HistoryPlace:
    if house.history is None:
        return _no_history(house, house.history_error)
    try:
        kept = house.history.kept()
    except TaskBusError as error:
        return _no_history(house, str(error))
    reach = house.clock() - kept.oldest_at if kept.oldest_at else 0.0
    return HistoryPlace(url=house.history_url, size=kept.size, rows=kept.rows, kept=max(0.0, reach))


def _no_history(house: House, error: str) -> HistoryPlace:
    return HistoryPlace(url=house.history_url, size=None, rows=0, kept=0.0, error=error)


def _settings(house: House) -> list[Setting]:
    app = house.app
    values = shown(app.config, {"broker": app.broker_url, "results": app.results_url, "history": house.history_url})
    return [
        Setting(
            name=name,
            value=", ".join(map(str, value)) if isinstance(value, tuple) else str(value),
            origin=app.origins.get(name, "default"),
        )
        for name, value in values.items()
    ]


def _examined(house: House) -> Sequence[tuple[str, Callable[[], Sequence[Said]]]]:
    """What says something of itself, as ``taskbus doctor`` has it."""
    return (
        ("broker", lambda: house.broker.examine()),
        ("results", lambda: house.store.examine()),
        ("reports", lambda: house.reports.examine()),
    )


def _remarks(subject: str, examine: Callable[[], Sequence[Said]]) -> list[Remark]:
    """What cannot be asked says so itself."""
    try:
        said = examine()
    except TaskBusError as error:
        return [Remark(weight="refused", subject=subject, text=str(error), advice="taskbus doctor says more")]
    return [
        Remark(
            weight=each.weight.value,
            subject=each.subject,
            text=redacted_text(each.text),
            advice=redacted_text(each.advice),
        )
        for each in said
    ]


def _silent(subject: str) -> Remark:
    return Remark(weight="refused", subject=subject, text=NO_ANSWER, advice="taskbus doctor says more")


def _distinct(remarks: Iterable[Remark]) -> list[Remark]:
    """Places that are one database say the same."""
    found: list[Remark] = []
    for each in remarks:
        if each not in found:
            found.append(each)
    return found


def _versions() -> dict[str, str]:
    found = {"taskbus": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in PARTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
