"""What a database server's live settings mean for what is kept there: for ``taskbus doctor``, and a worker's start."""

import re
import time
from collections.abc import Iterator, Mapping

from taskbus.database.port import Database
from taskbus.database.remark import Remark, Weight

SKEW = 1.0
"""Seconds by which this host's clock may differ from the server's before that is said."""
POSTGRESQL = (12, 0)
MARIADB, MYSQL = (10, 6), (8, 0)
"""The oldest versions that will do: CTEs that write, SKIP LOCKED."""
_SETTINGS = {
    "postgresql": (
        "SELECT name, setting FROM pg_settings WHERE name IN ('server_version', 'fsync', 'full_page_writes',"
        " 'synchronous_commit', 'synchronous_standby_names', 'transaction_read_only')"
    ),
    "mysql": (
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', 'sync_binlog',"
        " 'log_bin', 'innodb_doublewrite', 'read_only')"
    ),
}


def examine(database: Database) -> list[Remark]:
    """Ask the server for what matters; changes nothing. Raises the driver's errors."""
    settings = {str(name): str(value) for name, value in database.read(_SETTINGS[database.dialect])}
    found = _postgresql(settings) if database.dialect == "postgresql" else _mysql(settings)
    return [*found, *_skew(database)]


def _postgresql(settings: Mapping[str, str]) -> Iterator[Remark]:
    version = settings.get("server_version", "?")
    yield _version("PostgreSQL", version, POSTGRESQL)
    standbys = settings.get("synchronous_standby_names", "")
    commit, fsync = settings.get("synchronous_commit", "?"), settings.get("fsync", "?")
    setting = f"synchronous_commit={commit}, fsync={fsync}"
    if fsync == "off" or settings.get("full_page_writes") == "off":
        off = "fsync" if fsync == "off" else "full_page_writes"
        found, crash, advice = f"{off}=off", "what is accepted survives a crash of the server", f"set {off}=on"
        if commit == "off":
            found, advice = f"{found}, synchronous_commit=off", f"{advice} and synchronous_commit=on"
            crash = "a crash of the server takes the last moments"
        yield Remark(Weight.RISK, "durability", f"{found}: {crash}; a power failure may ruin the database", advice)
    elif commit == "off":
        text = f"{setting}: a crash of the server or a power failure takes the last moments of what was accepted"
        yield Remark(Weight.RISK, "durability", text, "set synchronous_commit=on, for this user at least")
    elif standbys and commit != "local":
        text = f"{setting}: what is accepted survives a crash, a power failure, and a failover to {standbys}"
        yield Remark(Weight.FINE, "durability", text)
    else:
        text = f"{setting}: what is accepted survives a crash and a power failure; a failover to a replica may lose"
        yield Remark(Weight.FINE, "durability", f"{text} what was not copied yet (no synchronous_standby_names)")
    if settings.get("transaction_read_only") == "on":
        yield Remark(Weight.REFUSED, "role", "it only reads: a replica?", "name the primary in the URL")


def _mysql(settings: Mapping[str, str]) -> Iterator[Remark]:
    version = settings.get("version", "?")
    name, oldest = ("MariaDB", MARIADB) if "mariadb" in version.lower() else ("MySQL", MYSQL)
    yield _version(name, version, oldest)
    flush = settings.get("innodb_flush_log_at_trx_commit", "?")
    has_binlog, binlog = settings.get("log_bin") == "ON", settings.get("sync_binlog", "?")
    setting = f"innodb_flush_log_at_trx_commit={flush}" + (f", sync_binlog={binlog}" if has_binlog else "")
    doublewrite = settings.get("innodb_doublewrite", "ON")
    whole = doublewrite not in ("OFF", "DETECT_ONLY")  # MySQL 8's second one finds a torn page, and cannot mend it
    power, wanted = "takes the last second", [] if flush == "1" else ["innodb_flush_log_at_trx_commit=1"]
    if not whole:
        setting, power = f"{setting}, innodb_doublewrite={doublewrite}", "may ruin the database"
        wanted.append("innodb_doublewrite=ON")
    advice = f"set {' and '.join(wanted)}"
    if flush == "0":
        text = f"{setting}: what is accepted within the last second is lost when the server crashes; a power failure"
        yield Remark(Weight.RISK, "durability", f"{text} {power}", advice)
    elif flush != "1" or not whole:
        text = f"{setting}: what is accepted survives a crash of the server; a power failure {power}"
        yield Remark(Weight.RISK, "durability", text, advice)
    else:
        replicas = "; replicas may miss the last tasks after one" if has_binlog and binlog != "1" else ""
        text = f"{setting}: what is accepted survives a crash and a power failure{replicas}"
        yield Remark(Weight.FINE, "durability", f"{text}; a failover to a replica may lose what was not copied yet")
    if settings.get("read_only") in ("ON", "1"):
        yield Remark(Weight.REFUSED, "role", "it only reads: a replica?", "name the primary in the URL")


def _version(name: str, version: str, oldest: tuple[int, int]) -> Remark:
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    if found is None:
        return Remark(Weight.RISK, "version", f"{name} {version}: which that is cannot be told")
    if (int(found[1]), int(found[2] or 0)) < oldest:
        needed = ".".join(map(str, oldest))
        return Remark(Weight.REFUSED, "version", f"{name} {version} is too old", f"use {name} {needed} or later")
    return Remark(Weight.FINE, "version", f"{name} {version}")


def _skew(database: Database) -> list[Remark]:
    skew = database.server_now() - time.time()
    if abs(skew) <= SKEW:
        return []
    text = f"its clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's"
    return [Remark(Weight.RISK, "clock", text, "synchronise both: due times and expiries go by the server's")]
