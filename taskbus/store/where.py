"""The language of ``--where``: ``task:mail.* reason:poison error:ValueError text:"no such file" age>1d age<2w``.

Terms are separated by blanks and all must match; quotes keep blanks inside a value. One parser for whatever asks for
dead letters.
"""

import difflib
import re
import shlex
from collections.abc import Callable
from typing import Any

from taskbus.errors import ConfigError
from taskbus.outcome import Reason
from taskbus.store.base import Filter

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
MAX_LENGTH, MAX_TERMS = 2048, 128

_TERM = re.compile(r"(?P<key>[A-Za-z_]+)(?P<mark>[:<>])(?P<value>.*)", re.DOTALL)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_USAGE = "write terms like task:mail.* queue:default reason:poison error:ValueError text:'boom' age>1d age<2h id:..."


def parse(text: str, now: float) -> Filter:
    """The filter that ``text`` means at the instant ``now``; empty: everything.

    Raises ``ConfigError`` for an unknown key, with the nearest known one, or a value that cannot be read.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"the filter has {len(text)} characters; at most {MAX_LENGTH} are read")
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"cannot read the filter {text!r}: {error}; {_USAGE}") from error
    if len(terms) > MAX_TERMS:
        raise ConfigError(f"the filter has {len(terms)} terms; at most {MAX_TERMS} are read")
    given: dict[str, Any] = {}
    ids: list[str] = []
    for term in terms:
        name, value = _read(term, now)
        if name == "task_ids":
            ids.append(value)
        elif name in given:
            raise ConfigError(f"the filter says {term.partition(':')[0]!r} twice; each may stand once (id: any number)")
        else:
            given[name] = value
    return Filter(task_ids=tuple(ids), **given)


def parse_duration(text: str) -> float:
    """Seconds in ``90s``, ``15m``, ``2h``, ``1d``, ``1w``, or several together: ``1d12h``; raises ``ConfigError``."""
    if not text or _PART.sub("", text):
        raise ConfigError(f"cannot read the duration {text!r}; write a number and a unit, like 90s, 15m, 2h, 1d or 1w")
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


def _read(term: str, now: float) -> tuple[str, Any]:
    """The name of the filter's field that ``term`` sets, and its value."""
    match = _TERM.fullmatch(term)
    if match is None:
        raise ConfigError(f"cannot read {term!r} in the filter; {_USAGE}")
    key, mark, value = match["key"].lower(), match["mark"], match["value"]
    if key not in _KEYS and key != "age":
        near = difflib.get_close_matches(key, (*_KEYS, "age"), n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join((*_KEYS, 'age'))}"
        raise ConfigError(f"the filter has no key {key!r}; {advice}")
    if not value:
        raise ConfigError(f"{term!r} in the filter has no value; {_USAGE}")
    if key == "age":
        if mark == ":":
            raise ConfigError(f"{term!r} in the filter: compare an age, as in age>1d or age<2h")
        return ("older_than" if mark == ">" else "newer_than"), now - parse_duration(value)
    if mark != ":":
        raise ConfigError(f"{term!r} in the filter: only an age can be compared; write {key}:{value}")
    name, read = _KEYS[key]
    return name, read(value)


def _reason(value: str) -> str:
    name = value.lower().replace("-", "_")
    if name in set(Reason):
        return name
    near = difflib.get_close_matches(name, list(Reason), n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(Reason)}"
    raise ConfigError(f"no dead letter has the reason {value!r}; {advice}")


_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "id": ("task_ids", str),
    "task": ("task", str),
    "queue": ("queue", str),
    "reason": ("reason", _reason),
    "error": ("error", str),
    "text": ("text", str),
}
