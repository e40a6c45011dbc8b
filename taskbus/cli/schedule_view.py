"""Schedules as they are printed."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.text import Text

from taskbus.beat.book import ScheduleInfo
from taskbus.cli.phrase import ago, safe, shortened, span
from taskbus.cli.tables import draw, draw_fields, say
from taskbus.schedule.spec import to_text
from taskbus.schedule.timetable import AnyOf, Timetable
from taskbus.schedule.zones import zone_of
from taskbus.store.schedules import Tick

OVERDUE = 15.0
"""Seconds after which what is due and was not sent says that no beat is running."""


def item(info: ScheduleInfo) -> dict[str, Any]:
    """A schedule as JSON."""
    plain = {name: getattr(info, name) for name in ScheduleInfo.__dataclass_fields__}
    return {**plain, "timetable": to_text(info.timetable), "when": str(info.timetable)}


def tick_item(tick: Tick) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "scheduled_at": tick.nominal,
        "sent_at": tick.sent_at,
        "task_id": tick.task_id,
        "is_manual": tick.is_manual,
        "is_pending": tick.is_pending,
    }


def draw_list(found: Sequence[ScheduleInfo], now: float, place: str) -> None:
    """All schedules, a line each."""
    draw(
        ("name", "task", "when", "origin", "next", "last", "late", "sent", "missed", "skipped"),
        [
            (
                info.name,
                info.task,
                shortened(str(info.timetable), 60),
                info.origin,
                _next(info, now),
                ago(info.last_sent_at or 0.0, now),
                span(info.lateness) if info.sent else "",
                f"{info.sent:,}",
                f"{info.missed:,}",
                f"{info.skipped:,}",
            )
            for info in found
        ],
        right=("late", "sent", "missed", "skipped"),
        whole=("name",),
        caption=place,
        empty=f"No schedules in {place}.",
    )
    warn_if_overdue(found, now)


def warn_if_overdue(found: Iterable[ScheduleInfo], now: float) -> None:
    """Say so if nobody sends what is due."""
    late = [info for info in found if info.due_at is not None and info.due_at < now - OVERDUE]
    if late:
        worst = min(late, key=lambda info: info.due_at or 0.0)
        since = span(now - (worst.due_at or 0.0))
        say(f"Is a beat running? {worst.name} is due since {since}: taskbus beat, or taskbus worker -B", "yellow")


def draw_one(info: ScheduleInfo, ticks: Sequence[Tick], now: float) -> None:
    """A schedule with its last runs."""
    zone = zone_in(info.timetable)
    draw_fields(
        [
            ("name", info.name),
            ("task", f"{info.task} on queue {info.queue}"),
            ("when", str(info.timetable)),
            ("limits", _limits(info.timetable, zone)),
            ("origin", f"{info.origin} {info.owner}".strip() + ("" if info.is_known else ", no beat knows it yet")),
            ("catch up", info.catch_up),
            ("overlap", info.overlap),
            ("next", _next(info, now) if info.next_at is None else f"{shown(info.next_at, zone)}, {_next(info, now)}"),
            ("waits", "" if info.waiting_at is None else f"{shown(info.waiting_at, zone)}, for the last run to end"),
            ("last", "" if info.last_at is None else shown(info.last_at, zone)),
            ("lateness", f"{span(info.lateness)}, at worst {span(info.worst)}" if info.sent else ""),
            ("runs", f"{info.sent:,} sent, {info.missed:,} missed, {info.skipped:,} skipped"),
        ]
    )
    if ticks:
        say("last runs", "dim")
        draw(
            ("time", "late", "task id", ""),
            [
                (
                    shown(tick.nominal, zone),
                    span(max(0.0, tick.sent_at - tick.nominal)),
                    tick.task_id,
                    "asked for" if tick.is_manual else "not confirmed" if tick.is_pending else "",
                )
                for tick in ticks
            ],
            right=("late",),
            whole=("task id",),
        )
    warn_if_overdue([info], now)


def draw_times(times: Sequence[tuple[float, float]], timetable: Timetable, now: float) -> None:
    """Nominal times, and when they will be sent."""
    zone = zone_in(timetable)
    draw(
        ("time", "utc", "in", "sent"),
        [
            (shown(nominal, zone), shown(nominal, UTC), span(max(0.0, due_at - now)), _put_off(due_at - nominal))
            for nominal, due_at in times
        ],
        empty="It has no times any more.",
    )


def shown(instant: float, zone: tzinfo) -> str:
    """An instant in a zone, with as much of a second as it has."""
    return datetime.fromtimestamp(instant, zone).isoformat(sep=" ").replace("+00:00", "Z")


def zone_in(timetable: Timetable) -> tzinfo:
    """The zone of a timetable that has one."""
    members = timetable.members if isinstance(timetable, AnyOf) else (timetable,)
    zones = {tz for each in members if (tz := getattr(each, "tz", None))}
    return zone_of(zones.pop()) if len(zones) == 1 else UTC


def _next(info: ScheduleInfo, now: float) -> str | Text:
    if info.is_paused:
        return Text("paused", style="yellow")
    if info.due_at is None and info.next_at is None:
        return Text("over", style="dim")
    if not info.is_known:
        return Text("when a beat starts", style="dim")
    return safe(ago(info.due_at or 0.0, now))


def _limits(timetable: Timetable, zone: tzinfo) -> str:
    found = [f"{name} {shown(at, zone)}" for name in ("start", "end") if (at := getattr(timetable, name)) is not None]
    return ", ".join([*found, *([f"jitter {span(timetable.jitter)}"] if timetable.jitter else [])])


def _put_off(seconds: float) -> str:
    return f"{span(seconds)} later" if seconds else ""
