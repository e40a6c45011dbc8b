"""The thread that reports, against a store that goes away and comes back; and what attempts say while they run."""

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

import pytest

from taskbus import Context
from taskbus.clock import wall_clock
from taskbus.context import Progress, current
from taskbus.errors import StoreError
from taskbus.logs import line_of
from taskbus.monitor import reporting as module
from taskbus.monitor.report import NodeState
from taskbus.monitor.reporting import Reporting
from taskbus.store.memory_reports import open_url
from taskbus.store.reports import Answer, Inbox, Order, Report, ReportStore
from taskbus.worker.reporting import WorkerSource
from taskbus.worker.runner.voices import MAX_CHARACTERS, MAX_LINES, Voices, tap


class Source:
    """What a process would say: a count that grows, and what it has heard."""

    def __init__(self) -> None:
        self.count = 0
        self.posts: list[Report] = []
        self.inboxes: list[tuple[Inbox, bool]] = []
        self.unanswered = 0
        self.to_answer: list[Answer] = []
        self.changed = threading.Condition()

    def state(self) -> NodeState:
        return NodeState(kind="worker", name="ann@home")

    def is_busy(self) -> bool:
        return True

    def minutes(self) -> Mapping[int, bytes]:
        return {1: str(self.count).encode()}

    def records(self) -> bytes:
        self.count += 1
        return str(self.count).encode()

    def answers(self) -> Sequence[Answer]:
        return tuple(self.to_answer)

    def posted(self, report: Report, answers: Sequence[Answer]) -> None:
        with self.changed:
            self.posts.append(report)
            self.to_answer = [each for each in self.to_answer if each not in answers]
            self.changed.notify_all()

    def heard(self, inbox: Inbox, *, is_first: bool) -> None:
        with self.changed:
            self.inboxes.append((inbox, is_first))
            self.changed.notify_all()

    def unheard(self, error: Exception) -> None:
        with self.changed:
            self.unanswered += 1
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 15)


class Shaky:
    """A store that may be away, and may lose its reply."""

    def __init__(self, store: ReportStore) -> None:
        self.store = store
        self.is_away = False
        self.loses_reply = False

    def post(self, report: Report, orders_after: int, answers: Sequence[Answer] = ()) -> Inbox:
        if self.is_away:
            raise StoreError("away")
        inbox = self.store.post(report, orders_after, answers)
        if self.loses_reply:
            self.loses_reply = False
            raise StoreError("the reply was lost")
        return inbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@contextmanager
def reporting(source: Source, store: Any) -> Iterator[Reporting]:
    made = Reporting("ann@home", lambda: store, source)
    made.start()
    try:
        yield made
    finally:
        made.close(5.0)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def shaky() -> Iterator[Shaky]:
    with closing(open_url("memory://", wall_clock)) as store:
        yield Shaky(store)


def test_what_could_not_be_said_is_said_when_the_store_is_back_and_nothing_twice(shaky: Shaky) -> None:
    source = Source()
    with reporting(source, shaky) as made:
        source.wait_for(lambda: len(source.posts) >= 2)
        shaky.is_away = True
        source.wait_for(lambda: source.unanswered >= 3)
        shaky.is_away = False
        shaky.loses_reply = True
        source.wait_for(lambda: source.unanswered >= 4)
        at = len(source.posts)
        source.wait_for(lambda: len(source.posts) >= at + 3)
        node = made.node
    said = [record.records for record in shaky.records({}, 10_000) if record.node == node]
    assert said == [str(number).encode() for number in range(1, len(said) + 1)]
    assert len(said) == source.count
    assert [report.number for report in source.posts] == list(range(1, len(source.posts) + 1))


def test_a_process_that_stops_says_goodbye_and_one_whose_store_is_away_does_not_wait_for_it(shaky: Shaky) -> None:
    source = Source()
    with reporting(source, shaky) as made:
        source.wait_for(lambda: source.posts)
        assert [node.node for node in shaky.nodes()] == [made.node]
    assert shaky.nodes() == []
    assert source.posts[-1].is_last
    with reporting(source, shaky):
        source.wait_for(lambda: not source.posts[-1].is_last)
        shaky.is_away = True
        failed = source.unanswered
        source.wait_for(lambda: source.unanswered > failed)


def test_orders_come_once_and_those_from_before_its_time_are_told_apart(shaky: Shaky) -> None:
    source = Source()
    before = shaky.order(b"before", 0.0, ttl=math.inf)
    with reporting(source, shaky) as made:
        source.wait_for(lambda: source.posts and source.inboxes)
        after = shaky.order(b"after", 0.0, node=made.node, ttl=math.inf)
        source.wait_for(lambda: len(source.inboxes) > 1 and source.inboxes[-1][0].orders)
        source.to_answer.append(Answer(after, made.node, b"yes"))
        made.ring()
        source.wait_for(lambda: not source.to_answer)
        heard = [(order.number, is_first) for inbox, is_first in source.inboxes for order in inbox.orders]
        assert heard == [(before, True), (after, False)]
        assert shaky.answers(after) == [Answer(after, made.node, b"yes")]


