"""Tasks that both fleets have, under the same names: what each does is the same, who did it is in the ledger."""

import json
import os
from typing import Any


def write(**entry: Any) -> None:
    """Add a line to the ledger, in one step."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, json.dumps(entry, default=str).encode() + b"\n")
    finally:
        os.close(ledger)


def add(x: int, y: int = 100) -> int:
    return x + y


def total(numbers: list[int]) -> int:
    return sum(numbers)


def listed(values: list[Any]) -> list[Any]:
    return values


def fail(message: str = "no") -> None:
    raise ValueError(message)


def fail_on(value: int, on: int) -> int:
    if value == on:
        raise KeyError(f"not {on}")
    return value


def noted(key: str, value: Any = None) -> Any:
    write(key=key, value=value)
    return value


def note(value: Any, key: str) -> Any:
    """As a callback: the value comes first."""
    write(key=key, value=value)
    return value


def told_id(task_id: str, key: str = "") -> None:
    """An errback of the old form."""
    write(key=key or "told_id", task_id=task_id)


TASKS = (add, total, listed, fail, fail_on, noted, note)
