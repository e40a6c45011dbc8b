"""The language of ``--where``."""

from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus.errors import ConfigError
from taskbus.store.base import Filter
from taskbus.store.where import parse, parse_duration

NOW = 1_000_000.0
DAY = 999_993_600.0
"""When 9 September 2001 began, by UTC."""
DAY_12 = nextafter(11 * 86_400.0, -inf)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", Filter()),
        ("   ", Filter()),
        ("task:mail.*", Filter(task="mail.*")),
        ("queue:default  reason:poison", Filter(queue="default", reason="poison")),
        ("reason:Retries-Exhausted", Filter(reason="retries_exhausted")),
        ("error:ValueError", Filter(error="ValueError")),
        ('text:"no such file"', Filter(text="no such file")),
        ("text:'a:b > \"c\"'", Filter(text='a:b > "c"')),
        ("'text:no such file'", Filter(text="no such file")),
        ("text:a>b", Filter(text="a>b")),
        ("age>1d", Filter(older_than=NOW - 86_400)),
        ("age<2h", Filter(newer_than=NOW - 7_200)),
        ("age>1d age<1w", Filter(older_than=NOW - 86_400, newer_than=NOW - 604_800)),
        ("time>=2001-09-09T01:46:40", Filter(newer_than=1_000_000_000.0)),
        ("time<=2001-09-09T01:46:40Z", Filter(older_than=1_000_000_000.0)),
        ("time>2001-09-09T03:46:40+02:00", Filter(newer_than=nextafter(1_000_000_000.0, inf))),
        ("time<2001-09-09T01:46", Filter(older_than=nextafter(1_000_000_000.0 - 40, -inf))),
        ("'time>=2001-09-09 01:46:40.250'", Filter(newer_than=1_000_000_000.25)),
        ("time>=2001-09-09 time<=2001-09-09", Filter(newer_than=DAY, older_than=nextafter(DAY + 86_400, -inf))),
        ("time>2001-09-08 time<2001-09-10", Filter(newer_than=DAY, older_than=nextafter(DAY + 86_400, -inf))),
        ("age<2h time>=1970-01-02", Filter(newer_than=NOW - 7_200)),
        ("time>=1970-01-12T13:46 age<1d age>1s time<1970-01-12", Filter(newer_than=999_960.0, older_than=DAY_12)),
        ("id:a id:b", Filter(task_ids=("a", "b"))),
        ("TASK:x", Filter(task="x")),
        ("task:名前", Filter(task="名前")),
    ],
)
def test_terms_mean_a_filter(text: str, meant: Filter) -> None:
    assert parse(text, NOW) == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tsk:mail", "no key 'tsk'; did you mean 'task'"),
        ("zzz:mail", "no key 'zzz'; known: id, task, queue, reason, error, text, age, time"),
        ("mail", "cannot read 'mail' in the filter; write terms like"),
        ("task:", "'task:' in the filter has no value"),
        ("task>a", "only age, time can be compared; write task:a"),
        ("age:1d", "compare an age, as in age>1d or age<2h"),
        ("age>soon", "cannot read the duration 'soon'"),
        ("age>5", "cannot read the duration '5'; write a number and a unit"),
        ("age>=1d", "write age>1d or age<1d"),
        ("time:2001-09-09", "compare a time, as in time>=2026-11-28T10:00 or time<2026-11-29"),
        ("time>=soon", "cannot read the time 'soon'; write a date or a date with a time, like 2026-11-28T10:00"),
        ("time>=10:00", "cannot read the time '10:00'"),
        ("time>=1h", "cannot read the time '1h'.*; for a time ago write age<1h"),
        ("time>=2026-02-30", "cannot read the time '2026-02-30': .*day"),
        ("time>=2026-13-01", "cannot read the time '2026-13-01': .*month"),
        ("time>=1766000000", "cannot read the time '1766000000'"),
        ("time>=", "'time>=' in the filter has no value"),
        ("time>=2026-01-01 time>2026-01-02", "'time>' twice"),
        ("time>=1969-12-31", "is before 1970"),
        ("time<0001-01-01T00:00+23:00", "is before 1970"),
        ("reason:poisn", "the reason 'poisn'; did you mean poison"),
        ("reason:xyzzy", "there are retries_exhausted, "),
        ("task:a task:b", "'task' twice"),
        ("age>1d age>2d", "twice"),
        ('text:"open', "No closing quotation"),
        ("id:a " * 129, "129 terms; at most 128"),
        ("text:" + "x" * 2048, "at most 2048"),
    ],
)
def test_what_cannot_be_read_is_refused_with_advice(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text, NOW)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert type(parse(text, NOW)) is Filter
    except ConfigError as error:
        assert "filter" in str(error) or "duration" in str(error) or "reason" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1d12h", 129600),
    ],
)
def test_durations_are_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1 d", "1y", "1d2", "1e3s", "nan", "1..5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write a number and a unit"):
        parse_duration(text)
