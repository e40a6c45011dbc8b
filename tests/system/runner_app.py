"""The application that the runners' tests run, without a worker around it."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from taskbus import Context, RetryPolicy, SoftTimeLimitExceeded, TaskBus

app = TaskBus("runners", broker="memory://runners", start_method=os.environ.get("START_METHOD", "forkserver"))
ONCE = RetryPolicy.never()
IMPORTED_BY = os.getpid()

if "THREAD_AT_IMPORT" in os.environ:
    threading.Thread(target=time.sleep, args=(600,), name="pool-of-mine", daemon=True).start()


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task
def whereabouts() -> tuple[int, int, str]:
    return os.getpid(), IMPORTED_BY, threading.current_thread().name


@app.task
def draw() -> float:
    return random.random()


@app.task
def hold(path: str) -> str:
    """Run until the file is there."""
    Path(f"{path}.started").touch()
    while not Path(path).exists():
        time.sleep(0.002)
    return "released"


@app.task
async def ahold(path: str) -> str:
    Path(f"{path}.started").touch()
    while not Path(path).exists():
        await asyncio.sleep(0.002)
    return "released"


@app.task
def until_stopped(ctx: Context, path: str) -> bool:
    Path(f"{path}.started").touch()
    while not ctx.shutting_down:
        time.sleep(0.002)
    return ctx.shutting_down


@app.task
def die(number: int) -> None:
    os.kill(os.getpid(), number)


@app.task
def leave(status: int) -> None:
    os._exit(status)


@app.task
async def exit_in_the_background() -> str:
    async def background() -> None:
        sys.exit(3)

    child = asyncio.create_task(background())
    await asyncio.wait([child])
    return "alive"


@app.task
def child_obeys_sigterm() -> int:
    child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGTERM)
    return child.wait(10)


@app.task
def leave_a_program_behind() -> int:
    """With every descriptor that a program inherits unless told otherwise."""
    return os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)


@app.task
def read_stdin() -> str:
    return sys.stdin.read()


# --- limits ------------------------------------------------------------------------------------------------------


@app.task(time_limit=0.1, retry=ONCE)
def spin() -> None:
    while True:
        pass


@app.task(time_limit=0.1, retry=ONCE)
def oversleep() -> None:
    time.sleep(999)


@app.task(time_limit=0.1, retry=ONCE)
async def aoversleep() -> None:
    await asyncio.sleep(999)


@app.task(time_limit=0.1, retry=ONCE)
def swallow() -> None:
    while True:
        try:
            time.sleep(999)
        except BaseException:
            continue


@app.task(time_limit=0.1, retry=ONCE)
async def aswallow() -> None:
    while True:
        try:
            await asyncio.sleep(999)
        except BaseException:
            continue


@app.task(soft_time_limit=0.1, retry=ONCE)
def clean_up() -> str:
    try:
        while True:
            pass
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(soft_time_limit=0.1, retry=ONCE)
async def aclean_up() -> str:
    try:
        await asyncio.sleep(999)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never"
