"""URLs as they may be shown: secrets never reach logs, reprs or pages; and as they mean the same from everywhere."""

import re
from pathlib import Path
from urllib.parse import unquote_plus

from taskbus.errors import ConfigError

_SCHEME = re.compile(r"[\w.+-]*")
_HOST = re.compile(r"([^:\[\]]*|\[[^\]]*\])(:[0-9]*)?")
_OF_SECRETS = ("passw", "passphrase", "pwd", "secret", "token", "key", "credential")
"""What the name of an option has in it whose value is a secret."""
_OF_FILES = ("key_file", "keyfile", "ssl_key", "sslkey")
"""Options that name the file of a key, which is none."""
_IN_TEXT = re.compile(r"[A-Za-z][\w.+-]*://\S*?(?=[.,;:!?'\")\]}>]*(?:\s|$))")


def redacted(url: str) -> str:
    """``url`` with its password and every secret option replaced by three asterisks, be the rest of it right or wrong.

    A password ends at the last ``@`` there is: what a URL may not say without quoting it, people write all the same.
    Too much is hidden rather than too little.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        scheme, separator, rest = "", "", url
    place, question, query = rest.partition("?")
    shown = f"{place}{question}{_without_secrets(query)}"
    is_file = scheme.removeprefix("db+").startswith("sqlite") and rest.startswith("/")
    if not is_file:
        shown = _without_password(shown, must_hide="@" in rest and "@" not in shown)
    return f"{scheme}{separator}{shown}"


def redacted_text(text: str) -> str:
    """``text`` with every URL in it redacted."""
    return _IN_TEXT.sub(lambda found: redacted(found[0]), text)


def quotable(part: str, url: str) -> str:
    """A part of ``url`` as an error may quote it: three asterisks where it may be one of a password."""
    return part if part in redacted(url) else "***"


def refuse_stray_at(url: str, userinfo: str, path: str, query: str) -> None:
    """Raise ``ConfigError`` if there is an ``@`` behind the host: the password may have been cut in two before it.

    The second half would be taken for a path, and shown.
    """
    if "@" in path or ("@" in query and not userinfo):
        raise ConfigError(
            f"{redacted(url)!r}: nobody can tell where the password ends; write / ? # @ in a password as"
            " %2F %3F %23 %40, and an @ behind the host as %40 too"
        )


def absolute(url: str) -> str:
    """The URL with a SQLite file's path made absolute, so that it names the same file from everywhere."""
    prefix, slashes, rest = url.partition("sqlite:///")
    if prefix or not slashes or not rest:
        return url
    path, question, query = rest.partition("?")
    return f"sqlite:///{Path(path).expanduser().absolute()}{question}{query}"


def _without_password(rest: str, *, must_hide: bool) -> str:
    before, at, after = rest.rpartition("@")
    user, colon, _ = (before if at else rest).partition(":")
    if not colon:
        return rest
    if at:
        return f"{user}:***@{after}"
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if must_hide or not all(_HOST.fullmatch(host) for host in authority.split(",")):
        return f"{user}:***"  # what is no port may be a password: whoever wrote it forgot the host
    return rest


def _without_secrets(query: str) -> str:
    shown, is_secret = [], False
    for item in query.split("&"):
        name, sign, _ = item.partition("=")
        if sign:
            said = unquote_plus(name).lower()
            is_secret = said not in _OF_FILES and any(word in said for word in _OF_SECRETS)
            shown.append(f"{name}=***" if is_secret else item)
        else:  # behind a secret it is the rest of it, cut off by an & that should have been quoted
            shown.append("***" if is_secret else item)
    return "&".join(shown)
