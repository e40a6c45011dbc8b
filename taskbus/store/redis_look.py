"""What the live settings of a Redis mean for results and dead letters. It asks, and changes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taskbus.database.redis import Link, Refused
from taskbus.database.remark import Remark, Weight

KEEPS_ALL = "noeviction"
ASKED = ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save")
_NEEDED = "let this user run CONFIG GET (+config|get) to have them checked"


def examine(links: Sequence[Link]) -> list[Remark]:
    """Version, whether results may be evicted, and what is left of them after a crash; of each server, if they differ.

    Raises:
        RedisError: one cannot be asked.
    """
    return list(dict.fromkeys(remark for link in links for remark in _look(link)))


def _look(link: Link) -> Iterator[Remark]:
    yield _version(link.hello())
    try:
        found = settings(link)
    except Refused as error:
        yield Remark(Weight.RISK, "settings", f"cannot be read: {error}", _NEEDED)
        return
    yield from read(found)


def settings(link: Link) -> dict[str, str]:
    """Those that are ``ASKED``. Raises ``Refused`` where this user may not see them, as any ``RedisError``."""
    # One by one: several in one command are understood from Redis 7.0 on.
    answers = link.pipeline([("CONFIG", "GET", name) for name in ASKED], repeatable=True)
    return {name.decode(): value.decode() for answer in answers for name, value in answer.items()}


def _version(hello: Mapping[bytes, Any]) -> Remark:
    name, version = (str(hello.get(key, b"?"), "utf-8", "replace") for key in (b"server", b"version"))
    return Remark(Weight.FINE, "version", f"{name.capitalize()} {version}")


def read(settings: Mapping[str, str]) -> Sequence[Remark]:
    """What ``CONFIG GET`` answered, in words."""
    return [*_eviction(settings), _durability(settings)]


def _eviction(settings: Mapping[str, str]) -> Iterator[Remark]:
    policy = settings.get("maxmemory-policy", KEEPS_ALL)
    if policy != KEEPS_ALL:
        when = "when memory is short" if settings.get("maxmemory", "0") != "0" else "once a maxmemory is set"
        yield Remark(
            Weight.RISK,
            "eviction",
            f"maxmemory-policy={policy}: results and dead letters may be thrown away {when}",
            "CONFIG SET maxmemory-policy noeviction (and in redis.conf); results go by themselves after result_ttl",
        )


def _durability(settings: Mapping[str, str]) -> Remark:
    if settings.get("appendonly") == "yes":
        fsync = settings.get("appendfsync", "everysec")
        text = f"appendonly=yes, appendfsync={fsync}: "
        if fsync == "always":
            return Remark(Weight.FINE, "durability", text + "a recorded result survives a power failure")
        if fsync == "everysec":
            text += "a power failure may take the results of the last 2 seconds"
            return Remark(Weight.FINE, "durability", text)
        return Remark(
            Weight.RISK,
            "durability",
            text + "a power failure may take the results of the last 30 seconds",
            "CONFIG SET appendfsync everysec",
        )
    rules = settings.get("save", "")
    since = f"since the last snapshot (save={rules!r})" if rules else "all of them: nothing is saved to disk"
    return Remark(
        Weight.RISK,
        "durability",
        f"appendonly=no: a crash or restart of the server loses results and dead letters, {since}",
        "CONFIG SET appendonly yes (and in redis.conf)",
    )
