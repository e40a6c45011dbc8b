"""Lua scripts: read from the files beside their users, named by their hash, and joined with the result store's part."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script, as ``EVAL`` takes it; ``sha`` is what ``EVALSHA`` calls it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def load(package: str, *names: str) -> Script:
    """The script in the file of ``package`` (``__package__``); of several, one after the other in one script."""
    return Script("\n".join(files(package).joinpath(name).read_text(encoding="utf-8") for name in names))


@lru_cache(maxsize=64)
def joined(fragment: str, script: Script) -> Script:
    """``fragment`` before the text of ``script``, in one script."""
    return Script(f"{fragment}\n{script.text}")


NO_RECORD = "local function record(payload) return 1 end"


class RedisTransaction:
    """What a shared settle hands to the store's ``apply(changes, transaction)``: the store adds its part of the step.

    The store calls ``add`` once. Its ``fragment`` is Lua source that defines ``local function record(payload)``: it is
    called inside the script that settles, before the broker's own writes and after it is known that every delivery is
    held. It must first check, then write: it returns 1 when it has written, and 0, having written nothing, when it
    refuses; then nothing at all is done, and settling answers that the store refused. With a 1 it may return a list of
    messages that the step is to publish: {queue, priority, wire, due instant or 0} each. ``payload`` is bytes of the
    store's own making (``cmsgpack.unpack`` reads msgpack). Whatever top-level locals it needs are its own. It is never
    run on a cluster, so it may use any key of the store's. Out of memory does not stop it: a freeing write precedes.

    The fragment must be the same text for every call: a script is cached by its text. When a delivery turns out to be
    stale the step is begun anew, with a new transaction, without that delivery's changes.
    """

    __slots__ = ("fragment", "payload")

    def __init__(self) -> None:
        self.fragment = NO_RECORD
        self.payload: bytes | None = None

    def add(self, fragment: str, payload: bytes) -> None:
        assert self.payload is None, "one payload a step"
        self.fragment, self.payload = fragment, payload
