"""The tables of `howto/coming_from_celery.md`, from the words that `taskbus migrate celery` uses too."""

import re
from collections.abc import Iterable, Mapping

from taskbus.celery_settings import Verdict, celery_settings
from taskbus.cli.migrate_words import CALL_OPTIONS, SIGNALS, TASK_OPTIONS, Words

MARKS = {Verdict.SAME: "as it is", Verdict.DIFFERS: "differs", Verdict.NEEDLESS: "needless", Verdict.NOT: "**not**"}


def settings_table() -> Iterable[str]:
    """A row for each setting of Celery 5.7."""
    yield "| setting | | in TaskBus |"
    yield "|---|---|---|"
    for setting in celery_settings().values():
        becomes = f"`{setting.becomes}`: " if setting.becomes else ""
        yield f"| `{setting.name}` | {MARKS[setting.verdict]} | {becomes}{setting.words} |"


def words_table(head: str, words: Mapping[str, Words]) -> Iterable[str]:
    """A row for each name; those with the same words share one."""
    yield f"| {head} | | in TaskBus |"
    yield "|---|---|---|"
    shared: dict[Words, list[str]] = {}
    for name, each in words.items():
        shared.setdefault(each, []).append(f"`{name}`")
    for each, names in shared.items():
        yield f"| {', '.join(names)} | {MARKS[each.verdict]} | {each.words} |"


TABLES = {
    "settings": settings_table,
    "task options": lambda: words_table("`@app.task(...)`", TASK_OPTIONS),
    "call options": lambda: words_table("`apply_async(...)`", CALL_OPTIONS),
    "signals": lambda: words_table("signal", SIGNALS),
}


def filled(text: str) -> str:
    """The page with each of its tables as the code has it, between the comments that name it."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: written by docs/generate.py -->", f"<!-- end of {name} -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        rows = "\n".join([begin, "", *table(), "", end])
        text, count = re.subn(pattern, lambda _, rows=rows: rows, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"the page has {count} places for the table of {name}; it needs one: {begin} {end}")
    return text
