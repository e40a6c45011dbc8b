"""Failpoints: free unless armed, and then exactly as told."""

import os
import signal
import subprocess
import sys
import time

import pytest

from taskbus.errors import ConfigError
from taskbus.failpoint import VARIABLE, Armed, failpoint, parse

LOOP = """
import os, sys, time
from taskbus.failpoint import failpoint, FailpointHit
for number in range(1, 6):
    print(number, flush=True)
    try:
        failpoint("settle.inside")
    except FailpointHit:
        print("raised", flush=True)
    failpoint("other")
print("end", flush=True)
"""

CHILD = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""


def run(armed: str, program: str = LOOP) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program, LOOP],
        env={**os.environ, VARIABLE: armed},
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )


def test_nothing_happens_unless_armed() -> None:
    failpoint("settle.inside")
    assert run("").stdout.split() == ["1", "2", "3", "4", "5", "end"]
    assert run("elsewhere:kill9").stdout.split()[-1] == "end"


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("kill9", -signal.SIGKILL),
        ("term", -signal.SIGTERM),
        ("kill9-group", -signal.SIGKILL),
        ("exit=7", 7),
        ("exit", 1),
    ],
)
def test_a_process_ends_as_told_at_the_nth_hit_and_not_before(action: str, status: int) -> None:
    done = run(f"settle.inside:{action}@3")
    assert (done.stdout.split(), done.returncode) == (["1", "2", "3"], status)


def test_without_a_number_the_first_hit_counts() -> None:
    assert run("settle.inside:kill9").stdout.split() == ["1"]


def test_a_point_that_fires_fires_once() -> None:
    assert run("settle.inside:raise@2").stdout.split() == ["1", "2", "raised", "3", "4", "5", "end"]


def test_several_points_may_be_armed() -> None:
    done = run("settle.inside:raise@2, other:exit=3@4")
    assert (done.stdout.split(), done.returncode) == (["1", "2", "raised", "3", "4"], 3)


@pytest.mark.parametrize(
    ("action", "signal_number"), [("kill9-parent", signal.SIGKILL), ("term-parent", signal.SIGTERM)]
)
def test_the_parent_may_be_the_target(action: str, signal_number: int) -> None:
    # The points of the parent itself are never hit: only its child runs the loop.
    done = run(f"settle.inside:{action}@2", CHILD)
    assert done.returncode == -signal_number


def test_a_stopped_process_goes_on_when_it_is_told_to() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env={**os.environ, VARIABLE: "settle.inside:stop@2"},
        stdout=subprocess.PIPE,
        text=True,
    )
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(process.pid, signal.SIGCONT)
    assert process.communicate(timeout=60)[0].split()[-1] == "end"


def test_a_sleep_takes_its_time() -> None:
    started = time.monotonic()
    assert run("settle.inside:sleep=0.3").stdout.split()[-1] == "end"
    assert time.monotonic() - started >= 0.3


def test_the_text_of_the_variable_is_read_into_points() -> None:
    assert parse(" a.b:kill9@3 ,, c:sleep=0.5 ") == {"a.b": Armed("kill9", "", 3), "c": Armed("sleep", "0.5", 1)}


@pytest.mark.parametrize("text", ["settle", "settle:", "settle:explode", "settle:kill9@x", "settle:kill9@-1", ":@"])
def test_what_cannot_be_read_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"TASKBUS_FAILPOINTS: cannot read .*; write POINT:ACTION"):
        parse(text)


@pytest.mark.parametrize("text", [":kill9", "a:kill9@0", "a:sleep", "a:sleep=x", "a:exit=x", "a:kill9=3"])
def test_what_could_never_work_is_refused_too(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)
