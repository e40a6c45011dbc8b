"""What it all stands on: broker, stores, settings and versions; and who changed what."""

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from taskbus import __version__
from taskbus.database.remark import Remark as Said
from taskbus.database.urls import redacted, redacted_text
from taskbus.errors import TaskBusError
from taskbus.monitor.settings import shown
from taskbus.store.base import Filter
from taskbus.web import picture
from taskbus.web.house import House, Visit
from taskbus.web.problems import alive
from taskbus.web.routes import Routes
from taskbus.web.shapes.basis import Listing, Paging
from taskbus.web.shapes.picture import AuditEntry, Broker, HistoryPlace, Remark, Results, Setting, System

system = Routes("system")
PARTS = ("kombu", "sqlalchemy", "msgpack", "redis", "psycopg", "pymysql", "starlette", "uvicorn", "msgspec")
"""Whose versions are worth knowing; those that are not installed are left out."""


@system.get("/system")
def show(visit: Visit) -> System:
    """Broker, stores, beats, settings without secrets, what each says of itself, and versions."""
    house = visit.house
    seen = house.seen()
    return System(
        broker=_broker(house),
        results=_results(house),
        history=_history(house),
        beats=[picture.node(node) for node in alive(seen, "beat")],
        config=_settings(house),
        remarks=list(_remarks(house)),
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
        return Broker(url=redacted(house.app.broker_url), latency=None, version="", features=[], error=str(error))


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
        return Results(url=url, latency=None, version="", is_shared=False, dead_letters=None, error=str(error))


def _history(house: House) -> HistoryPlace:
    none = HistoryPlace(url=house.history_url, size=None, rows=0, kept=0.0, error=house.history_error)
    if house.history is None:
        return none
    try:
        kept = house.history.kept()
    except TaskBusError as error:
        return HistoryPlace(url=none.url, size=None, rows=0, kept=0.0, error=str(error))
    reach = house.clock() - kept.oldest_at if kept.oldest_at else 0.0
    return HistoryPlace(url=none.url, size=kept.size, rows=kept.rows, kept=max(0.0, reach))


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


def _remarks(house: House) -> Iterator[Remark]:
    """As ``taskbus doctor`` has them; what cannot be asked says so itself."""
    asked: tuple[tuple[str, Callable[[], object]], ...] = (
        ("broker", lambda: house.broker.examine()),
        ("results", lambda: house.store.examine()),
        ("reports", lambda: house.reports.examine()),
    )
    told: set[Said] = set()
    for subject, ask in asked:
        try:
            remarks = ask()
        except TaskBusError as error:
            yield Remark(weight="refused", subject=subject, text=str(error), advice="taskbus doctor says more")
            continue
        assert isinstance(remarks, list | tuple)
        for remark in remarks:
            if remark not in told:
                told.add(remark)
                text, advice = redacted_text(remark.text), redacted_text(remark.advice)
                yield Remark(weight=remark.weight.value, subject=remark.subject, text=text, advice=advice)


def _versions() -> dict[str, str]:
    found = {"taskbus": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in PARTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
