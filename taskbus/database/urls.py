"""URLs as they may be shown: secrets never reach logs, reprs or pages; and as they mean the same from everywhere."""

import re
from pathlib import Path

_USERINFO = re.compile(r"(?<=://)([^/?#]*)@")
_SECRET = re.compile(r"([?&](?:[a-z_]*(?:password|secret|token|key)[a-z_]*)=)[^&#]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """``url`` with every password and secret option in it replaced by three asterisks."""
    hidden = _USERINFO.sub(_hide, url)
    return _SECRET.sub(r"\1***", hidden)


def absolute(url: str) -> str:
    """The URL with a SQLite file's path made absolute, so that it names the same file from everywhere."""
    prefix, slashes, rest = url.partition("sqlite:///")
    if prefix or not slashes or not rest:
        return url
    path, question, query = rest.partition("?")
    return f"sqlite:///{Path(path).expanduser().absolute()}{question}{query}"


def _hide(match: re.Match[str]) -> str:
    parts = []
    for part in match[1].split(","):
        user, colon, _ = part.rpartition("@")[0].partition(":") if "@" in part else part.partition(":")
        host = part.rpartition("@")[2] if "@" in part else ""
        parts.append(f"{user}{':***' if colon else ''}{'@' + host if host else ''}")
    return f"{','.join(parts)}@"
