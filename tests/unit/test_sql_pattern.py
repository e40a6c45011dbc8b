"""Shell patterns as regular expressions mean what ``fnmatch`` takes them for."""

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskbus.store.sql_pattern import regex

CHARACTERS = st.sampled_from("ab-]![^\\.*?&|~ z\n:=é($")


def matches(text: str, pattern: str) -> bool:
    expression = regex(pattern)
    return expression is not None and re.fullmatch(expression, text, re.DOTALL) is not None


@settings(max_examples=1000, deadline=None)
@given(st.text(CHARACTERS, max_size=7), st.text(CHARACTERS, max_size=4))
def test_a_pattern_matches_what_fnmatch_matches(pattern: str, text: str) -> None:
    assert matches(text, pattern) == fnmatchcase(text, pattern)


@pytest.mark.parametrize("text", ["mail.send", "a*b?[c]", "x-y", "", "line\nline", "50% of \\"])
def test_a_text_without_wildcards_matches_itself_alone(text: str) -> None:
    pattern = "".join(f"[{char}]" if char in "*?[" else char for char in text)
    assert matches(text, pattern)
    assert not matches(f"{text}x", pattern)


def test_a_set_without_members_matches_nothing() -> None:
    assert regex("mail.[z-a]") is None
