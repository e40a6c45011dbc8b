"""What the command line reads and writes: arguments, sizes, phrases and JSON, without any queue."""

import dataclasses
import io
import json
import math
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from taskbus.cli import confirming, phrase, preview
from taskbus.cli.banner import show_banner
from taskbus.cli.call import parse_arguments
from taskbus.cli.counting import CELLS, Counter
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.options import Format
from taskbus.cli.output import emit_items, emit_one, plain
from taskbus.cli.place_checks import filesystem
from taskbus.cli.worker import Size
from taskbus.codec import encode
from taskbus.message import Message
from taskbus.wire import compact
from taskbus.worker.options import TaskSpec, WorkerInfo


def test_words_that_are_json_become_values_and_others_stay_text() -> None:
    args, kwargs = parse_arguments(("1", "2.5", "true", "null", "[1, 2]", "hello", '"7"', "width=3", "name=a=b"), None)
    assert args == [1, 2.5, True, None, [1, 2], "hello", "7"]
    assert kwargs == {"width": 3, "name": "a=b"}


def test_a_word_with_an_equals_sign_but_no_name_before_it_is_positional() -> None:
    assert parse_arguments(("a b=1", "=x", "1=2"), None) == (["a b=1", "=x", "1=2"], {})


@pytest.mark.parametrize(("document", "expected"), [("[1, {}]", ([1, {}], {})), ('{"a": [1]}', ([], {"a": [1]}))])
def test_one_json_document_gives_arguments_or_keywords(document: str, expected: object) -> None:
    assert parse_arguments((), document) == expected


