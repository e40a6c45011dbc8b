"""Timetables as text, and back: what is kept of them in a store, and what ``taskbus schedule add --json`` reads.

A JSON object with ``kind`` and the fields of the class; fields that hold their default are left out.
"""

import json
from dataclasses import MISSING, dataclass, fields
from typing import Any

from taskbus.errors import ConfigError
from taskbus.schedule.cron import Cron
from taskbus.schedule.solar import Solar
from taskbus.schedule.timetable import AnyOf, At, Every, Timetable

KINDS: dict[str, type[Timetable]] = {"cron": Cron, "every": Every, "at": At, "any_of": AnyOf, "solar": Solar}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable(Timetable):
    """A timetable that a later TaskBus has made, to be shown; it has no times."""

    text: str

    def following(self, instant: float, base: float) -> float | None:
        return None

    def __str__(self) -> str:
        return f"(unknown here) {self.text}"


def to_text(timetable: Timetable) -> str:
    """The timetable as text; equal timetables have equal texts."""
    if isinstance(timetable, Unreadable):
        return timetable.text
    return json.dumps(_to_plain(timetable), sort_keys=True, separators=(",", ":"))


def from_text(text: str) -> Timetable:
    """The timetable in a text; raises ``ConfigError`` for what is none, or none that this TaskBus knows."""
    try:
        return _from_plain(json.loads(text))
    except ConfigError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{text!r:.200} is no timetable: {error}") from error


def shown_from(text: str) -> Timetable:
    """As ``from_text``, for those who only look: what cannot be read is shown as it is."""
    try:
        return from_text(text)
    except ConfigError:
        return Unreadable(text=text)


def _to_plain(timetable: Timetable) -> dict[str, Any]:
    kind = next(name for name, known in KINDS.items() if known is type(timetable))
    given = {
        field.name: getattr(timetable, field.name)
        for field in fields(timetable)
        if field.init and (field.default is MISSING or getattr(timetable, field.name) != field.default)
    }
    if isinstance(timetable, AnyOf):
        given["members"] = [_to_plain(each) for each in timetable.members]
    return {"kind": kind, **given}


def _from_plain(plain: dict[str, Any]) -> Timetable:
    given = dict(plain)
    kind = KINDS.get(given.pop("kind", ""))
    if kind is None:
        raise ConfigError(f"{plain!r:.200} is no timetable; its kind is not one of {', '.join(KINDS)}")
    if kind is AnyOf:
        members = given.get("members")
        if not isinstance(members, list):
            raise ConfigError(f"any_of(members={members!r:.200}) must be a list of timetables")
        given["members"] = tuple(map(_from_plain, members))
    return kind(**given)
