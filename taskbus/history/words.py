"""The statements of the history in the words of each database, and what stands for lists and upserts in them."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from taskbus.database.statements import load
from taskbus.history import record_rows
from taskbus.monitor.report import COUNTED

_NAME = re.compile(r"(?<!:):([a-z_0-9]+)")
_LISTS = {"nodes": "text", "names": "text", "numbers": "bigint", "others": "bigint"}
"""The lists in ``history.sql``, and of what they are."""
_UPSERTS = {
    "upsert_node": ("taskbus_history_nodes", ("node",), ("minutes_seen", "records_seen", "settled", "seen_at")),
    "upsert_node_minute": ("taskbus_history_node_minutes", ("node", "minute"), ("number", "totals")),
    "upsert_total": ("taskbus_history_totals", ("span", "since", "task", "queue"), (*COUNTED, "detail")),
    "upsert_error": ("taskbus_history_errors", ("task", "error"), ("last_at", "task_id", "message")),
}
_INSERTS = {
    "insert_record": ("taskbus_history_records", record_rows.COLUMNS),
    "insert_detail": ("taskbus_history_details", ("number", "detail")),
}


class Words:
    """``sql``: the statements by name. Parameters are named, as ``:name`` on SQLite and ``%(name)s`` elsewhere."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        texts = {name: self.filled(text) for name, text in load("history.sql", __package__).items()}
        texts |= {name: self.spelled(self._upsert(*each)) for name, each in _UPSERTS.items()}
        texts |= {name: self.spelled(_insert(table, columns)) for name, (table, columns) in _INSERTS.items()}
        self.sql: Mapping[str, str] = texts

    def filled(self, text: str) -> str:
        """A statement of ours in this dialect."""
        for name, kind in _LISTS.items():
            text = text.replace(f"{{in:{name}}}", self.within(name, kind))
        text = text.replace("{lock}", "" if self.dialect == "sqlite" else "FOR UPDATE")
        return self.spelled(text.replace("{counts}", ", ".join(COUNTED)))

    def spelled(self, text: str) -> str:
        """Its parameters as the driver wants them."""
        return text if self.dialect == "sqlite" else _NAME.sub(r"%(\1)s", text)

    def within(self, name: str, kind: str = "bigint") -> str:
        """What stands behind a column that must be in the list ``name``."""
        if self.dialect == "sqlite":
            return f"IN (SELECT value FROM json_each(:{name}))"  # noqa: S608 (names of ours alone)
        return f"= ANY(:{name}::{kind}[])" if self.dialect == "postgresql" else f"IN :{name}"

    def list(self, members: Sequence[Any]) -> object:
        """What stands for a list in a statement."""
        if self.dialect == "sqlite":
            return json.dumps(list(members))
        if self.dialect == "mysql" and not members:
            return [None]  # MySQL has no empty list, and nothing equals NULL
        return list(members)

    def using(self, index: str) -> str:
        """What stands behind the table of records to have it read by that index, where that can be said."""
        if self.dialect == "postgresql":
            return ""
        word = "INDEXED BY" if self.dialect == "sqlite" else "FORCE INDEX"
        name = f"taskbus_history_records_{index}"
        return f" {word} {name}" if self.dialect == "sqlite" else f" {word} ({name})"

    def contains(self, column: str, name: str) -> str:
        """A condition: the text of a parameter occurs in a column."""
        if self.dialect == "postgresql":
            return f"strpos({column}, :{name}) > 0"
        return f"instr({column}, :{name}) > 0"

    def _upsert(self, table: str, keys: Sequence[str], others: Sequence[str]) -> str:
        insert = _insert(table, (*keys, *others))
        if self.dialect == "mysql":
            return f"{insert} ON DUPLICATE KEY UPDATE {', '.join(f'{each} = VALUES({each})' for each in others)}"
        changes = ", ".join(f"{each} = excluded.{each}" for each in others)
        return f"{insert} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join(f":{each}" for each in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 (names of ours alone)


@cache
def words_of(dialect: str) -> Words:
    """The words of a dialect, by ``Database.dialect``."""
    return Words(dialect)
