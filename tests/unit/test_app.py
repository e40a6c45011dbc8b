"""``TaskBus``: where its parts live, which tasks it knows, and what sending through it does."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import pytest

from taskbus import Context, Middleware, State, TaskBus, task
from taskbus.errors import BadArguments, ConfigError
from taskbus.message import Message
from taskbus.wire import compact


@task
def borrowed(n: int) -> int:
    return n


def waiting(app: TaskBus, queue: str = "default") -> list[Message]:
    """What is in a queue, in the order it would be delivered."""
    return [
        compact.decode(delivery.wire, delivery.queue, delivery.priority, 1 << 20)
        for delivery in app.broker.peek(queue, 100)
    ]


# --- URLs --------------------------------------------------------------------------------------------------------


def test_without_a_url_everything_is_one_file_in_the_working_folder(tmp_path: Path) -> None:
    app = TaskBus("shop")
    assert app.broker_url == app.results_url == f"sqlite:///{tmp_path}/taskbus.db"
    assert not list(tmp_path.iterdir()), "making an application must not touch the disk"


def test_a_relative_file_stays_the_same_file_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TaskBus("shop", broker="sqlite:///queue.db?synchronous=FULL") as app:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert app.broker_url == f"sqlite:///{tmp_path}/queue.db?synchronous=FULL"
        app.task(name="t")(lambda: None).delay()
    assert (tmp_path / "queue.db").is_file()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_results_are_kept_in_the_brokers_database_unless_told_otherwise(tmp_path: Path) -> None:
    with TaskBus("shop", broker="sqlite:///queue.db") as app:
        assert app.results_url == app.broker_url
        assert app.shares_database
    with TaskBus("shop", broker="sqlite:///queue.db", results="sqlite:///results.db") as app:
        assert app.results_url == f"sqlite:///{tmp_path}/results.db"
        assert not app.shares_database


def test_a_variable_sets_what_the_code_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKBUS_BROKER", "sqlite:///from_variable.db")
    monkeypatch.setenv("TASKBUS_LEASE", "7.5")
    app = TaskBus("shop")
    assert (app.broker_url, app.config.lease) == (f"sqlite:///{tmp_path}/from_variable.db", 7.5)
    assert app.origins["lease"] == "TASKBUS_LEASE"
    app = TaskBus("shop", broker="sqlite:///from_code.db", lease=3)
    assert (app.broker_url, app.config.lease) == (f"sqlite:///{tmp_path}/from_code.db", 3.0)
    assert app.origins["lease"] == "code"


def test_an_unknown_setting_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'leese'.*did you mean 'lease'"):
        TaskBus("shop", leese=3)


def test_a_broker_nobody_knows_is_an_error_when_it_is_first_used() -> None:
    app = TaskBus("shop", broker="gopher://example.org")
    with pytest.raises(ConfigError, match="gopher"):
        app.broker


# --- tasks -------------------------------------------------------------------------------------------------------


def test_an_application_knows_its_tasks_by_name(app: TaskBus) -> None:
    @app.task(name="maths.add")
    def add(a: int, b: int) -> int:
        return a + b

    assert app.tasks == {"maths.add": add}


def test_two_tasks_of_one_name_are_refused(app: TaskBus) -> None:
    app.task(name="same")(len)
    with pytest.raises(ConfigError, match=r"two tasks are named 'same'.*give one a name="):
        app.task(name="same")(sum)


def test_a_module_that_is_imported_again_brings_its_tasks_again(app: TaskBus) -> None:
    source = "def work():\n    return {}\n"
    for version in (1, 2):
        module: dict[str, object] = {"__name__": "jobs"}
        exec(compile(source.format(version), "jobs.py", "exec"), module)
        app.task(module["work"])  # type: ignore[arg-type]
    assert app.tasks["jobs.work"].function() == 2


def test_include_adopts_the_tasks_of_a_module(app: TaskBus) -> None:
    app.include(__name__)
    assert app.tasks == {f"{__name__}.borrowed": borrowed}
    borrowed.delay(3)
    assert [message.task for message in waiting(app)] == [f"{__name__}.borrowed"]


def test_include_leaves_out_what_a_module_only_imported(app: TaskBus, tmp_path: Path) -> None:
    sys.modules["borrower"] = module = type(sys)("borrower")
    module.borrowed = borrowed  # type: ignore[attr-defined]
    try:
        with pytest.raises(ConfigError, match="that module defines no tasks; decorate them with @task"):
            app.include("borrower")
    finally:
        del sys.modules["borrower"]


# --- sending -----------------------------------------------------------------------------------------------------


def test_a_send_by_name_is_checked_where_the_task_is_known(app: TaskBus) -> None:
    app.include(__name__)
    app.send(f"{__name__}.borrowed", (3,), priority=2)
    with pytest.raises(BadArguments):
        app.send(f"{__name__}.borrowed", (1, 2))
    app.send("only.workers.know", (1, 2), {"x": 3}, queue="other")
    assert [(message.task, message.priority) for message in waiting(app)] == [(f"{__name__}.borrowed", 2)]
    assert [message.task for message in waiting(app, "other")] == ["only.workers.know"]


def test_a_batch_sends_everything_at_its_end(app: TaskBus) -> None:
    count = app.task(name="count")(len)
    with app.batch():
        sent = [count.delay("x" * n) for n in range(10)]
        assert waiting(app) == []
    assert [message.id for message in waiting(app)] == [result.id for result in sent]


def test_an_error_inside_a_batch_sends_nothing_of_it(app: TaskBus) -> None:
    count = app.task(name="count")(len)
    with pytest.raises(ZeroDivisionError), app.batch():
        count.delay("x")
        _ = 1 / 0
    assert waiting(app) == []
    count.delay("after")
    assert len(waiting(app)) == 1


def test_async_sends_arrive_and_leave_the_loop_free(app: TaskBus) -> None:
    count = app.task(name="count")(len)

    async def send_many() -> list[str]:
        return [result.id for result in await asyncio.gather(*(count.adelay("x" * n) for n in range(20)))]

    assert sorted(asyncio.run(send_many())) == sorted(message.id for message in waiting(app))


def test_middleware_sees_each_send_in_order_and_may_change_it(tmp_path: Path) -> None:
    seen: list[str] = []

    class Tag(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        @contextmanager
        def sending(self, message: Message) -> Iterator[Message]:
            seen.append(f"{self.name} before")
            yield message._replace(headers={**message.headers, self.name: "yes"})
            seen.append(f"{self.name} after")

        @contextmanager
        def running(self, context: Context) -> Iterator[None]:
            yield

    with TaskBus("shop", broker="sqlite:///queue.db", middleware=[Tag("first"), Tag("second")]) as app:
        app.task(name="t")(lambda: None).delay()
        assert [dict(message.headers) for message in waiting(app)] == [{"first": "yes", "second": "yes"}]
    assert seen == ["first before", "second before", "second after", "first after"]


# --- results and the end -----------------------------------------------------------------------------------------


def test_a_task_nobody_ran_is_pending(app: TaskBus) -> None:
    result = app.task(name="count")(len).delay("x")
    assert result.state is State.PENDING
    assert app.result(result.id).state is State.PENDING


def test_a_closed_application_may_be_used_again(app: TaskBus) -> None:
    count = app.task(name="count")(len)
    count.delay("a")
    app.close()
    app.close()
    count.delay("b")
    asyncio.run(count.adelay("c"))
    assert len(waiting(app)) == 3


def test_including_a_module_that_does_not_exist_says_so() -> None:
    with pytest.raises(ConfigError, match="there is no module 'no_such_tasks'"):
        TaskBus("shop", broker="memory://include").include("no_such_tasks")


def test_middleware_sees_the_callers_context_variables_under_adelay_too() -> None:
    span: ContextVar[str] = ContextVar("span", default="none")
    seen: list[str] = []

    class Tracing(Middleware):
        @contextmanager
        def sending(self, message: Message) -> Iterator[Message]:
            seen.append(span.get())
            yield message

    with TaskBus("shop", broker="memory://spans", middleware=[Tracing()]) as app:

        @app.task
        def ping() -> None: ...

        async def send() -> None:
            span.set("abc")
            await ping.adelay()

        asyncio.run(send())
    assert seen == ["abc"]
