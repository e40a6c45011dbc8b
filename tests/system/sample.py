"""The application that the worker's tests run: one task for each behaviour."""

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tenacity import stop_after_attempt, wait_fixed, wait_none

from taskbus import Context, Reject, RetryPolicy, SoftTimeLimitExceeded, TaskBus

app = TaskBus("sample", unknown_task_grace=0, sweep=0.5)
AT_ONCE = RetryPolicy(stop=stop_after_attempt(3), wait=wait_none())
ONCE = RetryPolicy.never()


def note(path: str, text: str) -> None:
    """Append a line to a file, so that a test can see what ran, in order, whatever became of the result."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task
def where(path: str) -> tuple[int, str]:
    note(path, "ran")
    return os.getpid(), threading.current_thread().name


@app.task(retry=AT_ONCE)
def flaky(ctx: Context, path: str, succeed_at: int) -> int:
    note(path, str(ctx.attempt))
    if ctx.attempt < succeed_at:
        raise ValueError(f"attempt {ctx.attempt}")
    return ctx.attempt


@app.task(retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(0.3)))
def slow_retry(ctx: Context, path: str) -> None:
    note(path, repr(time.time()))
    raise ValueError(f"attempt {ctx.attempt}")


@app.task
def rejects() -> None:
    raise Reject("no good")


@app.task
def retries_when_asked(ctx: Context, path: str) -> str:
    note(path, str(ctx.attempt))
    if ctx.attempt == 1:
        ctx.retry(delay=0.05)
    return "done"


@app.task(retry=ONCE)
def bad_result() -> object:
    return object()


@app.task
def record(path: str, text: str) -> None:
    note(path, text)


@app.task
def waits_for(path: str) -> None:
    """Runs until there is a file of that name."""
    while not os.path.exists(path):
        time.sleep(0.01)


@app.task
def sleep(path: str, seconds: float) -> None:
    note(path, "start")
    time.sleep(seconds)
    note(path, "end")


@app.task
async def asleep(path: str, seconds: float) -> None:
    note(path, "start")
    await asyncio.sleep(seconds)
    note(path, "end")


@app.task
def wait_for_stop(ctx: Context, path: str) -> str:
    note(path, "start")
    while not ctx.shutting_down:
        time.sleep(0.01)
    note(path, "end")
    return "saw it"


@app.task(time_limit=0.3, retry=ONCE)
def spins() -> None:
    while True:
        pass


@app.task(time_limit=0.3, retry=ONCE)
def oversleeps() -> None:
    time.sleep(60)


@app.task(time_limit=0.3, retry=ONCE)
async def aoversleeps() -> None:
    await asyncio.sleep(60)


@app.task(time_limit=0.3, retry=ONCE)
async def ablocks() -> None:
    time.sleep(60)


@app.task(time_limit=0.3, retry=ONCE)
def holds_the_gil() -> None:
    ctypes.PyDLL(None).sleep(60)


@app.task(time_limit=0.3, retry=ONCE)
def swallows_everything() -> None:
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


@app.task(time_limit=0.3, retry=AT_ONCE)
def stubborn(path: str) -> None:
    note(path, "ran")
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


@app.task(soft_time_limit=0.2, time_limit=5, retry=ONCE)
def cleans_up(path: str) -> str:
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        note(path, "cleaned up")
        return "cleaned up"
    return "never"


@app.task(soft_time_limit=0.2, time_limit=5, retry=ONCE)
async def acleans_up(path: str) -> str:
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        note(path, "cleaned up")
        return "cleaned up"
    return "never"


@app.task(retry=ONCE)
def dies(path: str, signal_number: int = signal.SIGKILL) -> None:
    note(path, "ran")
    os.kill(os.getpid(), signal_number)


@app.task
def dies_once(ctx: Context, path: str) -> int:
    note(path, str(ctx.fencing_token))
    if len(Path(path).read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.fencing_token


@app.task(retry=ONCE)
async def adies_later(path: str) -> None:
    await asyncio.sleep(0.2)
    note(path, "ran")
    os._exit(9)


@app.task(retry=ONCE)
def dies_later(path: str) -> None:
    time.sleep(0.2)
    note(path, "ran")
    os._exit(9)


@app.task
def private_variables() -> list[str]:
    return [name for name in os.environ if name.startswith("_TASKBUS")]


@app.task
def leaves() -> None:
    sys.exit(3)


@app.task(at_most_once=True)
def once(path: str, dies: bool = False) -> str:
    note(path, "ran")
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@app.task
def grows(megabytes: int) -> int:
    hoard.append(bytearray(megabytes << 20))
    return os.getpid()


hoard: list[bytearray] = []


@app.task
def sends_another(path: str) -> str:
    return record.delay(path, "from inside").id


# --- tasks that start processes ----------------------------------------------------------------------------------

forking = multiprocessing.get_context("fork")


def square(number: int) -> int:
    return number * number


def stays(path: str) -> None:
    """The body of a process that does not leave by itself."""
    note(path, str(os.getpid()))
    time.sleep(600)


@app.task(retry=ONCE)
def squares(numbers: list[int]) -> list[int]:
    with forking.Pool(2) as pool:
        return pool.map(square, numbers)


@app.task(retry=ONCE)
async def asquares(numbers: list[int]) -> list[int]:
    return await asyncio.to_thread(squares.function, numbers)


@app.task(retry=ONCE)
def terminates(path: str, number: int = signal.SIGTERM) -> int | None:
    child = forking.Process(target=stays, args=(path,))
    child.start()
    while not Path(path).exists():
        time.sleep(0.005)
    os.kill(child.pid or 0, number)
    child.join(10)
    return child.exitcode


@app.task(retry=ONCE)
def leaves_behind(path: str, in_thread: bool = False) -> int:
    def start() -> None:
        forking.Process(target=stays, args=(path,)).start()

    if in_thread:
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    else:
        start()
    while not Path(path).exists():
        time.sleep(0.005)
    return os.getpid()


@app.task(retry=ONCE)
def runs(path: str, *command: str) -> int:
    program = subprocess.Popen(command)
    note(path, str(program.pid))
    return program.wait()


@app.task(retry=ONCE)
def comes_back_from_a_fork(path: str) -> str:
    pid = os.fork()
    if pid == 0:
        return "from the child"
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    note(path, str(status))
    return "from the parent"


@app.task(retry=ONCE)
async def acomes_back_from_a_fork(path: str) -> str:
    return comes_back_from_a_fork.function(path)  # type: ignore[no-any-return]


@app.task(retry=ONCE)
def becomes_a_daemon(path: str) -> None:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            stays(path)
    finally:
        os._exit(0)


@app.task(retry=ONCE)
def starts_a_service(path: str) -> None:
    note(path, str(subprocess.Popen(["sleep", "600"], preexec_fn=os.setsid).pid))


@app.task(retry=ONCE)
def leaves_a_program(path: str) -> None:
    note(path, str(subprocess.Popen(["sleep", "600"]).pid))


@app.task
def tells_its_key(ctx: Context, api_key: str, path: str) -> None:
    """Says what it should not, and waits for a file."""
    ctx.progress(1, 2, f"asking with {api_key} at https://bob:pass-of-bob@shop")
    while not os.path.exists(path):
        time.sleep(0.01)


@app.task
def counts(ctx: Context, path: str) -> int:
    """Tells how far it is, waits for a file, and tells once more, behind a storm of it."""
    ctx.progress(1, 4, "first")
    while not os.path.exists(path):
        time.sleep(0.01)
    for number in range(10_000):
        ctx.progress(number / 10_000, 4, "storm")
    ctx.progress(4, 4, "last")
    return 4


@app.task
async def acounts(ctx: Context, path: str) -> int:
    """The same in a coroutine."""
    ctx.progress(1, 4, "first")
    while not os.path.exists(path):
        await asyncio.sleep(0.01)
    ctx.progress(4, 4, "last")
    return 4


@app.task(retry=ONCE)
def logs_and_fails(password: str, lines: int) -> None:
    """Logs, in a logger that does not propagate too, and raises an error that quotes its argument."""
    for number in range(lines):
        logging.getLogger("shop").warning("line %d", number)
    alone = logging.getLogger("shop.alone")
    alone.propagate = False
    alone.error("my key is %s", password)
    raise ValueError(f"cannot log in with {password}")
