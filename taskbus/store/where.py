"""The language of ``--where``: ``task:mail.* reason:poison error:ValueError text:"no such file" age>1d age<2w``.

Terms are separated by blanks and all must match; quotes keep blanks inside a value. One parser for whatever is
filtered, in the command line, the page and its addresses: ``nouns`` says which keys each noun has.
"""

import difflib
import re
import shlex
from dataclasses import fields
from typing import Any

from taskbus.errors import ConfigError
from taskbus.store.base import Filter
from taskbus.store.filters import FlowFilter, NodeFilter, QueueFilter, ScheduleFilter, TaskFilter
from taskbus.store.nouns import FLOWS, LETTERS, NODES, NOUNS, QUEUES, SCHEDULES, TASKS, Compared, Key, Noun

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
MAX_LENGTH, MAX_TERMS = 2048, 128
AnyFilter = Filter | TaskFilter | NodeFilter | QueueFilter | ScheduleFilter | FlowFilter

_TERM = re.compile(r"(?P<key>[A-Za-z_]+)(?P<mark>[:<>])(?P<value>.*)", re.DOTALL)
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
    for term in terms:
        field, value, is_many = _read(noun, term, now)
        if is_many:
            given[field] = (*given.get(field, ()), value)
        elif field in given:
            many = "".join(f" ({name}: any number)" for name, key in noun.keys.items() if key.is_many)
            raise ConfigError(f"the filter says {term.partition(':')[0]!r} twice; each may stand once{many}")
        else:
            given[field] = value
    return noun.make(**given)


def _read(noun: Noun, term: str, now: float) -> tuple[str, Any, bool]:
    """The filter's field that ``term`` sets, its value, and whether it may be set again."""
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
        return *_compared(name, noun.compared[name], mark, value, now, term), False
    if mark != ":":
        raise ConfigError(f"{term!r} in the filter: {_comparable(noun)}; write {name}:{value}")
    if name == "is":
        return _flag(noun, value), True, False
    key = noun.keys[name]
    return key.field, _value(key, value, term), key.is_many


def _compared(name: str, key: Compared, mark: str, value: str, now: float, term: str) -> tuple[str, float]:
    if mark == ":":
        what = "an age" if name == "age" else "a duration"
        raise ConfigError(f"{term!r} in the filter: compare {what}, as in {name}>1d or {name}<2h")
    seconds = parse_duration(value)
    return (key.over if mark == ">" else key.under), now - seconds if key.is_age else seconds


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
