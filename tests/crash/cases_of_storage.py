"""The named cases about what is stored: full disks, foreign locks, duplicates, bytes that are no message, replays."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kombu import Connection

from taskbus import TaskBus
from taskbus.broker.transports.schemes import transport_of
from taskbus.message import Message
from taskbus.store.base import Filter
from taskbus.wire import compact

from .cases import GATE, is_complete, running
from .checker import Verdict
from .harness import Cell
from .homes import File
from .ledger import now
from .place import Place
from .registry import Cases

case = Cases()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of ``size`` at ``folder``."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, capture_output=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def no_mounts() -> str:
    """Why no small disk can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "mounting a small file system needs root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk", "64k"):
                return ""
        except (subprocess.CalledProcessError, OSError) as error:
            return f"mounting a small file system is not allowed here: {error}"


@case("42", "the disk is full", obstacle=no_mounts, on=("sqlite",))
def full_disk(place: Place) -> Verdict:
    with small_disk(place.folder / "disk", "6m") as disk, Cell(place.at(disk / "queue.db")) as cell:
        worker = cell.worker()
        cell.send("quick", count=4)
        cell.until(cell.is_drained, "the first tasks to end")
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * (3 << 20))
        filler = "x" * 60_000
        while not cell.of("pub_rej"):
            cell.send("padded", filler)
        assert any("full" in event["why"] or "space" in event["why"] for event in cell.of("pub_rej")), cell.of(
            "pub_rej"
        )
        cell.ledger.log("nem", fault="disk", on=True, action="full", victim="storage", worker=0, pids=[])
        cell.send("padded", filler, count=3)
        ballast.unlink()
        verdict = cell.finish()
        assert verdict.rejected >= 1
        assert worker.process.returncode == 0
        with closing(sqlite3.connect(disk / "queue.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return verdict


@case(
    "42b",
    "the disk is full while tasks run, for longer than the lease: they are settled when there is room again",
    obstacle=no_mounts,
    on=("sqlite",),
)
def full_disk_while_running(place: Place) -> Verdict:
    with small_disk(place.folder / "disk", "6m") as disk, Cell(place.at(disk / "queue.db")) as cell:
        cell.send("hold", GATE, count=2)
        workers = [cell.worker(), cell.worker()]
        cell.until(lambda: all(is_complete(worker)() for worker in workers), "both workers")
        running(cell, 2)
        ballast = disk / "ballast"
        _fill(ballast)
        while not cell.of("pub_rej"):
            cell.send("padded", "x" * 3000)
        full = now()
        cell.open(GATE)
        cell.until(lambda: now() - full > 2 * cell.rules.lease, "two leases to pass")
        ballast.unlink()
        verdict = cell.finish()
        assert [worker.process.returncode for worker in workers] == [0, 0], [w.process.returncode for w in workers]
        return verdict


def _fill(ballast: Path) -> None:
    """Write a file until the disk is full."""
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b"x" * 4096)
    os.close(fd)


@case("43", "a foreign writer locks the file for longer than the lease", quick=True, on=("sqlite",))
def foreign_writer(place: Place) -> Verdict:
    with Cell(place) as cell:
        workers = [cell.worker(), cell.worker()]
        for worker in workers:
            cell.until(is_complete(worker), "the runners")
        cell.send("hold", GATE, count=2)
        running(cell, 2)
        with closing(sqlite3.connect(database_of(place), isolation_level=None, timeout=10.0)) as foreign:
            foreign.execute("BEGIN EXCLUSIVE")
            begin = now()
            cell.send("quick", count=1)
            assert cell.of("pub_rej"), "a send is refused while the file is locked"
            assert now() - begin < 8.0
            cell.open(GATE)
            cell.until(lambda: now() - begin > 2 * cell.rules.lease, "two leases to pass")
            foreign.execute("ROLLBACK")
        cell.send("quick", count=4)
        verdict = cell.finish()
        assert [worker.process.returncode for worker in workers] == [0, 0], [w.process.returncode for w in workers]
        return verdict


@case("43b", "a foreign writer locks the file again and again, never for as long as the lease", on=("sqlite",))
def busy_foreign_writer(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.worker()
        cell.worker()
        cell.send("brief", 0.3, count=20)
        cell.send("flaky", count=10)
        running(cell, 2)
        with closing(sqlite3.connect(database_of(place), isolation_level=None, timeout=10.0)) as foreign:
            for _ in range(5):
                foreign.execute("BEGIN EXCLUSIVE")
                begin = now()
                cell.until(lambda begin=begin: now() - begin > 0.6 * cell.rules.lease, "most of a lease to pass")
                foreign.execute("ROLLBACK")
                ended = len(cell.of("end"))
                cell.until(lambda ended=ended: len(cell.of("end")) > ended or cell.is_drained(), "some progress", 10.0)
        return cell.finish()


@case("53", "the same message arrives twice, at once and after the end: the first final result stays")
def duplicate_delivery(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.worker()
        ids = cell.send("brief", count=4)
        libs = [event["lib"] for event in cell.of("pub_try")]
        settings = {"broker": place.broker_url, "results": place.results_url or None, "dedup_window": 0.0}
        with TaskBus("crash", **settings) as forgetful:  # type: ignore[arg-type]
            for id, lib in zip(ids, libs, strict=True):
                forgetful.send("brief", [id], task_id=lib)
            cell.until(lambda: len(cell.of("end", *ids)) == 8, "both copies to run")
            for id, lib in zip(ids, libs, strict=True):
                forgetful.send("brief", [id], task_id=lib)
            cell.until(lambda: len(cell.of("end", *ids)) == 12, "the late copies to run")
        verdict = cell.finish()
        allowed = {"dup", "overlap", "stale_accepted", "extra_start"}  # the copies were asked for
        assert verdict.violations.keys() <= allowed, verdict.violations
        return replace(verdict, valid=True)


def database_of(place: Place) -> Path:
    """The file of a place that is one."""
    assert isinstance(place.broker, File)
    return place.broker.path


def publish_raw(cell: Cell, body: bytes, content_type: str = compact.CONTENT_TYPE, queue: str = "default") -> None:
    """Put bytes on a queue as another program could, through kombu alone."""
    url = cell.place.broker_url
    with (
        Connection(transport=transport_of(url), transport_options={"url": url}) as connection,
        connection.Producer() as producer,
    ):
        producer.publish(body, routing_key=queue, exchange="", content_type=content_type, content_encoding="binary")


def bodies(count: int) -> list[tuple[bytes, str]]:
    """Bytes that are no message: noise, and messages cut short, changed in one byte or of another version."""
    whole = compact.encode(Message("id-1", "quick", b"\x92\x91\xa1x\x80", sent_at=1.0))
    cut = st.integers(0, len(whole) - 1).map(lambda at: whole[:at])
    other = st.integers(2, 127).map(lambda version: bytes([whole[0], version]) + whole[2:])
    body = st.one_of(st.binary(max_size=300), cut, other, st.text(max_size=80).map(str.encode))
    kind = st.sampled_from([compact.CONTENT_TYPE, compact.CONTENT_TYPE, "application/json", "text/plain", "x/unknown"])
    found: dict[bytes, str] = {}

    @settings(
        max_examples=4 * count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(body, kind)
    def collect(made: bytes, type: str) -> None:
        if not _is_message(made):
            found.setdefault(made, type)

    collect()
    assert len(found) >= count, len(found)
    return list(found.items())[:count]


def _is_message(body: bytes) -> bool:
    try:
        compact.decode(body, "default", 0, 1 << 20)
    except Exception:
        return False
    return True


@case("55", "200 bodies that are no message: each is a dead letter with its bytes, and the worker lives", quick=True)
def not_a_message(place: Place) -> Verdict:
    with Cell(place) as cell:
        worker = cell.worker()
        made = bodies(200)
        for number, (body, content_type) in enumerate(made):
            id = f"raw{number:03}"
            cell.raw[body] = id
            cell.ledger.log("pub_try", id, lib=id, expect="dead", results=False, eta=None)
            publish_raw(cell, body, content_type)
            cell.ledger.log("pub_ok", id)
        cell.send("quick", count=5)
        verdict = cell.finish()
        letters = cell.app.store.dead_letters(Filter(), limit=1000)
        assert sorted(letter.wire for letter in letters) == sorted(body for body, _ in made)
        assert {str(letter.reason) for letter in letters} == {"undecodable"}
        assert worker.process.returncode == 0
        return verdict


@case("56", "an unknown task waits for a worker that knows it, then is buried; so are wrong arguments")
def unknown_task(place: Place) -> Verdict:
    grace = {"unknown_task_grace": 3.0}
    with Cell(place) as cell:
        old = cell.worker(overrides=grace, module="old_app")
        (late,) = cell.send("quick")
        (never,) = cell.send("no.such.task", expect="dead", results=False)
        (wrong,) = cell.send("quick", "one", "too", "many", expect="dead")
        cell.until(is_complete(old), "the old worker")
        begin = now()
        cell.until(lambda: _are_aside(cell, 3, begin), "the old worker to have put all three aside")
        cell.stop(old)
        cell.worker(overrides=grace)
        verdict = cell.finish()
        reasons = {event["id"]: event["reason"] for event in cell.of("dlq_seen")}
        assert reasons == {never: "unknown_task", wrong: "bad_arguments"}, reasons
        assert cell.of("end", late)
        return verdict


def _are_aside(cell: Cell, count: int, since: float) -> bool:
    """Whether so many messages are delayed; where that cannot be counted, whether there was time enough."""
    if not cell.eye.broker.features.lists:
        return now() - since > 1.5
    return sum(size.delayed for size in cell.eye.broker.queues()) == count


@case("71", "a replay of dead letters is killed at each step, and done twice")
def interrupted_replay(place: Place) -> Verdict:
    with Cell(place) as cell:
        ids = cell.send("rejected", GATE, count=8, expect="dead")
        cell.worker()
        cell.until(lambda: len(cell.of("dlq_seen")) == 8, "eight dead letters")
        cell.open(GATE)
        for id in ids:
            cell.ledger.log("replay_begin", id)
        act = "settle" if cell.app.shares_database else "publish"
        for point in (f"{act}.before", f"{act}.inside", f"{act}.after"):
            assert _replay(cell, f"{point}:kill9.self@2") == -signal.SIGKILL, point
        for _ in range(2):
            assert _replay(cell, "") == 0
        verdict = cell.finish()
        assert {event["id"] for event in cell.of("end")} == set(ids)
        assert len(cell.of("end")) == 8 or not cell.app.shares_database  # apart: published first, then struck off
        assert not cell.app.store.dead_letters(Filter(), limit=10)
        return verdict


def _replay(cell: Cell, faults: str) -> int:
    with (cell.folder / "replay.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "crash.replayer"],
            env=cell.environment(faults),
            cwd=cell.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        cell.until(lambda: process.poll() is not None, "the replay to end or die", 30.0)
    finally:
        process.kill()
    return process.wait()
