"""The tasks of the crash suite. Each logs its start before anything else and its end after everything else.

The first argument is the id the harness made: what a ledger says never depends on the queue's own ids.
"""

import asyncio
import ctypes
import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenacity import stop_after_attempt, wait_fixed

from taskbus import Context, FailedTask, RetryPolicy, chord, task

from .environment import LEDGER, SUPERVISOR
from .ledger import Ledger, write_sink

ledger = Ledger(os.environ.get(LEDGER, "/nonexistent"))
soon = RetryPolicy(stop=stop_after_attempt(6), wait=wait_fixed(0.1))
later = RetryPolicy(stop=stop_after_attempt(6), wait=wait_fixed(0.8))
twice = RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(0.1))
_runs = itertools.count()
LIMIT = 60.0
"""Seconds after which a task that waits for the harness gives up."""


@contextmanager
def logged(ctx: Context, id: str) -> Iterator[str]:
    """One run of a body, in the ledger and at the sink."""
    run = f"{os.getpid()}-{time.monotonic_ns()}-{next(_runs)}"
    worker = int(os.environ.get(SUPERVISOR, "0"))
    ledger.log("start", id, run=run, attempt=ctx.attempt, token=ctx.fencing_token, lib=ctx.task_id, worker=worker)
    try:
        yield run
    except BaseException as error:
        ledger.log("err", id, run=run, why=type(error).__name__)
        raise
    write_sink(ledger, id, ctx.fencing_token)
    ledger.log("end", id, run=run)


def nemesis(action: str) -> None:
    """Note in the ledger that this runner is about to die by its own task."""
    worker = int(os.environ.get(SUPERVISOR, "0"))
    ledger.log("nem", fault=action, on=True, action=action, victim="runner", worker=worker, pids=[os.getpid()])


def gate(name: str) -> Path:
    """The file whose existence lets the tasks that wait for ``name`` go on."""
    return ledger.folder / f"gate-{name}"


def is_open(name: str) -> bool:
    return gate(name).exists() or gate(f"{name}-{os.environ.get(SUPERVISOR)}").exists()


@task(name="quick")
def quick(ctx: Context, id: str) -> int:
    with logged(ctx, id):
        return ctx.fencing_token


@task(name="aquick")
async def aquick(ctx: Context, id: str) -> int:
    with logged(ctx, id):
        await asyncio.sleep(0.001)
        return ctx.fencing_token


@task(name="brief")
def brief(ctx: Context, id: str, seconds: float = 0.05) -> int:
    with logged(ctx, id):
        time.sleep(seconds)
        return ctx.fencing_token


@task(name="padded")
def padded(ctx: Context, id: str, filler: str) -> int:
    """As ``quick``, with an argument that takes room."""
    with logged(ctx, id):
        return ctx.fencing_token


@task(name="hold")
def hold(ctx: Context, id: str, name: str) -> int:
    """Waits until the harness opens the gate ``name``, or the one of that name for this worker alone."""
    with logged(ctx, id):
        _wait_for(name)
        return ctx.fencing_token


@task(name="ahold")
async def ahold(ctx: Context, id: str, name: str) -> int:
    with logged(ctx, id):
        until = time.monotonic() + LIMIT
        while not is_open(name) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        return ctx.fencing_token


