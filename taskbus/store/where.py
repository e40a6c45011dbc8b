"""The language of ``--where``: ``task:mail.* reason:poison error:ValueError text:"no such file" age>1d age<2w``.

``time>=2026-11-28T10:00 time<2026-11-29`` are instants, by UTC unless they have an offset; a date alone is a whole day.
Terms are separated by blanks and all must match; quotes keep blanks inside a value. One parser for whatever is
filtered, in the command line, the page and its addresses: ``nouns`` says which keys each noun has.
"""

import difflib
import re
import shlex
from dataclasses import fields
from datetime import UTC, date, datetime
from math import inf, nextafter
from typing import Any

from taskbus.errors import ConfigError
from taskbus.store.base import Filter
from taskbus.store.filters import FlowFilter, NodeFilter, QueueFilter, ScheduleFilter, TaskFilter
from taskbus.store.nouns import FLOWS, LETTERS, NODES, NOUNS, QUEUES, SCHEDULES, TASKS, Compared, Key, Noun

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
MAX_LENGTH, MAX_TERMS = 2048, 128
AnyFilter = Filter | TaskFilter | NodeFilter | QueueFilter | ScheduleFilter | FlowFilter

_TERM = re.compile(r"(?P<key>[A-Za-z_]+)(?P<mark>:|[<>]=?)(?P<value>.*)", re.DOTALL)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse(text: str, now: float) -> Filter:
    """The dead letters that ``text`` means at the instant ``now``; empty: everything.

    Raises ``ConfigError`` for an unknown key, with the nearest known one, or a value that cannot be read; so do all
    functions here.
    """
    found: Filter = _parse(LETTERS, text, now)
    return found


def parse_tasks(text: str, now: float) -> TaskFilter:
    """As ``parse``, for task records."""
    found: TaskFilter = _parse(TASKS, text, now)
    return found


def parse_nodes(text: str, now: float = 0.0) -> NodeFilter:
    """As ``parse``, for nodes."""
    found: NodeFilter = _parse(NODES, text, now)
    return found


def parse_queues(text: str, now: float = 0.0) -> QueueFilter:
    """As ``parse``, for queues."""
    found: QueueFilter = _parse(QUEUES, text, now)
    return found


def parse_schedules(text: str, now: float = 0.0) -> ScheduleFilter:
    """As ``parse``, for schedules."""
    found: ScheduleFilter = _parse(SCHEDULES, text, now)
    return found


def parse_flows(text: str, now: float) -> FlowFilter:
    """As ``parse``, for flows."""
    found: FlowFilter = _parse(FLOWS, text, now)
    return found


def parse_duration(text: str) -> float:
    """Seconds in ``90s``, ``15m``, ``2h``, ``1d``, ``1w``, or several together: ``1d12h``; raises ``ConfigError``."""
    if not text or _PART.sub("", text):
        raise ConfigError(f"cannot read the duration {text!r}; write a number and a unit, like 90s, 15m, 2h, 1d or 1w")
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


# --- reading ---------------------------------------------------------------------------------------------------------


def _parse(noun: Noun, text: str, now: float) -> Any:
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"the filter has {len(text)} characters; at most {MAX_LENGTH} are read")
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"cannot read the filter {text!r}: {error}; {noun.usage}") from error
    if len(terms) > MAX_TERMS:
        raise ConfigError(f"the filter has {len(terms)} terms; at most {MAX_TERMS} are read")
    given: dict[str, Any] = {}
    said: set[tuple[str, str]] = set()
    for term in terms:
        name, field, value, is_many = _read(noun, term, now)
        if is_many:
            given[field] = (*given.get(field, ()), value)
            continue
        if (name, field) in said:
            many = "".join(f" ({name}: any number)" for name, key in noun.keys.items() if key.is_many)
            raise ConfigError(f"the filter says {_start(term)!r} twice; each may stand once{many}")
        said.add((name, field))
        if field in given:  # age and time bound the same instant: both must hold
            value = min(given[field], value) if field == "older_than" else max(given[field], value)
        given[field] = value
    return noun.make(**given)


def _start(term: str) -> str:
    match = _TERM.fullmatch(term)
    return term if match is None else match["key"] + match["mark"].strip(":=")


def _read(noun: Noun, term: str, now: float) -> tuple[str, str, Any, bool]:
    """The key of ``term``, the filter's field that it sets, the value, and whether it may be set again."""
    match = _TERM.fullmatch(term)
    if match is None:
        raise ConfigError(f"cannot read {term!r} in the filter; {noun.usage}")
    name, mark, value = match["key"].lower(), match["mark"], match["value"]
    if name not in noun.known:
        near = difflib.get_close_matches(name, noun.known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(noun.known)}"
        raise ConfigError(f"the filter has no key {name!r}; {advice}")
    if not value:
        raise ConfigError(f"{term!r} in the filter has no value; {noun.usage}")
    if name in noun.compared:
        return name, *_compared(name, noun.compared[name], mark, value, now, term), False
    if mark != ":":
        raise ConfigError(f"{term!r} in the filter: {_comparable(noun)}; write {name}:{value}")
    if name == "is":
        return name, _flag(noun, value), True, False
    key = noun.keys[name]
    return name, key.field, _value(key, value, term), key.is_many