def test_orders_are_heard_before_the_first_report_and_not_again_with_it(shaky: Shaky) -> None:
    """A worker begins to fetch once it has heard: what was revoked before it came must be known by then."""
    source = Source()
    before = shaky.order(b"before", 0.0, ttl=math.inf)
    shaky.pause("slow")
    shaky.is_away = True
    with reporting(source, shaky):
        source.wait_for(lambda: source.unanswered)
        shaky.is_away = False
        source.wait_for(lambda: len(source.inboxes) > 1)
    (first, is_first), (second, is_second_first), *_ = source.inboxes
    assert [order.number for order in first.orders] == [before]
    assert [*second.orders] == []
    assert first.paused == second.paused == {"slow"}
    assert (is_first, is_second_first) == (True, False)


def test_a_worker_follows_orders_before_it_learns_what_it_may_fetch() -> None:
    heard: list[Any] = []
    source = WorkerSource(
        cast("Any", None), cast("Any", None), cast("Any", None),
        lambda order, is_first: heard.append((order.number, is_first)), heard.append,
    )  # fmt: skip
    source.heard(Inbox([Order(7, "", b"", 1.0)], frozenset({"slow"})), is_first=True)
    assert heard == [(7, True), {"slow"}]


def test_no_two_lives_of_a_process_have_the_same_name(shaky: Shaky) -> None:
    assert len({Reporting("ann@home", lambda: shaky.store, Source()).node for _ in range(100)}) == 100


# --- what attempts say -----------------------------------------------------------------------------------------------


class Frames:
    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.changed = threading.Condition()

    def __call__(self, *frame: Any) -> None:
        with self.changed:
            self.sent.append(frame)
            self.changed.notify_all()

    def progress(self) -> list[Any]:
        return [entry for kind, *rest in self.sent if kind == "progress" for entry in rest[0]]


def test_a_storm_of_progress_is_sent_a_few_times_and_the_last_of_it_before_the_end() -> None:
    frames = Frames()
    voices = Voices(frames)
    context = Context("id", "shop.pay", voice=voices.of(7))
    for number in range(100_000):
        context.progress(number, 100_000)
    voices.ended(context.voice, is_success=True)
    said = frames.progress()
    assert said[-1][:3] == [7, 99_999.0, 100_000.0]
    assert len(said) < 20


def test_progress_that_is_told_once_arrives_without_waiting_for_the_end() -> None:
    frames = Frames()
    Context("id", "shop.pay", voice=Voices(frames).of(7)).progress(1, 2, "x" * 300)
    with frames.changed:
        assert frames.changed.wait_for(frames.progress, 15)
    assert frames.progress()[0][:4] == [7, 1.0, 2.0, "x" * 200]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((math.nan,), ValueError), ((math.inf,), ValueError), ((-1,), ValueError), ((1, -1), ValueError),
        ((10**400,), ValueError),
        (("1",), TypeError), ((True,), TypeError), ((1, None), TypeError), ((1, 2, 3), TypeError),
    ],
)  # fmt: skip
def test_progress_that_is_none_is_refused_with_its_value(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"progress: (done|total|note) is .*; give a"):
        Context("id", "shop.pay").progress(*arguments)


def test_outside_of_a_worker_progress_does_nothing() -> None:
    Context("", "shop.pay").progress(1, 2, "all is well")
    assert Progress(1).total == 0


@contextmanager
def tapped(voices: Voices, tag: int) -> Iterator[Context]:
    before = logging.getLogRecordFactory()
    tap()
    tap()  # once is enough
    context = Context("id", "shop.pay", voice=voices.of(tag))
    token = current.set(context)
    try:
        yield context
    finally:
        current.reset(token)
        logging.setLogRecordFactory(before)


def test_the_last_lines_are_kept_and_levels_and_handlers_left_alone() -> None:
    frames = Frames()
    voices = Voices(frames, 50)
    logger = logging.getLogger("tests.voices")
    handlers = list(logging.getLogger().handlers)
    with tapped(voices, 3) as context:
        for number in range(MAX_LINES + 10):
            logger.warning("line %d", number)
        logger.debug("below the level")
        assert logging.getLogger().handlers == handlers
    voices.ended(context.voice, is_success=False)
    ((kind, tag, lines),) = frames.sent
    assert (kind, tag, len(lines)) == ("logs", 3, MAX_LINES)
    assert lines[0].endswith("WARNING tests.voices: line 10")
    with tapped(voices, 4) as context:
        for _ in range(50):
            logger.warning("x" * 5000)
    voices.ended(context.voice, is_success=False)
    assert sum(map(len, frames.sent[-1][2])) <= MAX_CHARACTERS


def test_a_line_that_cannot_be_formatted_says_so() -> None:
    record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "%d", ("no number",), None)
    assert line_of(record).endswith("ERROR shop: '%d' (cannot be formatted: TypeError)")


def test_lines_of_what_went_well_are_sent_of_so_many_a_second_and_of_what_failed_always() -> None:
    frames = Frames()
    voices = Voices(frames, 5)
    for tag in range(1, 101):
        with tapped(voices, tag) as context:
            logging.getLogger("tests.voices").warning("a line")
        voices.ended(context.voice, is_success=True)
    assert 5 <= len(frames.sent) <= 20
    quiet = len(frames.sent)
    for tag in range(200, 210):
        with tapped(voices, tag) as context:
            logging.getLogger("tests.voices").warning("a line")
        voices.ended(context.voice, is_success=False)
    assert len(frames.sent) == quiet + 10
