"""Every setting of Celery 5.7, and what becomes of it: one table, told to users in three places.

``taskbus migrate celery`` reads it, ``docs/howto/coming_from_celery.md`` is made of it, and ``taskbus_celery`` takes
from it the names, the defaults, and what to say of a setting that it cannot honour. The words are in
``celery_settings.tsv``.
"""

from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any


class Verdict(StrEnum):
    """What becomes of a setting, or of an option of a task."""

    SAME = "same"
    """It means the same."""
    DIFFERS = "differs"
    """Something takes its place, and is not quite the same."""
    NEEDLESS = "needless"
    """What it asks for is always so, or what it is about does not exist: leave it out."""
    NOT = "not"
    """There is nothing like it."""


@dataclass(frozen=True, slots=True)
class CelerySetting:
    """``old_name``: its name before Celery 4. ``becomes``: the setting of TaskBus in its place, "" if there is none.

    ``default`` is Celery's; durations are seconds.
    """

    name: str
    old_name: str
    default: Any
    verdict: Verdict
    becomes: str
    words: str


@cache
def celery_settings() -> Mapping[str, CelerySetting]:
    """All of them by their present names, in order."""
    found = {}
    for line in Path(__file__).with_suffix(".tsv").read_text().splitlines():
        if not line.startswith("#"):
            name, old_name, default, verdict, becomes, words = line.split("\t")
            found[name] = CelerySetting(name, old_name, literal_eval(default), Verdict(verdict), becomes, words)
    return MappingProxyType(found)


def is_default(value: Any, default: Any) -> bool:
    """Whether a value is Celery's default, be it written as a list, a ``timedelta`` or None."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, list):
        value = tuple(value)
    return value is None or bool(value == default) or (value == () and default is None)


@cache
def _present_names() -> Mapping[str, str]:
    """A present name for each name there is or was, in capitals: as it was, and as it is."""
    names: dict[str, str] = {}
    for setting in celery_settings().values():
        for name in (setting.old_name, setting.name.upper(), f"CELERY_{setting.name.upper()}"):
            names.setdefault(name, setting.name)
    return names


def present_name(name: str, namespace: str = "") -> str | None:
    """The present name of what a user calls ``name``; None if there is no such setting.

    Names in capitals may be of before Celery 4, or begin with ``namespace`` and an underscore, as in Django's settings.
    """
    if name in celery_settings():
        return name
    prefix = f"{namespace}_".upper() if namespace else ""
    if prefix and name.startswith(prefix):
        inner = name.removeprefix(prefix)
        return _present_names().get(inner) or _present_names().get(name)
    return _present_names().get(name) if not prefix and name.isupper() else None