def _compared(name: str, key: Compared, mark: str, value: str, now: float, term: str) -> tuple[str, float]:
    if key.is_time:
        if mark == ":":
            example = f"{name}>=2026-11-28T10:00 or {name}<2026-11-29"
            raise ConfigError(f"{term!r} in the filter: compare a time, as in {example}")
        return key.over if mark[0] == ">" else key.under, _bound(mark, value)
    if mark == ":":
        what = "an age" if name == "age" else "a duration"
        raise ConfigError(f"{term!r} in the filter: compare {what}, as in {name}>1d or {name}<2h")
    if len(mark) > 1:
        raise ConfigError(f"{term!r} in the filter: write {name}>{value} or {name}<{value}")
    seconds = parse_duration(value)
    return (key.over if mark == ">" else key.under), now - seconds if key.is_age else seconds


def _bound(mark: str, value: str) -> float:
    """The last or first instant that ``mark`` and a time mean. Stores compare with it itself included."""
    at, end = _span(value)
    match mark:
        case ">=":
            return at
        case ">":
            return nextafter(at, inf) if at == end else end
        case "<":
            return nextafter(at, -inf)
        case _:
            return at if at == end else nextafter(end, -inf)


def _span(value: str) -> tuple[float, float]:
    """The instant that a time means, twice; of a date, when the day begins and when the next one does."""
    try:
        if _DATE.fullmatch(value):
            at = _seconds(datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC))
            end = at + UNITS["d"]
        elif _DATE.match(value):
            read = datetime.fromisoformat(value)
            at = end = _seconds(read if read.tzinfo is not None else read.replace(tzinfo=UTC))
        else:
            ago = f"; for a time ago write age<{value}" if _PART.match(value) and not _PART.sub("", value) else ""
            raise ConfigError(
                f"cannot read the time {value!r}; write a date or a date with a time, like 2026-11-28T10:00 or "
                f"2026-11-28T10:00+02:00 (UTC without an offset){ago}"
            )
    except ValueError as error:
        raise ConfigError(f"cannot read the time {value!r}: {error}; write it like 2026-11-28T10:00") from error
    if at < 0:
        raise ConfigError(f"the time {value!r} in the filter is before 1970; there were no tasks")
    return at, end


def _seconds(at: datetime) -> float:
    return (at - datetime.fromtimestamp(0, UTC)).total_seconds()  # of any year, which timestamp() does not promise


def _comparable(noun: Noun) -> str:
    if not noun.compared:
        return "nothing can be compared"
    return (
        "only an age can be compared" if len(noun.compared) == 1 else f"only {', '.join(noun.compared)} can be compared"
    )


def _flag(noun: Noun, value: str) -> str:
    flag = noun.flags.get(value.lower())
    if flag is None:
        raise ConfigError(f"the filter knows no is:{value}; there is {', '.join(f'is:{each}' for each in noun.flags)}")
    return flag


def _value(key: Key, value: str, term: str) -> Any:
    if not key.separator:
        return key.read(value)
    parts = [part for part in value.split(key.separator) if part]
    if not parts:
        raise ConfigError(f"{term!r} in the filter has no value")
    return tuple(dict.fromkeys(map(key.read, parts)))


# --- writing ---------------------------------------------------------------------------------------------------------


def text_of(where: AnyFilter, now: float) -> str:
    """The text that means this filter at the instant ``now``, to a thousandth of a second; for links and messages."""
    noun = next(noun for noun in NOUNS if noun.make is type(where))
    given = {field.name: getattr(where, field.name) for field in fields(where)}
    terms: list[str] = []
    for name, key in noun.keys.items():
        value = given[key.field]
        if key.separator and value:
            terms.append(_term(name, key.separator.join(value)))
        elif value and not key.separator:
            terms += [_term(name, each) for each in (value if key.is_many else [value])]
    for name, compared in noun.compared.items():
        if compared.is_time:  # an instant is told by its age
            continue
        for mark, field in ((">", compared.over), ("<", compared.under)):
            if given[field] is not None:
                terms.append(f"{name}{mark}{duration_text(now - given[field] if compared.is_age else given[field])}")
    terms += [f"is:{word}" for word, field in noun.flags.items() if given[field]]
    return " ".join(terms)


def _term(name: str, value: str) -> str:
    """A term in quotes where it needs them: a plain pattern stands as it is."""
    return f"{name}:{value}" if _PLAIN.fullmatch(value) else f"{name}:{shlex.quote(value)}"


_PLAIN = re.compile(r"[\w.,:*?\[\]!@%+=/<>-]+")


def duration_text(seconds: float) -> str:
    """Seconds as ``parse_duration`` reads them: ``1d12h``, ``90s``, ``250ms``; to a thousandth, and no less than 0."""
    left = max(0, round(seconds * 1000))
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(UNITS[unit] * 1000))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"
