"""What a Redis server's live settings mean: for ``taskbus doctor``, and a worker that starts. Changes nothing."""

from collections.abc import Mapping
from typing import Any

from taskbus.broker.transports.redis.session import Session
from taskbus.clock import wall_clock
from taskbus.database.redis import Link, Refused
from taskbus.database.redis_cluster import ClusterLink
from taskbus.database.remark import Remark, Weight

OLDEST = (6, 2)
SKEW = 1.0
"""Seconds by which this host's clock may differ from the server's before that is said."""
FULL = 0.8
"""The share of ``maxmemory`` in use from which on that is said."""
FAILOVER = "; a failover to a replica loses what was not copied to it yet"


def examine(session: Session) -> list[Remark]:
    """On a Cluster, what is to be said of each node, and of several alike once.

    Raises:
        BrokerError: a server cannot be asked at all.
    """
    with session.errors():
        link = session.link()
        nodes: list[tuple[str, Link]] = [("", link)]
        if isinstance(link, ClusterLink):
            nodes = [(f"{address}: ", each) for address, each in link.nodes()]
        by_node = {name: _examined(session, each) for name, each in nodes}
    everywhere = [remark for remark in by_node[nodes[0][0]] if all(remark in each for each in by_node.values())]
    return everywhere + [
        remark._replace(text=f"{name}{remark.text}")
        for name, remarks in by_node.items()
        for remark in remarks
        if remark not in everywhere
    ]


def _examined(session: Session, link: Link) -> list[Remark]:
    """One server."""
    info = _asked(link, "INFO")
    found = [_version(info), *_eviction(info), *_durability(link, info), *_memory(info), *_role(info)]
    return found if session.has_passed_clock else [*found, *_skew(link)]


def _asked(link: Link, *command: str) -> dict[str, str] | None:
    """``INFO`` or ``CONFIG GET``; None where this user may not."""
    try:
        answer: Any = link.call(*command, repeatable=True)
    except Refused as error:
        if error.code in ("NOPERM", "ERR"):  # managed servers rename or remove CONFIG
            return None
        raise
    if isinstance(answer, Mapping):
        return {key.decode(): value.decode() for key, value in answer.items()}
    lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _version(info: Mapping[str, str] | None) -> Remark:
    if info is None:
        return Remark(Weight.RISK, "version", "this user may not ask (INFO)", "allow it +info")
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if kind == "Redis" and numbers < OLDEST:
        return Remark(Weight.REFUSED, "version", f"{kind} {version} is too old", "use Redis 6.2 or later, or Valkey")
    return Remark(Weight.FINE, "version", f"{kind} {version}")


def _eviction(info: Mapping[str, str] | None) -> list[Remark]:
    policy = (info or {}).get("maxmemory_policy")
    if policy is None:
        text = "which keys are evicted when memory is full could not be read"
        return [Remark(Weight.RISK, "eviction", text, "make sure that maxmemory-policy is noeviction")]
    if policy == "noeviction":
        return [Remark(Weight.FINE, "eviction", "noeviction: a full server refuses tasks and forgets none")]
    text = f"maxmemory-policy is {policy}: a full server would throw accepted tasks away"
    return [Remark(Weight.REFUSED, "eviction", text, "CONFIG SET maxmemory-policy noeviction, and in redis.conf")]


def _durability(link: Link, info: Mapping[str, str] | None) -> list[Remark]:
    settings = _asked(link, "CONFIG", "GET", "append*") or {}
    aof = (info or {}).get("aof_enabled")
    fsync = settings.get("appendfsync")
    advice = "appendonly yes and appendfsync always, in redis.conf, if none may be lost"
    if aof is None or (aof == "1" and fsync is None):
        text = "what an accepted task survives could not be read"
        return [Remark(Weight.RISK, "durability", text, "allow this user +info and +config|get, or see appendfsync")]
    if aof != "1":
        text = "no AOF: when the server dies, every task since its last snapshot is lost, if it takes any"
        return [Remark(Weight.RISK, "durability", text, advice)]
    if fsync == "always":
        text = f"AOF always: an accepted task survives a killed server, a crash of its host and a power cut{FAILOVER}"
        return [Remark(Weight.FINE, "durability", text)]
    if fsync == "everysec":
        text = (
            "AOF everysec: an accepted task survives a killed server; a crash of its host or a power cut loses 1 to 2 s"
        )
        return [Remark(Weight.RISK, "durability", f"{text}{FAILOVER}", advice)]
    text = f"AOF {fsync}: a crash of the host or a power cut loses up to 30 s of accepted tasks{FAILOVER}"
    return [Remark(Weight.RISK, "durability", text, advice)]


def _memory(info: Mapping[str, str] | None) -> list[Remark]:
    limit, used = (int((info or {}).get(name, 0)) for name in ("maxmemory", "used_memory"))
    if not limit or used < limit * FULL:
        return []
    text = f"{used / limit:.0%} of maxmemory is in use; at 100 % tasks are refused"
    return [Remark(Weight.RISK, "memory", text, "raise maxmemory, or drain the queues")]


def _role(info: Mapping[str, str] | None) -> list[Remark]:
    if (info or {}).get("role", "master") == "master":
        return []
    text = "this server is a replica: it takes no tasks"
    return [Remark(Weight.REFUSED, "role", text, "name the primary, or use sentinel:// to have it found")]


def _skew(link: Link) -> list[Remark]:
    skew = link.now() - wall_clock()
    if abs(skew) <= SKEW:
        return []
    text = f"its clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's"
    return [Remark(Weight.RISK, "clock", text, "synchronise both: due times and expiries go by the server's")]
