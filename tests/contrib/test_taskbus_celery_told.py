"""What taskbus_celery cannot do as Celery does, it says: once, naming it, and what to do."""

import threading
import types
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import taskbus_celery
from taskbus_celery import Celery, chain, crontab, group, signals
from taskbus_celery import exceptions as told
from taskbus_celery.conf import bus_settings
from taskbus_celery.exceptions import CeleryWarning, ImproperlyConfigured, NotSupported, OperationalError
from taskbus_celery.schedules import schedule, solar

from taskbus import TaskBus
from taskbus.beat.beat import Beat
from taskbus.message import SCHEDULE
from taskbus.testing.clock import START, MovableClock
from taskbus.wire import formats
from taskbus.worker.runner.failing import traceback_of


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Let each test be told everything again, and leave nothing connected."""
    told._told.clear()
    kept = {
        name: list(signal.receivers) for name, signal in vars(signals).items() if isinstance(signal, signals.Signal)
    }
    yield
    for name, receivers in kept.items():
        getattr(signals, name).receivers[:] = receivers


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("told", broker=f"memory://told-{threading.get_ident()}") as made:
        yield made


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("worker_agent", "my.Agent", "cannot be replaced"),
        ("task_compression", "gzip", "not compressed"),
        ("CELERY_MESSAGE_COMPRESSION", "gzip", "not compressed"),
        ("broker_read_url", "redis://other", "one broker"),
        ("accept_content", ["json", "pickle"], "pickle is not accepted"),
        ("task_ack_late", True, "did you mean 'task_acks_late'"),
    ],
)
def test_a_setting_without_effect_is_told_once(app: Celery, setting: str, value: Any, words: str) -> None:
    with pytest.warns(CeleryWarning, match=words):
        app.conf[setting] = value
    app.conf[setting] = value


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("task_acks_late", True), ("worker_prefetch_multiplier", 1), ("accept_content", ["json"]),
        ("result_expires", timedelta(hours=1)), ("my_own_setting", 5), ("task_default_exchange_type", "direct"),
    ],
)  # fmt: skip
def test_a_setting_that_is_needless_or_honoured_is_not_told_of(app: Celery, setting: str, value: Any) -> None:
    app.conf[setting] = value
    assert app.conf[setting] == value


def test_pickle_is_an_error(app: Celery) -> None:
    app.conf.task_serializer = "pickle"
    with pytest.raises(ImproperlyConfigured, match="task_serializer='pickle' cannot be had"):
        app.bus


@pytest.mark.parametrize("url", ["cache+memcached://x", "mongodb://x", "file:///x"])
def test_a_result_store_that_there_is_not_is_an_error(app: Celery, url: str) -> None:
    app.conf.result_backend = url
    with pytest.raises(ImproperlyConfigured, match="results go to"):
        app.bus


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time_limit": 5}, "a time limit is the task's"),
        ({"ignore_result": True}, "whether a result is kept"),
        ({"compression": "gzip"}, "not compressed"),
        ({"colour": "red"}, "no option that TaskBus knows"),
        ({"priority": 200}, "beyond 0 to 9"),
        ({"exchange": "media", "routing_key": "media.video"}, "name no queue"),
    ],
)
def test_an_option_of_a_call_without_effect_is_told_once(app: Celery, options: dict[str, Any], words: str) -> None:
    @app.task
    def add(x: int) -> int:
        return x

    with pytest.warns(CeleryWarning, match=words):
        add.apply_async((1,), **options)
    add.apply_async((1,), **options)


def test_an_option_of_a_task_without_effect_is_told(app: Celery) -> None:
    @app.task(rate_limit="10/m")
    def limited() -> None: ...

    with pytest.warns(CeleryWarning, match="rate_limit='10/m' has no effect here: it cannot be said in code"):
        limited.delay()


def test_a_signal_that_nothing_sends_is_told_of_where_it_is_connected() -> None:
    with pytest.warns(CeleryWarning, match="nothing sends the signal task_received"):
        signals.task_received.connect(lambda **_: None)


def test_async_tasks_have_another_way(app: Celery) -> None:
    @app.task
    async def fetch() -> None: ...

    with pytest.raises(NotSupported, match=r"use @app\.bus\.task"):
        fetch.delay()


@pytest.mark.parametrize("name", ["worker_main", "amqp", "backend", "pool", "Beat"])
def test_what_an_app_has_not_says_what_to_do(app: Celery, name: str) -> None:
    with pytest.raises(NotSupported, match=f"app.{name}: "):
        getattr(app, name)


def test_options_of_a_transport_that_are_not_heeded_are_told_of(app: Celery) -> None:
    app.conf.broker_transport_options = {"visibility_timeout": 5, "queue_order_strategy": "sorted"}
    with pytest.warns(CeleryWarning, match="queue_order_strategy has no effect"):
        app.bus


def test_remote_control_needs_a_broker_that_has_it(app: Celery) -> None:
    with pytest.raises(NotSupported, match="remote control needs a broker on Redis or RabbitMQ"):
        app.AsyncResult("a-task").revoke()


def test_a_broker_out_of_reach_is_celerys_error() -> None:
    with Celery("away", broker="redis://127.0.0.1:1/0") as app:
        app.conf.taskbus = {"publish_timeout": 0.3}
        with pytest.raises(OperationalError):
            app.send_task("anything")


def test_settings_of_taskbus_are_given_by_name(app: Celery) -> None:
    app.conf.taskbus = {"lease": 60.0, "default_queue": "mine"}
    assert (app.bus.config.lease, app.bus.config.default_queue) == (60.0, "mine")


def test_settings_reach_taskbus() -> None:
    source = types.SimpleNamespace(
        CELERY_TASK_DEFAULT_QUEUE="shop", CELERY_TASK_IGNORE_RESULT=True, CELERY_RESULT_EXPIRES=timedelta(minutes=1),
        CELERY_WORKER_MAX_MEMORY_PER_CHILD=100, CELERY_TASK_QUEUES=[types.SimpleNamespace(name="a"), "b"],
        SECRET_KEY="x", CELERY_BROKER_URL="memory://settings",
        CELERY_WORKER_SEND_TASK_EVENTS=True, CELERY_WORKER_ENABLE_REMOTE_CONTROL=False,
        CELERY_TASK_SEND_SENT_EVENT=True,
    )  # fmt: skip
    with Celery("settings") as app:
        app.config_from_object(source, namespace="CELERY")
        config = app.bus.config
    assert config.default_queue == "shop"
    assert not config.store_results
    assert config.result_ttl == 60
    assert config.max_memory_per_runner == 102_400
    assert config.queues == ("a", "b")
    assert (config.telemetry, config.telemetry_sent, config.remote_control) == (True, True, "off")
    assert "SECRET_KEY" not in app.conf.table()


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://localhost/1", "redis://localhost/1"),
        ("amqp://a:5672//;amqp://b:5672//", "amqp://a:5672,b:5672//"),
        (["amqp://a/", "amqp://b/"], "amqp://a,b/"),
        ("sentinel://:pw@a:1;sentinel://b:2", "sentinel://:pw@a:1,b:2/primary"),
        ("sentinel://a:1/3", "sentinel://a:1/primary/3"),
    ],
)
def test_a_broker_of_celerys_becomes_one_url(url: Any, broker: str) -> None:
    app = Celery("urls", set_as_current=False)
    app.conf.update(broker_url=url, broker_transport_options={"master_name": "primary", "visibility_timeout": 5})
    assert bus_settings(app.conf)["broker"] == broker


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (crontab(), "* * * * *"),
        (crontab(minute="*/15", hour="8-17"), "*/15 8-17 * * *"),
        (crontab(0, 3, day_of_week="monday,fri"), "0 3 * * mon,fri"),
        (crontab(0, 3, day_of_week="fri-mon"), "0 3 * * fri,sat,sun,mon"),
        (crontab(0, 0, day_of_month=[1, 15], month_of_year="january"), "0 0 1,15 jan *"),
        (crontab.from_string("5 4 * * sun"), "5 4 * * sun"),
    ],
)
def test_a_crontab_says_its_line(given: crontab, line: str) -> None:
    assert given.expression == line


def test_a_crontab_that_wants_two_days_at_once_is_refused() -> None:
    with pytest.raises(NotSupported, match="cron takes either"):
        crontab(0, 0, day_of_week=1, day_of_month="1-7").expression


def test_equal_schedules_are_equal() -> None:
    assert crontab(minute=5) == crontab(minute="5") != crontab(minute=6)
    assert schedule(30) == schedule(timedelta(seconds=30)) != schedule(31)


def test_a_schedule_is_given_to_taskbus_or_told_of(app: Celery) -> None:
    @app.task
    def sweep() -> None: ...

    @app.on_after_configure.connect
    def add(sender: Celery, **_: Any) -> None:
        sender.add_periodic_task(30.0, sweep.s(), name="often")

    app.conf.beat_schedule = {"nightly": {"task": sweep.name, "schedule": crontab(0, 3)}}
    if hasattr(TaskBus, "schedule"):
        bus: Any = app.__taskbus__()
        assert {"nightly", "often"} <= set(bus.schedules.declared)
    else:
        with pytest.warns(CeleryWarning, match="this TaskBus has no scheduler"):
            app.__taskbus__()


def test_a_beat_sends_what_beat_schedule_says() -> None:
    clock = MovableClock(START)
    with Celery("beating", broker=f"memory://beating-{threading.get_ident()}") as app:
        app.conf.timezone = "Europe/Paris"
        app.task(name="sweep")(lambda floor, wet=False: None)
        app.conf.beat_schedule = {
            "nightly": {
                "task": "sweep", "schedule": crontab(0, 3), "args": (2,), "kwargs": {"wet": True},
                "options": {"queue": "night", "priority": 3, "headers": {"tenant": "a"}, "expires": 60},
            },
            "often": {"task": "sweep", "schedule": timedelta(hours=1), "args": (1,)},
            "sunny": {"task": "sweep", "schedule": solar("sunset", 48.9, 2.3), "args": (3,)},
        }  # fmt: skip
        bus = app.__taskbus__()
        bus.clock = clock
        beat = Beat(bus.schedules.places(), list(bus.schedules.declared.values()), bus.name)
        beat.turn()
        nominal, _ = bus.schedules.next("nightly", 1)[0]
        assert datetime.fromtimestamp(nominal, ZoneInfo("Europe/Paris")).strftime("%H:%M") == "03:00"
        clock.set(nominal)
        beat.turn()
        (parcel,) = bus.broker.peek("night", 9)
        message = formats.decode(parcel.wire, "night", parcel.priority, 1 << 20)
        assert (message.task, message.priority, message.expires_at) == ("sweep", 3, nominal + 60)
        assert (message.headers["tenant"], message.headers[SCHEDULE]) == ("a", "nightly")
        assert bus.tasks["sweep"].unpack(message) == ([2], {"wet": True})
        kinds = {info.name: str(info.timetable) for info in bus.schedules.list()}
        assert kinds["often"] == "every 3600 s" and kinds["sunny"].startswith("sunset at 48.9")


def test_an_app_is_one_for_the_worker_with_all_that_it_includes(
    app: Celery, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").touch()
    (tmp_path / "pack/tasks.py").write_text("from taskbus_celery import shared_task\n@shared_task\ndef found(): ...\n")
    (tmp_path / "included_here.py").write_text(
        "from taskbus_celery import shared_task\n@shared_task\ndef more(): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    app.autodiscover_tasks(["pack", "threading"])
    app.conf.include = ["included_here"]
    assert {"pack.tasks.found", "included_here.more"} <= app.__taskbus__().tasks.keys()


def test_a_traceback_holds_the_users_frames_alone(app: Celery) -> None:
    @app.task
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        fail.apply(throw=True)
    text = traceback_of(caught.value)
    assert "in fail" in text
    assert "taskbus_celery" not in text.replace(__file__, "")


def test_workflows_are_taskbus_workflows(app: Celery) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    sent = chain(add.s(1, 1), group(add.s(1), add.s(2)))()
    (flow,) = app.bus.flows()
    assert [each.state for each in sent.results] == ["PENDING", "PENDING"]
    assert sum(flow.counts.values()) >= 3


def test_every_public_name_is_there() -> None:
    for name in taskbus_celery.__all__:
        assert getattr(taskbus_celery, name) is not None
