"""Shell patterns (``mail.*``) as regular expressions that PostgreSQL, MySQL and MariaDB read alike.

They mean what ``fnmatch.fnmatchcase`` takes them for, so that a filter chooses the same letters on every store.
"""

import re


def regex(pattern: str) -> str | None:
    """An expression for the whole text, without anchors; None if nothing matches, an empty set being no expression.

    ``.`` must match a line's end where it is used.
    """
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char, at = pattern[at], at + 1
        if char == "*":
            if parts[-1:] != [".*"]:
                parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif char == "[" and (end := _end_of_set(pattern, at)) > 0:
            members = _set(pattern[at:end])
            if members is None:
                return None
            parts.append(members)
            at = end + 1
        else:
            parts.append(re.escape(char))
    return "".join(parts)


def _end_of_set(pattern: str, start: int) -> int:
    """Where the set that starts behind a bracket is closed; -1: nowhere, so that the bracket is but a character."""
    first = start + 1 if pattern[start : start + 1] == "!" else start
    return pattern.find("]", first + 1)


def _set(text: str) -> str | None:
    """``a-z0`` or ``!a-z0`` as a set of an expression; None if it has no members."""
    negated = text.startswith("!")
    text = text[negated:]
    members: list[str] = []
    at = 0
    while at < len(text):
        low = high = text[at]
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            high = text[at + 2]
            at += 2
        at += 1
        if low == high:
            members.append(re.escape(low))
        elif low < high:
            members.append(f"{re.escape(low)}-{re.escape(high)}")
    if not members:
        return "." if negated else None
    return f"[{'^' * negated}{''.join(members)}]"
