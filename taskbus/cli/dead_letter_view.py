"""A dead letter as text and as JSON."""

import dataclasses
from datetime import datetime
from typing import Any

import rich_click as click

from taskbus.cli.phrase import ago, count, safe, span
from taskbus.cli.preview import hexadecimal, preview
from taskbus.cli.tables import draw_fields
from taskbus.store.base import DeadLetter


def letter_summary(letter: DeadLetter, message: str) -> dict[str, Any]:
    """What ``dlq list -o json`` says of a letter: all but its bytes, its arguments and its tracebacks.

    ``message``: what its error says, as it is to be shown.
    """
    skipped = ("wire", "attempts", "failure")
    item = {field.name: getattr(letter, field.name) for field in dataclasses.fields(letter)}
    kept = {name: value for name, value in item.items() if name not in skipped}
    return {**kept, "error": letter.failure.type, "message": message, "bytes": len(letter.wire)}


def letter_item(letter: DeadLetter) -> dict[str, Any]:
    """What ``dlq show -o json`` says: everything, secrets too, the bytes in hex."""
    seen = preview(letter.wire, letter.queue, letter.priority)
    return {
        **letter_summary(letter, letter.failure.message),
        "args": seen.args,
        "kwargs": seen.kwargs,
        "headers": seen.message.headers if seen.message else {},
        "failure": letter.failure,
        "attempts": letter.attempts,
        "wire": letter.wire,
    }


def draw_letter(letter: DeadLetter, now: float) -> None:
    """Print a letter: what it is, how each attempt failed, its bytes. All of it, secrets too."""
    seen = preview(letter.wire, letter.queue, letter.priority)
    draw_fields(
        [
            ("id", letter.task_id),
            ("task", letter.task),
            ("arguments", seen.call),
            ("queue", f"{letter.queue}, priority {letter.priority}"),
            ("reason", str(letter.reason)),
            ("error", f"{letter.failure.type}: {letter.failure.message}"),
            ("sent", f"{_time(letter.sent_at)} ({ago(letter.sent_at, now)})" if letter.sent_at else ""),
            ("died", f"{_time(letter.dead_at)} ({ago(letter.dead_at, now)}), in attempt {letter.attempt}"),
        ]
    )
    for attempt in letter.attempts:
        took = span(attempt.finished_at - attempt.started_at)
        click.echo(f"\nAttempt {attempt.attempt}: {_time(attempt.started_at)}, {took}, on {safe(attempt.worker)}")
        click.echo(_trace(attempt.failure.traceback, f"{attempt.failure.type}: {attempt.failure.message}"))
    if not letter.attempts and letter.failure.traceback:
        click.echo("\n" + _trace(letter.failure.traceback, ""))
    click.echo(f"\n{count(len(letter.wire), 'byte')} of {letter.content_type}:\n{hexadecimal(letter.wire)}")
    click.echo(f"\nSend it again: taskbus dlq replay --id {safe(letter.task_id)}")


def _trace(traceback: str, otherwise: str) -> str:
    return safe(traceback.rstrip() or otherwise)


def _time(instant: float) -> str:
    return datetime.fromtimestamp(instant).astimezone().isoformat(sep=" ", timespec="milliseconds")