@pytest.mark.parametrize(
    ("words", "document", "says"),
    [
        (("1",), "[1]", "not both"),
        ((), "7", "neither an array"),
        ((), "{", "is not JSON"),
        (("a=1", "2"), None, "put KEY=VALUE last"),
    ],
)
def test_arguments_that_cannot_be_meant_are_usage_errors(
    words: tuple[str, ...], document: str | None, says: str
) -> None:
    with pytest.raises(CommandFailed, match=says) as failed:
        parse_arguments(words, document)
    assert failed.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("text", "octets"), [("500", 500), ("300M", 300 << 20), ("2g", 2 << 30), ("1KiB", 1024), ("1 kb", 1024)]
)
def test_a_size_may_have_a_unit(text: str, octets: int) -> None:
    assert Size().convert(text, None, None) == octets


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="write it like 500000, 300M or 2G"):
        Size().convert("lots", None, None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0000421, "42 µs"),
        (0.00312, "3.12 ms"),
        (0.5, "500 ms"),
        (3.14159, "3.14 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7500, "2 h 5 min"),
        (7260.5, "2 h 1 min"),
        (7205, "2 h"),
        (200_000, "2 d 7 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_a_duration_is_said_in_two_units_at_most(seconds: float, words: str) -> None:
    assert phrase.span(seconds) == words


def test_an_instant_is_said_from_here() -> None:
    assert phrase.ago(100, 160) == "1 min ago"
    assert phrase.ago(160, 100) == "in 1 min"
    assert phrase.ago(0, 100) == ""


def test_counts_and_sizes_read_well() -> None:
    assert phrase.count(1, "task") == "1 task"
    assert phrase.count(20000, "task") == "20,000 tasks"
    assert phrase.count(2, "process", "processes") == "2 processes"
    assert [phrase.size(octets) for octets in (5, 1536, 3 << 30, 1 << 42)] == [
        "5 bytes",
        "1.5 KiB",
        "3.0 GiB",
        "4.0 TiB",
    ]


def test_text_from_a_task_has_no_power_over_the_terminal() -> None:
    assert phrase.safe("a\x1b[2Jb\rc\x07\u202ed") == r"a\x1b[2Jb\rc\x07\u202ed"
    assert phrase.safe("ünïcode\n\tstays 你好") == "ünïcode\n\tstays 你好"


def test_long_text_is_cut_to_its_first_line() -> None:
    assert phrase.shortened("first\nsecond", 20) == "first …"
    assert phrase.shortened("x" * 30, 10) == "x" * 9 + "…"
    assert phrase.shortened("short", 10) == "short"


@dataclasses.dataclass
class Point:
    x: int
    at: bytes


def test_every_value_has_a_json_shape() -> None:
    value = {
        "point": Point(1, b"\x00\xff"),
        "when": datetime(2030, 1, 2, tzinfo=UTC),
        "day": date(2030, 1, 2),
        "for": timedelta(minutes=1),
        "no number": [math.inf, math.nan],
        3: {1},
        "other": Path("x"),
    }
    assert json.loads(json.dumps(plain(value))) == {
        "point": {"x": 1, "at": "00ff"},
        "when": "2030-01-02T00:00:00+00:00",
        "day": "2030-01-02",
        "for": 60.0,
        "no number": ["inf", "nan"],
        "3": [1],
        "other": "PosixPath('x')",
    }


def test_json_carries_its_version_and_lines_are_items(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise AssertionError("a table was asked for")

    emit_items(Format.JSON, "queues", [{"name": "a"}], refuse)
    assert json.loads(capsys.readouterr().out) == {"version": 1, "kind": "queues", "items": [{"name": "a"}]}
    emit_items(Format.JSONL, "queues", [{"name": "a"}, {"name": "b"}], refuse)
    assert capsys.readouterr().out == '{"name": "a"}\n{"name": "b"}\n'
    emit_one(Format.JSONL, "call", {"task_id": "1"}, refuse)
    assert json.loads(capsys.readouterr().out) == {"version": 1, "kind": "call", "task_id": "1"}


def test_a_message_is_previewed_as_a_call() -> None:
    wire = compact.encode(Message("1", "shop.mail", encode(([1, "a"], {"to": "b"}))))
    seen = preview.preview(wire, "default", 0)
    assert seen.message is not None and seen.message.task == "shop.mail"
    assert (seen.call, seen.args, seen.kwargs) == ("(1, 'a', to='b')", [1, "a"], {"to": "b"})


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        (b"garbage", "cannot be read"),
        (compact.encode(Message("1", "t", b"\xc1")), "arguments cannot be read"),
        (compact.encode(Message("1", "t", encode("text"))), "the body is not a pair"),
    ],
)
def test_what_cannot_be_read_is_said_to_be_so(wire: bytes, says: str) -> None:
    assert says in preview.preview(wire, "default", 0).call


def test_raw_bytes_are_shown_in_hex_with_their_text() -> None:
    shown = preview.hexadecimal(b"hello\x00" + bytes(20), limit=16)
    assert shown.splitlines()[0].startswith("000000  68 65 6c 6c 6f 00")
    assert "hello..........." in shown
    assert "10 more bytes" in shown
    assert "1 more byte;" in preview.hexadecimal(bytes(17), limit=16)


def test_nothing_is_destroyed_where_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    confirming.confirm("Delete all", yes=True)
    with pytest.raises(CommandFailed, match="add --yes") as failed:
        confirming.confirm("Delete all", yes=False)
    assert failed.value.exit_code == USAGE


def test_a_banner_stands_odd_names_and_counts_in_proper_words(capsys: pytest.CaptureFixture[str]) -> None:
    odd: Any = ("default", 7, None, "a\x1b[2Jb")
    tasks: Any = {"mail": TaskSpec(queue="mails", at_most_once=True), 3: TaskSpec(queue=odd[2]), "x": TaskSpec(queue=8)}
    info = WorkerInfo(
        "shop", "w", 1, "b", "r", False, "prefork", 1, 1, 1, odd, tasks, lease=30.0, grace=25.0, started_in=0.1
    )
    show_banner(info)
    shown = capsys.readouterr().err
    assert "default, 7, None" in shown and "\x1b" not in shown
    assert "does not consume: 8, mails" in shown and "2 queues that this worker" in shown
    assert "1 process, each with 1 thread for def and 1 coroutine for async def" in shown
    show_banner(info, as_json=True)
    assert json.loads(capsys.readouterr().err)["queues"] == list(odd)


def test_the_filesystem_of_a_folder_is_known_on_linux(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("only Linux tells")
    assert filesystem(Path("/proc")) == "proc"
    assert filesystem(tmp_path)


def test_a_counter_sums_what_every_thread_counted(tmp_path: Path) -> None:
    counter = Counter.create(str(tmp_path / "counter"))
    other = Counter(str(tmp_path / "counter"))
    for _ in range(3):
        counter.hit()
    other.hit()
    assert counter.total() == other.total() == 4


def test_threads_that_follow_each_other_count_in_one_place(tmp_path: Path) -> None:
    """Some peers run each task in a thread of its own, and there are not so many places."""
    counter = Counter.create(str(tmp_path / "counter"))
    for _ in range(CELLS + 10):
        thread = threading.Thread(target=counter.hit)
        thread.start()
        thread.join()
    assert counter.total() == CELLS + 10
