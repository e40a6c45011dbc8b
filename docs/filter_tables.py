"""The page `reference/filters.md`: every key of every noun, as `taskbus.store.nouns` has them, each example parsed."""

from collections.abc import Iterator, Mapping

from taskbus.outcome import Reason
from taskbus.store.flows import FlowState
from taskbus.store.nouns import FLOWS, LETTERS, NODES, NOW_STATES, QUEUES, SCHEDULES, SPOKEN, TASK_STATES, TASKS, Noun
from taskbus.store.where import (
    MAX_LENGTH,
    MAX_TERMS,
    UNITS,
    parse,
    parse_flows,
    parse_nodes,
    parse_queues,
    parse_schedules,
    parse_tasks,
)  # fmt: skip

Rows = Mapping[str, tuple[str, str]]
"""What is said of a key: an example, and its meaning."""

PATTERN = "a pattern"
_TIMES: Rows = {
    "age": ("age>1d age<2w", "longer ago than, or not so long ago"),
    "time": ("time>=2026-11-28T10:00 time<2026-11-29", "from then on, before then; also `time>` and `time<=`"),
}
_NAMES: Rows = {
    "task": ("task:mail.*", f"the task's name, {PATTERN}"),
    "queue": ("queue:default", f"the queue, {PATTERN}"),
    "error": ("error:ValueError", "class of the error, exactly, with or without its module"),
    "text": ('text:"no such file"', "what the error's message contains, upper and lower case as written"),
    "reason": ("reason:poison", f"why no attempt was left: {', '.join(f'`{reason}`' for reason in Reason)}"),
}
_STATES = ", ".join(f"`{state.lower()}`" for state in TASK_STATES)
_NOW = " and ".join(f"`{state.lower()}`" for state in NOW_STATES)
_SPOKEN = ", ".join(f"`{word.lower()}`" for word in SPOKEN)
_FLOW_STATES = ", ".join(f"`{state.lower()}`" for state in FlowState)

SECTIONS = (
    (
        "Tasks", TASKS, parse_tasks,
        "`taskbus tasks`, Tasks on the page, `/api/v1/tasks`. A time is that of the end of the attempt; of what runs, "
        "of its start; of what waits, of its sending.",
        {
            **_NAMES, **_TIMES,
            "id": ("id:01a1fe1b id:01a1fe1c", "one of these ids"),
            "state": (
                "state:failure,retry",
                f"how the attempt ended: {_STATES}; {_NOW}, alone, are those that run and those that wait now. "
                f"The page's words are read too: {_SPOKEN}",
            ),
            "worker": ("worker:celery@web-*", f"the worker that ran it, {PATTERN}"),
            "args": ("args:42", "what the arguments contain, as they are shown"),
            "flow": ("flow:01a1fe1b", "id of its workflow"),
            "parent": ("parent:01a1fe1b", "id of the task that sent it"),
            "schedule": ("schedule:nightly-*", f"the schedule that it is a run of, {PATTERN}"),
            "ran": ("ran>10s", "how long the attempt ran; also `ran<`"),
            "waited": ("waited>1m30s", "how long it waited for a slot; also `waited<`"),
        },
    ),
    (
        "Dead letters", LETTERS, parse,
        "`taskbus dlq`, Dead letters on the page, `/api/v1/dlq`. A time is that of its death.",
        {**_NAMES, **_TIMES, "id": ("id:01a1fe1b id:01a1fe1c", "one of these ids of tasks")},
    ),
    (
        "Workflows", FLOWS, parse_flows,
        "`taskbus flow list`, Workflows on the page, `/api/v1/flows`. A time is that of its sending.",
        {
            **_TIMES,
            "id": ("id:01a1fe1b", "one of these ids"),
            "name": ("name:import-*", f"its name, {PATTERN}"),
            "state": ("state:running,failure", f"one of {_FLOW_STATES}"),
        },
    ),
    (
        "Nodes", NODES, parse_nodes, "`taskbus nodes`, Workers on the page, `/api/v1/nodes`.",
        {
            "name": ("name:celery@*", f"its name, {PATTERN}"),
            "kind": ("kind:worker", "`worker`, `beat` or `web`"),
            "queue": ("queue:mail*", f"a queue that it fetches from, {PATTERN}"),
            "host": ("host:web-1", f"the machine, {PATTERN}"),
            "app": ("app:shop", f"the application, {PATTERN}"),
        },
    ),
    (
        "Queues", QUEUES, parse_queues, "`taskbus queues`, Queues on the page, `/api/v1/queues`.",
        {
            "name": ("name:mail*", f"its name, {PATTERN}"),
            "is": ("is:paused is:empty", "paused; nothing waits in it"),
        },
    ),
    (
        "Schedules", SCHEDULES, parse_schedules,
        "`taskbus schedule list`, Schedules on the page, `/api/v1/schedules`.",
        {
            "name": ("name:nightly-*", f"its name, {PATTERN}"),
            "task": ("task:mail.*", f"the task that it sends, {PATTERN}"),
            "is": ("is:paused", "paused"),
        },
    ),
)  # fmt: skip

