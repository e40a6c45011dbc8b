"""``@task``: what a call becomes, what the options say, and the function as a plain function."""

import asyncio
import copy
import functools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from taskbus import Config, Context, RetryPolicy, Task, codec, context, task
from taskbus.errors import BadArguments, ConfigError, EncodeError
from taskbus.message import Message
from taskbus.store.opening import open_store
from taskbus.store.results import AsyncResult

NOW = 1_800_000_000.0


@dataclass
class Outbox:
    """The port a task sends through: keeps what it is given."""

    config: Config = field(default_factory=Config)
    now: Callable[[], float] = lambda: NOW
    messages: list[Message] = field(default_factory=list)

    sessions: list[Any] = field(default_factory=list)

    def submit(self, message: Message, session: Any = None) -> None:
        self.messages.append(message)
        self.sessions.append(session)

    async def asubmit(self, message: Message, session: Any = None) -> None:
        self.submit(message, session)

    def expect(self, task: Task[..., Any], task_id: str, *, queue: str = "") -> AsyncResult[Any]:
        return AsyncResult(task_id, open_store("memory://tasks", self.now), decode=codec.decode)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@task
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@task(name="mail.send", queue="mail", priority=7, serializer="json", store_results=False, result_ttl=60.0, time_limit=5)
async def send(ctx: Context, to: str) -> int:
    return ctx.attempt


@pytest.fixture(autouse=True)
def bound(outbox: Outbox) -> None:
    add.bind(outbox)
    send.bind(outbox)


# --- what a call becomes -----------------------------------------------------------------------------------------


def test_a_call_becomes_a_message_with_its_arguments_inside(outbox: Outbox) -> None:
    result = add.delay(2, b=3)
    (message,) = outbox.messages
    assert message == Message(
        id=result.id, task=f"{__name__}.add", body=codec.encode(((2,), {"b": 3}), "msgpack"), sent_at=NOW
    )
    assert add.unpack(message) == ([2], {"b": 3})


def test_every_call_has_an_id_of_its_own_and_later_ids_sort_later(outbox: Outbox) -> None:
    ids = [add.delay(n).id for n in range(100)]
    assert len(set(ids)) == 100
    assert [id[:8] for id in ids] == sorted(id[:8] for id in ids)


def test_the_decorators_options_are_in_the_message(outbox: Outbox) -> None:
    send.delay("someone")
    (message,) = outbox.messages
    assert (message.task, message.queue, message.priority, message.content_type) == ("mail.send", "mail", 7, "json")
    assert send.unpack(message) == (["someone"], {})


def test_what_the_decorator_leaves_open_comes_from_the_apps_settings() -> None:
    own = Outbox(Config(default_queue="work", serializer="json", store_results=False, result_ttl=5.0))
    add.bind(own)
    assert (add.queue, add.serializer, add.store_results, add.result_ttl) == ("work", "json", False, 5.0)
    send.bind(own)
    assert (send.queue, send.serializer, send.store_results, send.result_ttl) == ("mail", "json", False, 60.0)


def test_a_wrong_call_fails_at_the_caller_and_sends_nothing(outbox: Outbox) -> None:
    with pytest.raises(BadArguments, match=r"add\(a: int, b: int = 1\) -> int|add\(a: int, b: int = 1\): too many"):
        add.delay(1, 2, 3)  # type: ignore[call-arg]
    assert outbox.messages == []


def test_a_wrong_call_is_a_type_error_like_any_pythons() -> None:
    with pytest.raises(TypeError):
        add.delay()  # type: ignore[call-arg]


def test_an_argument_without_a_safe_encoding_sends_nothing(outbox: Outbox) -> None:
    with pytest.raises(EncodeError, match="object"):
        add.delay(object())  # type: ignore[arg-type]
    assert outbox.messages == []


def test_an_async_caller_sends_the_same_message(outbox: Outbox) -> None:
    result = asyncio.run(add.adelay(2, 3))
    (message,) = outbox.messages
    assert (message.id, add.unpack(message)) == (result.id, ([2, 3], {}))