@task(name="stubborn")
def stubborn(ctx: Context, id: str, name: str) -> int:
    """As ``hold``, deaf to SIGTERM and to everything that can be caught."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with logged(ctx, id):
        until = time.monotonic() + LIMIT
        while not gate(name).exists() and time.monotonic() < until:
            try:
                time.sleep(0.01)
            except BaseException as error:
                ledger.log("deaf", id, to=type(error).__name__)
        return ctx.fencing_token


@task(name="limited", time_limit=3.0)
def limited(ctx: Context, id: str, name: str) -> int:
    """As ``hold``, with a time limit."""
    with logged(ctx, id):
        _wait_for(name)
        return ctx.fencing_token


@task(name="once", at_most_once=True)
def once(ctx: Context, id: str, name: str) -> int:
    """As ``hold``, and rather lost than run twice."""
    with logged(ctx, id):
        _wait_for(name)
        return ctx.fencing_token


@task(name="flaky", retry=soon)
def flaky(ctx: Context, id: str, failures: int = 1) -> int:
    """Fails so many times, then succeeds."""
    with logged(ctx, id):
        if ctx.attempt <= failures:
            raise ValueError(f"attempt {ctx.attempt}")
        return ctx.fencing_token


@task(name="patient", retry=later)
def patient(ctx: Context, id: str, failures: int = 1) -> int:
    """As ``flaky``, with longer pauses."""
    with logged(ctx, id):
        if ctx.attempt <= failures:
            raise ValueError(f"attempt {ctx.attempt}")
        return ctx.fencing_token


@task(name="joined")
def joined(ctx: Context, values: list[int], id: str, count: int) -> int:
    """Is given the values of ``count`` tasks, each of them a token."""
    with logged(ctx, id):
        if len(values) != count or not all(isinstance(value, int) for value in values):
            ctx.reject(f"given {values!r}")
        return ctx.fencing_token


@task(name="tallied")
def tallied(ctx: Context, values: list[int | FailedTask], id: str, good: int, bad: int) -> int:
    """Is given so many values, each of them a token, and so many failures."""
    with logged(ctx, id):
        failed = sum(isinstance(value, FailedTask) for value in values)
        if (len(values) - failed, failed) != (good, bad):
            ctx.reject(f"given {values!r}")
        return ctx.fencing_token


@task(name="told")
def told(ctx: Context, failed: FailedTask, id: str, why: str) -> int:
    """Is told of a failure, whose message ends so."""
    with logged(ctx, id):
        if not failed.message.endswith(why):
            ctx.reject(f"told {failed!r}")
        return ctx.fencing_token


@task(name="unfolds")
def unfolds(ctx: Context, id: str, end: str, members: list[list[str]]) -> int:
    """Ends, and is replaced by a chord of calls with these ids and task ids."""
    with logged(ctx, id):
        pass
    made = [quick.si(member).options(task_id=lib) for member, lib in members]
    ctx.replace(chord(made, joined.s(end, len(members))))


@task(name="adds")
def adds(ctx: Context, id: str, members: list[list[str]]) -> int:
    """Adds calls with these ids and task ids to its batch."""
    with logged(ctx, id):
        with quick.application().open_batch(ctx.flow_id) as batch:
            for member, lib in members:
                batch.add(quick.si(member).options(task_id=lib))
        return ctx.fencing_token


@task(name="doomed", retry=twice)
def doomed(ctx: Context, id: str) -> int:
    """Fails twice and is buried."""
    with logged(ctx, id):
        raise ValueError("never")


@task(name="rejected")
def rejected(ctx: Context, id: str, cure: str) -> int:
    """Is buried at once, unless the harness has opened the gate ``cure``."""
    with logged(ctx, id):
        if not gate(cure).exists():
            ctx.reject("not yet")
        return ctx.fencing_token


@task(name="suicide")
def suicide(ctx: Context, id: str, times: int = 1) -> int:
    """Kills its own runner so many times, then succeeds."""
    with logged(ctx, id):
        if _count(id) <= times:
            nemesis("kill9")
            os.kill(os.getpid(), signal.SIGKILL)
        return ctx.fencing_token


@task(name="segfault")
def segfault(ctx: Context, id: str) -> int:
    with logged(ctx, id):
        nemesis("segfault")
        ctypes.string_at(0)
        return ctx.fencing_token


@task(name="hungry")
def hungry(ctx: Context, id: str, megabytes: int) -> int:
    """Takes memory until something stops it."""
    with logged(ctx, id):
        nemesis("oom")
        eaten = [bytearray(os.urandom(1 << 20)) for _ in range(megabytes)]
        return len(eaten)


@task(name="gil")
def gil(ctx: Context, id: str, seconds: int) -> int:
    """Holds the GIL in C: no other thread of its process runs meanwhile."""
    with logged(ctx, id):
        ctypes.PyDLL(None).sleep(seconds)
        return ctx.fencing_token


def _wait_for(name: str) -> None:
    until = time.monotonic() + LIMIT
    while not is_open(name) and time.monotonic() < until:
        time.sleep(0.01)


def _count(id: str) -> int:
    """How often this was called for ``id``, in whatever process; counted by the bytes of a file."""
    fd = os.open(ledger.folder / f"count-{id}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, b".")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
