"""Secrets are not shown: what arguments, results, errors and tracebacks become before anybody sees them. Pure.

A value is a secret by its name (``password``, ``api_key``, ``cardNumber``, and names the application adds), wherever it
stands: the parameter of a task, a key of a mapping, ``name=value`` in a text. And by its look: the password of a URL,
a bearer token, a private key, the number of a payment card. A secret argument is left out of the error that quotes it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"
LONGEST = 8192
"""Characters of a text that are looked at; what is behind them is never shown."""
_UNCERTAIN = 512
"""Characters at that end that may be the beginning of a secret."""
MOST = 1000
"""Values within a value that are looked at; in the place of the rest stand three dots."""
DEEPEST = 12

_WITHIN = (
    "password", "passwd", "passphrase", "secret", "apikey", "accesskey", "privatekey", "secretkey", "signingkey",
    "encryptionkey", "authorization", "credential", "creditcard", "cardnumber", "sessionid", "sessionkey",
)  # fmt: skip
"""What a name is not to contain, written as one word."""
_WORDS = frozenset({
    "pwd", "pass", "token", "tokens", "auth", "bearer", "jwt", "otp", "totp", "mfa", "pin", "cvv", "cvc", "card",
    "pan", "iban", "ssn", "cookie", "cookies", "cvv2", "cvc2", "apitoken", "authtoken", "accesstoken", "refreshtoken",
})  # fmt: skip
"""Words that make a name one of a secret."""
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_URL = re.compile(r"(?<=://)([^\s/@:'\"<>]{0,200})(:(?!\d{1,5}(?:[/?#]|$))[^\s'\"<>]{0,400})?@")
_NAMED = re.compile(r"(?<![\w-])([A-Za-z_][\w-]{0,63})(['\"]?\s{0,3}(?:=>|[=:])\s{0,3}|\s{1,3}(?=['\"]))")
_VALUE = re.compile(
    r"(?:[Bb]earer|[Bb]asic|[Tt]oken)\s{1,3}[^\s,;'\"]{1,4096}"
    r"|[brfBRF]?'(?:[^'\\\n]|\\.){0,4096}'?|[brfBRF]?\"(?:[^\"\\\n]|\\.){0,4096}\"?|[^\s,;&'\"(){}\[\]<>]{1,4096}"
)
_BY_LOOK = re.compile(
    r"(?:(?<=[Bb]earer )|(?<=[Bb]asic ))[\w.~+/=-]{8,4096}"
    r"|\beyJ[\w-]{8,4096}\.[\w-]{4,4096}\.[\w-]{0,4096}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----)){0,8192}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\b(?:sk|rk|pk)_(?:live|test)_\w{8,200}|\bgh[pousr]_\w{20,255}"
    r"|\bxox[abprs]-[\w-]{10,200}|\bglpat-[\w-]{20,64}|\bsk-[\w-]{20,200}"
)
_CARD = re.compile(r"(?<![\w.-])(?:3[47]|4\d|5[1-5]|2[2-7]|6\d)\d{2}[ -]?\d{4,6}[ -]?\d{4,5}[ -]?\d{0,4}(?![\w.-])")


class Redactor:
    """``extra``: names of secrets beyond those that are known; a name is one if it has these words."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._extra = [parts for name in extra if (parts := _parts(name))]
        self.is_secret = lru_cache(maxsize=4096)(self._is_secret)

    def _is_secret(self, name: str) -> bool:
        parts = _parts(name)
        joined = "".join(parts)
        if any(part in _WORDS for part in parts) or joined in _WORDS or any(each in joined for each in _WITHIN):
            return True
        return any("".join(each) == joined or _has(parts, each) for each in self._extra)

    # --- values --------------------------------------------------------------------------------------------------

    def call(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], parameters: Sequence[str]
    ) -> tuple[str, str, "Sequence[str]"]:
        """A call's arguments as texts, and the secrets among them. ``parameters``: names of the positional ones."""
        found: set[str] = set()
        walk = _Walk(self, found)
        shown = [
            walk.secret(value) if at < len(parameters) and self.is_secret(parameters[at]) else walk.value(value, 0)
            for at, value in enumerate(args)
        ]
        named = walk.value(dict(kwargs), 0)
        return self.text(repr(tuple(shown))), self.text(repr(named)), sorted(found, key=len, reverse=True)

    def value(self, value: Any) -> Any:
        """The same value without those that are secrets by their name; plain containers, as they come off a wire."""
        return _Walk(self, set()).value(value, 0)

    def cleared(self, value: Any) -> Any:
        """The same value without secrets of either kind: each text in it is cleared too, keys as well."""
        return self._without_looks(self.value(value))

    def _without_looks(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._without_looks(key): self._without_looks(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._without_looks(item) for item in value)
        written = repr(value)  # the number of a card, or a password in bytes
        return value if self.text(written) == written else MASK

    # --- texts ---------------------------------------------------------------------------------------------------

    def text(self, text: str, secrets: Iterable[str] = ()) -> str:
        """The same text without secrets; ``secrets``: what is known to be some. Its beginning, if it is very long."""
        is_cut = len(text) > LONGEST
        if is_cut:
            text = text[:LONGEST]
        for secret in secrets:
            text = text.replace(secret, MASK)
        if "://" in text:
            text = _URL.sub(_without_password, text)
        text = self._without_named(text)
        text = _BY_LOOK.sub(MASK, text)
        text = _CARD.sub(_card, text)
        return f"{text[:-_UNCERTAIN]}..." if is_cut else text

    def ends(self, text: str, secrets: Iterable[str] = ()) -> str:
        """As ``text``, for one of any length of which every line may matter: a traceback."""
        secrets = tuple(secrets)
        if len(text) <= LONGEST:
            return self.text(text, secrets)
        parts: list[str] = []
        lines: list[str] = []
        size = 0
        for line in text.splitlines(keepends=True):
            if size + len(line) > LONGEST and lines:
                parts.append(self.text("".join(lines), secrets))
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        return "".join([*parts, self.text("".join(lines), secrets)])

    def _without_named(self, text: str) -> str:
        """Without what stands behind the name of a secret: ``name=value``, ``'name': 'value'``, ``name 'value'``."""
        parts: list[str] = []
        done = 0
        for found in _NAMED.finditer(text):
            if found.start() >= done and self.is_secret(found[1]) and (value := _VALUE.match(text, found.end())):
                quote = value[0][-1] if len(value[0]) > 1 and value[0][-1] in "'\"" else ""
                parts += text[done : found.end()], quote, MASK, quote
                done = value.end()
        return "".join([*parts, text[done:]])


class _Walk:
    """Through one value: what is secret goes to ``found``, as far as it can be told in a text again."""

    def __init__(self, redactor: Redactor, found: set[str]) -> None:
        self._redactor = redactor
        self._found = found
        self._left = MOST

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            return ...
        if isinstance(value, Mapping):
            return {key: self._item(key, item, depth) for key, item in list(value.items())[: max(0, self._left) + 1]}
        if isinstance(value, list | tuple | set | frozenset):
            shown = [self.value(item, depth + 1) for item in list(value)[: max(0, self._left) + 1]]
            return tuple(shown) if isinstance(value, tuple) else shown
        return value

    def _item(self, key: Any, item: Any, depth: int) -> Any:
        if isinstance(key, str) and self._redactor.is_secret(key[:200]):
            return self.secret(item)
        return self.value(item, depth + 1)

    def secret(self, value: Any) -> Any:
        """What is shown in its place. That there is none is no secret."""
        if value is None or isinstance(value, bool):
            return value
        self._remember(value, 0)
        return MASK

    def _remember(self, value: Any, depth: int) -> None:
        if isinstance(value, Mapping) and depth < 3:
            for item in value.values():
                self._remember(item, depth + 1)
        elif isinstance(value, list | tuple) and depth < 3:
            for item in value:
                self._remember(item, depth + 1)
        elif isinstance(value, str | int | float) and 4 <= len(text := str(value)) <= 1000 and len(self._found) < 100:
            self._found.add(text)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in _PARTS.findall(name))


def _has(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return any(parts[at : at + len(wanted)] == wanted for at in range(len(parts) - len(wanted) + 1))


def _without_password(found: "re.Match[str]") -> str:
    user, password = found.groups()
    return f"{user}:{MASK}@" if password is not None else f"{MASK}@"


def _card(found: "re.Match[str]") -> str:
    digits = [int(digit) for digit in found[0] if digit.isdigit()]
    doubled = [digit if at % 2 == 0 else digit * 2 - 9 * (digit > 4) for at, digit in enumerate(reversed(digits))]
    return MASK if len(digits) in (14, 15, 16) and sum(doubled) % 10 == 0 else found[0]