HEAD = f"""\
One language says which tasks, dead letters, workflows, nodes, queues or schedules are meant: behind `--where` on the
command line, in the filter boxes of the page and their addresses, and as `where` in the
[API](../howto/web.md#use-the-api).

```console
$ taskbus tasks list --where 'state:failure task:mail.* time>=2026-11-28T10:00 time<2026-11-28T12:00'
$ taskbus dlq list --where 'error:ValueError text:"no such file" age<2h'
```

- Terms stand with blanks between them, and all of them must match. There is no *or*; a key that takes several values
  says so.
- A value with a blank in it is quoted: `text:"no such file"`. In a shell, quote the whole filter, for `<` and `>`.
- A **pattern** is that of a shell: `*` any letters, `?` one, `[ab]` one of these. Without them it is the whole name.
  Upper and lower case differ.
- A **duration** has a unit: {", ".join(f"`{unit}`" for unit in UNITS)}; several together are added: `1d12h`.
- A **time** is a date (`2026-11-28`) or a date with a time (`2026-11-28T10:00`, `2026-11-28T10:00:30.5`), in UTC
  unless it has an offset (`2026-11-28T10:00+02:00`, `...Z`). A date alone is its whole day: `time<=2026-11-28`
  includes its evening, `time>2026-11-28` begins with the next day. `>=` and `<=` include the instant, `>` and `<` do
  not. `age` and `time` may stand together; in an address write `+` of an offset as `%2B`.
- A key that compares may stand once for each direction. `id` may stand any number of times: any of them is meant.
- A filter has at most {MAX_LENGTH:,} characters and {MAX_TERMS} terms. What cannot be read is refused, with what was
  meant perhaps.
"""


def filters_page(note: str) -> str:
    """Every noun with its keys; raises where a key is not described, or an example is not what the parser reads."""
    lines = ["# Filters", "", "*Kind: reference.*", "", note, "", HEAD]
    for title, noun, read, where, rows in SECTIONS:
        lines += [f"## {title}", "", where, "", "| key | example | meaning |", "|---|---|---|", *_rows(noun, rows), ""]
        for example, _ in rows.values():
            read(example, 2e9)
    return "\n".join(lines)


def _rows(noun: Noun, rows: Rows) -> Iterator[str]:
    if set(rows) != set(noun.known):
        raise SystemExit(f"docs/filter_tables.py tells of {sorted(rows)}; the parser reads {sorted(noun.known)}")
    for name in noun.known:
        example, meaning = rows[name]
        many = ""
        key = noun.keys.get(name)
        if key is not None and (key.is_many or key.separator):
            many = "; several with commas" if key.separator else "; may stand several times"
        yield f"| `{name}` | `{example}` | {meaning}{many} |"