# --- options of a call -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"countdown": 10}, {"due_at": NOW + 10}),
        ({"countdown": timedelta(minutes=1)}, {"due_at": NOW + 60}),
        ({"eta": NOW + 5.5}, {"due_at": NOW + 5.5}),
        ({"eta": datetime(2027, 2, 1, tzinfo=UTC)}, {"due_at": datetime(2027, 2, 1, tzinfo=UTC).timestamp()}),
        ({"expires": 30}, {"expires_at": NOW + 30}),
        ({"expires": timedelta(hours=1)}, {"expires_at": NOW + 3600}),
        (
            {"expires": datetime(2027, 2, 1, tzinfo=UTC)},
            {"expires_at": datetime(2027, 2, 1, tzinfo=UTC).timestamp()},
        ),
        ({"priority": 0}, {"priority": 0}),
        ({"queue": "slow"}, {"queue": "slow"}),
        ({"task_id": "my-id"}, {"id": "my-id"}),
        ({"headers": {"tenant": "a"}}, {"headers": {"tenant": "a"}}),
    ],
)
def test_options_change_this_call_only(outbox: Outbox, options: dict[str, Any], changed: dict[str, Any]) -> None:
    send.delay("someone")
    send.options(**options).delay("someone")
    send.apply_async(("someone",), **options)
    send.apply_async(kwargs={"to": "someone"}, **options)
    send.delay("someone")
    plain, typed, celeryish, by_name, again = (message._replace(id="") for message in outbox.messages)
    if "id" in changed:
        assert [message.id for message in outbox.messages[1:4]] == ["my-id"] * 3
        changed = {}
    assert typed == celeryish == by_name._replace(body=typed.body) == plain._replace(**changed)
    assert again == plain


def test_a_call_with_options_may_be_sent_many_times(outbox: Outbox) -> None:
    urgent = add.options(priority=9)
    ids = {urgent.delay(n).id for n in range(3)} | {asyncio.run(urgent.adelay(3)).id}
    assert len(ids) == 4
    assert [message.priority for message in outbox.messages] == [9] * 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"countdown": 1, "eta": NOW}, "countdown or eta, not both"),
        ({"eta": datetime(2027, 2, 1)}, "has no time zone"),
        ({"expires": datetime(2027, 2, 1)}, "has no time zone"),
        ({"priority": 10}, "whole number from 0 to 9"),
        ({"priority": -1}, "whole number from 0 to 9"),
        ({"priority": True}, "whole number from 0 to 9"),
        ({"headers": {"n": 1}}, "is not text to text"),
        ({"queue": ""}, r"test_task\.add': queue='' is no name of a queue; use 1 to 200 of the characters"),
        ({"queue": "two words"}, "queue='two words' is no name"),
        ({"queue": "q\n"}, "is no name of a queue"),
        ({"queue": "q" * 201}, "is no name of a queue"),
        ({"queue": 7}, "queue=7 is no name of a queue"),
        ({"task_id": ""}, r"add': task_id='' is not a text of 1 to 200 characters"),
        ({"task_id": "x" * 201}, "is not a text of 1 to 200 characters"),
        ({"task_id": 7}, "task_id=7 is not a text"),
    ],
)
def test_an_option_that_makes_no_sense_says_so_at_the_caller(
    outbox: Outbox, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        add.apply_async((1,), **options)
    assert outbox.messages == []


# --- definitions -------------------------------------------------------------------------------------------------


def test_a_task_without_an_application_says_how_to_get_one() -> None:
    @task
    def lonely() -> None: ...

    with pytest.raises(ConfigError, match=r"belongs to no application yet; call app\.include\('"):
        lonely.delay()


@pytest.mark.parametrize(
    "options",
    [{"time_limit": 0}, {"time_limit": -1.0}, {"time_limit": "5"}, {"soft_time_limit": 0}, {"result_ttl": "1 day"}],
)
def test_a_time_limit_is_a_positive_number(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be a positive number of seconds"):
        task(name="t", **options)(lambda: None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"priority": 11}, "whole number from 0 to 9"),
        ({"queue": "a/b"}, "task 't': queue='a/b' is no name of a queue"),
        ({"serializer": "pickle"}, "task 't': serializer='pickle' is not one of msgpack, json"),
        ({"retry": 3}, r"task 't': retry=3 is no RetryPolicy; write retry=RetryPolicy\("),
        ({"retry": RetryPolicy}, "is no RetryPolicy"),
        ({"soft_time_limit": 5, "time_limit": 5}, "soft_time_limit=5 would never be reached.*less than time_limit=5"),
        ({"soft_time_limit": 9, "time_limit": 5}, "soft_time_limit=9 would never be reached"),
        ({"name": "n" * 201}, "is not a text of 1 to 200 characters"),
        ({"qeue": "mail"}, "@task has no option 'qeue'; did you mean 'queue'?"),
        ({"colour": "red"}, "@task has no option 'colour'; there are name, queue,"),
    ],
)
def test_an_option_that_makes_no_sense_says_so_where_the_task_is_defined(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        task(**{"name": "t", **options})(lambda: None)


class Shop:
    def buy(self, page: int) -> None: ...

    @classmethod
    def sell(cls, page: int) -> None: ...

    def __call__(self) -> None: ...


def counting() -> Any:
    yield 1


async def acounting() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (int, "it is a class, and tasks are functions"),
        (Shop, "it is a class"),
        (Shop.sell, "it is a method"),
        (Shop().buy, "it is a method"),
        (vars(Shop)["sell"], "it is a method"),
        (Shop.buy, "it is a method of Shop, and tasks are functions; move it out"),
        (Shop(), "tasks are functions"),
        (functools.partial(print, 1), "tasks are functions"),
        ("name", "tasks are functions"),
        (add, r"a task already; app\.include\(\)"),
        (counting, "it yields"),
        (acounting, "it yields"),
        (lambda: None, r"a lambda has no name.*name=\.\.\."),
        (max, "no signature found.*write a def that calls it"),
    ],
)
def test_what_is_no_function_is_no_task(thing: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        task(thing)


def test_a_function_in_a_function_and_a_decorated_one_are_tasks() -> None:
    @task
    @functools.lru_cache
    def cached(n: int) -> int:
        return n

    assert cached.name.endswith("<locals>.cached")


def test_a_task_is_the_same_object_after_a_pickle() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(add, protocol)) is add
    assert copy.deepcopy(add) is add


