"""The named statements of the SQL store, read from the ``.sql`` files beside this one, and filters made of them.

A file is read once, when its dialect is first used; what is run is text that never changes but for its filter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from taskbus.database.statements import load
from taskbus.store.base import Filter

TABLES = ("taskbus_results", "taskbus_attempts", "taskbus_dead_letters", "taskbus_flows", "taskbus_flow_nodes")

_FAILURE = ("failure_type", "failure_message", "failure_traceback")
_VALUE = ("task_id", "task", "state", "value", "content_type", "attempt", "started_at", "finished_at")
_COUNTS = ("waiting", "ready", "started", "succeeded", "failed", "revoked", "skipped", "dead", "joins")
_NODE = (
    "task", "after_id", "run_when", "join_id", "place", "queue", "priority", "wire", "takes", "keeps", "result_ttl",
    "size", "policy", "path", "due_at", "delay",
)  # fmt: skip
_STANDING = (
    "state", "started_at", "copy", "ended_at", "value", "content_type", *_FAILURE, "cause", "waits_for", "failed",
    "is_sealed",
)  # fmt: skip
COLUMNS: Mapping[str, Sequence[str]] = {
    "save_values": (*_VALUE, "ttl"),
    "save_results": (*_VALUE, *_FAILURE, "ttl"),
    "save_attempts": ("task_id", "attempt", "started_at", "finished_at", "worker", *_FAILURE),
    "bury": (
        "task_id", "task", "queue", "reason", *_FAILURE,
        "wire", "content_type", "priority", "attempt", "sent_at", "dead_at",
    ),
    "begin_flows": ("id", "name", "last_id", "sent_at", "ttl"),
    "save_flows": ("number", "id", "state", "is_cancelled", "ended_at", "expires_at", *_COUNTS),
    "add_nodes": ("flow", "id", *_NODE, *_STANDING),
    "save_nodes": ("flow", "id", *_STANDING),
}  # fmt: skip
"""What the rows consist of that each writing statement takes."""
KEYS: Mapping[str, int] = {
    "save_values": 1, "save_results": 1, "save_attempts": 2, "bury": 1,
    "begin_flows": 1, "save_flows": 1, "add_nodes": 2, "save_nodes": 2,
}  # fmt: skip
"""How many of these columns, the first ones, name the row."""


Step = Callable[[Any], object]
"""Runs one statement on the cursor it is given."""


class Dialect(Protocol):
    """What differs between databases beyond the text of ``sql``.

    ``has_clock``: the server's clock is used where none is handed over (``now`` None), and ``ttl`` in a row is in
    seconds; without one ``now`` is always given, and ``ttl`` is the instant at which the row's time is over.
    ``flows_at_once``: the nodes of how many flows one statement sweeps.
    """

    sql: Mapping[str, str]
    has_clock: bool
    flows_at_once: int

    def steps(self, statement: str, rows: Sequence[Sequence[Any]], now: float | None) -> list[Step]:
        """One of the statements of ``COLUMNS`` for all rows, of which no two have the same key: one, unless huge."""

    def ids(self, ids: Sequence[Any]) -> object:
        """What stands for a list of ids in a statement."""

    def keys(self, keys: Sequence[tuple[int, str]]) -> dict[str, object]:
        """What stands for a list of nodes (number of the flow, id) in a statement."""

    def pattern(self, pattern: str) -> str | None:
        """What stands for a shell pattern in a statement; None: nothing matches it."""

    def prepare(self, cursor: Any) -> None:
        """Make the cursor's connection ready for a filter."""


def texts_of(dialect: str) -> dict[str, str]:
    """The statements of a dialect by their names, those that are alike in all dialects included."""
    files = ("letters", "flows", dialect, f"{dialect}_flows")
    texts = {name: text for file in files for name, text in load(f"{file}.sql", __package__).items()}
    mark = "?" if dialect == "sqlite" else "%s"
    columns = {
        "{node}": ", ".join(f"node.{each}" for each in COLUMNS["add_nodes"] if each not in ("wire", "value")),
        "{added}": ", ".join(COLUMNS["add_nodes"]),
        "{marks}": ", ".join([mark] * len(COLUMNS["add_nodes"])),
    }
    for name, text in texts.items():
        for place, given in columns.items() if "{" in text else ():
            texts[name] = texts[name].replace(place, given)
    return texts


def filtered(
    dialect: Dialect, statement: str, where: Filter, after: tuple[float, str] | None = None
) -> tuple[str, dict[str, Any]]:
    """One of the statements with a ``{condition}``, and the values it needs."""
    terms, values = ["where_everything"], dict[str, Any]()
    for field in _FIELDS:
        given = getattr(where, field)
        if given is None or given == ():
            continue
        value = _value(dialect, field, given)
        terms.append("where_nothing" if value is None else f"where_{field}")
        values[field] = value
    if after is not None:
        terms.append("where_before" if statement.endswith("_newest") else "where_after")
        values["after_at"], values["after_id"] = after
    condition = " AND ".join(dialect.sql[term] for term in terms)
    return dialect.sql[statement].replace("{condition}", condition), values


def _value(dialect: Dialect, field: str, given: Any) -> Any:
    if field == "task_ids":
        return dialect.ids(storable_all(given)) if given else None
    if field in ("task", "queue"):
        return dialect.pattern(storable(given))
    return storable(str(given)) if isinstance(given, str) else given


def storable(text: str) -> str:
    """``text`` as every database takes it: half of a surrogate pair (from a file name that is not UTF-8) and the
    character NUL are spelled out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def storable_all(texts: Sequence[str]) -> list[str]:
    return list(map(storable, texts))


_FIELDS = tuple(field.name for field in fields(Filter))