def test_a_task_that_its_modules_name_does_not_lead_to_cannot_be_pickled() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(task(name="t")(len))


def test_a_task_keeps_the_functions_name_and_docstring() -> None:
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add two numbers.", __name__)
    assert repr(add).startswith(f"<Task {__name__}.add(a: int, b: int = 1)")


def test_a_task_knows_whether_it_is_a_coroutine_and_takes_a_context() -> None:
    assert (add.is_async, add.takes_context) == (False, False)
    assert (send.is_async, send.takes_context) == (True, True)


def test_retries_are_the_default_policys_unless_the_task_says_otherwise() -> None:
    @task(retry=RetryPolicy.never())
    def once() -> None: ...

    error = ValueError()
    assert not add.retry.is_exhausted(error, 3, 0.0)
    assert add.retry.is_exhausted(error, 4, 0.0)
    assert once.retry.is_exhausted(error, 1, 0.0)


def test_a_task_that_keeps_no_results_packs_none() -> None:
    assert add.pack_result(3) == (codec.encode(3, "msgpack"), "msgpack")
    assert send.pack_result(3) == (None, "json")


def test_a_task_in_a_transaction_is_the_same_task_sent_with_its_session(outbox: Outbox) -> None:
    sessions = [Session(), scoped_session(sessionmaker())]
    for session in sessions:
        joined = add.using(session)
        assert type(joined) is type(add) and joined(2, 3) == 5
        joined.delay(2, b=3)
        joined.options(countdown=5).delay(1)
        asyncio.run(joined.adelay(2))
        joined.apply_async((1, 2), priority=3)
    assert outbox.sessions == [session for session in sessions for _ in range(4)]
    add.delay(1)
    assert outbox.sessions[-1] is None
    assert (outbox.messages[1].due_at, outbox.messages[3].priority) == (NOW + 5, 3)


@pytest.mark.parametrize(
    "wrong", [None, "postgresql://localhost/shop", Session, sessionmaker(), create_engine("sqlite://")]
)
def test_only_sqlalchemys_own_transactions_can_be_joined(outbox: Outbox, wrong: Any) -> None:
    with pytest.raises(ConfigError, match="takes a SQLAlchemy Session or Connection, not"):
        add.using(wrong)


# --- plain calls -------------------------------------------------------------------------------------------------


def test_a_task_called_like_a_function_runs_here_and_now(outbox: Outbox) -> None:
    assert add(2, 3) == 5
    assert asyncio.run(send("someone")) == 1
    assert outbox.messages == []


def test_a_plain_call_inside_a_task_sees_the_running_attempt() -> None:
    token = context.current.set(Context("id", "outer", attempt=3))
    try:
        assert asyncio.run(send("someone")) == 3
    finally:
        context.current.reset(token)
