"""``task.using(session)``: a message that is part of the caller's own transaction, on every database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from taskbus import Middleware
from taskbus.errors import PayloadTooLarge
from taskbus.message import Message
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import quiet, readable, waiting
from tests.contract.session_shop import Shop, message_of, orders

# --- with the commit, or never ---


def test_a_task_is_sent_by_the_commit_and_not_before(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(insert(orders).values(id=1))
        result = shop.mail.using(session).delay(1)
        assert shop.waiting() == []
        session.commit()
    assert shop.waiting() == [1]
    assert waiting(shop.app.broker) == [result.id]


def test_a_rollback_takes_the_task_with_it(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(insert(orders).values(id=1))
        shop.mail.using(session).delay(1)
        session.rollback()
        shop.mail.using(session).delay(2)
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        shop.mail.using(session).delay(3)
        raise ZeroDivisionError
    assert shop.waiting() == []
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(orders)) == 0


def test_a_savepoint_that_is_undone_takes_only_its_own_tasks(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.execute(insert(orders).values(id=1))
        shop.mail.using(session).delay(1)
        with session.begin_nested():
            shop.mail.using(session).delay(2)
        undone = session.begin_nested()
        shop.mail.using(session).delay(3)
        undone.rollback()
        shop.mail.using(session).delay(4)
    assert shop.waiting() == [1, 2, 4]


def test_the_same_id_may_be_sent_again_after_a_rollback(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session:
        for order in (1, 2):
            shop.mail.using(session).options(task_id="the-mail").delay(order)
            session.rollback()
        shop.mail.using(session).options(task_id="the-mail").delay(3)
        session.commit()
    assert shop.waiting() == [3]


def test_a_second_task_of_the_same_id_is_left_out_where_the_broker_tells_them_apart(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        shop.mail.using(session).options(task_id="the-mail").delay(1)
        shop.mail.using(session).options(task_id="the-mail").delay(2)
    shop.mail.options(task_id="the-mail").delay(3)
    assert shop.waiting() == ([1] if shop.app.broker.features.dedup else [1, 2, 3])


@contextmanager
def in_a_session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session, session.begin():
        yield session


@contextmanager
def in_a_connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


@contextmanager
def in_a_connection_that_begins_by_itself(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
        connection.commit()


@contextmanager
def in_a_scoped_session(engine: Engine) -> Iterator["scoped_session[Session]"]:
    scoped = scoped_session(sessionmaker(engine))
    yield scoped
    scoped.commit()
    scoped.remove()


@contextmanager
def in_a_session_on_a_connection(engine: Engine) -> Iterator[Session]:
    with engine.begin() as connection, Session(connection) as session:
        yield session
        session.commit()


WAYS: list[Callable[[Engine], Any]] = [
    in_a_session,
    in_a_connection,
    in_a_connection_that_begins_by_itself,
    in_a_scoped_session,
    in_a_session_on_a_connection,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_kind_of_transaction_of_sqlalchemys_can_be_joined(
    shop: Shop, engine: Engine, way: Callable[[Engine], Any]
) -> None:
    with way(engine) as transaction:
        shop.mail.using(transaction).delay(1)
        shop.mail.using(transaction).delay(2)
        transaction.execute(insert(orders).values(id=1))
        assert shop.waiting() == []
    assert shop.waiting() == [1, 2]


# --- it is a send like any other ---


def test_options_are_those_of_every_send(shop_url: str, engine: Engine) -> None:
    clock = MovableClock()
    shop = Shop(shop_url, clock=clock)
    with Session(engine) as session, session.begin():
        mail = shop.mail.using(session)
        mail.options(priority=3).delay(1)
        mail.apply_async((2,), {"text": "ключ \0 💥"}, priority=9)
        mail.options(countdown=60).delay(3)
        mail.options(queue="slow").delay(4)
    assert (shop.waiting(), shop.waiting("slow")) == ([2, 1, 3], [4])
    consumer = shop.app.broker.consumer(["default"], name="w", lease=600)
    assert len(consumer.fetch(10)) == 2
    clock.advance(61)
    assert len(consumer.fetch(10)) == 1
    consumer.close()
    shop.app.close()


def test_inside_a_batch_the_own_transaction_wins(shop: Shop, engine: Engine) -> None:
    with shop.app.batch():
        shop.mail.delay(1)
        with Session(engine) as session, session.begin():
            shop.mail.using(session).delay(2)
        assert shop.waiting() == [2]
        shop.mail.delay(3)
    assert shop.waiting() == [2, 1, 3]
    with pytest.raises(ZeroDivisionError), shop.app.batch():
        with Session(engine) as session, session.begin():
            shop.mail.using(session).delay(4)
        shop.mail.delay(5)
        raise ZeroDivisionError
    assert shop.waiting() == [2, 1, 3, 4]


class Tracing(Middleware):
    @contextmanager
    def sending(self, message: Message) -> Iterator[Message]:
        yield message._replace(headers={"trace": "abc"})


def test_middleware_is_around_it(shop_url: str, engine: Engine) -> None:
    shop = Shop(shop_url, middleware=[Tracing()])
    with Session(engine) as session, session.begin():
        shop.mail.using(session).delay(1)
    (delivery,) = shop.app.broker.peek("default", 9)
    assert message_of(delivery).headers == {"trace": "abc"}
    shop.app.close()


def test_a_message_that_is_too_large_is_refused_and_leaves_the_transaction_as_it_was(
    shop_url: str, engine: Engine
) -> None:
    shop = Shop(shop_url, max_message_bytes=10_000)
    with Session(engine) as session:
        session.execute(insert(orders).values(id=1))
        with pytest.raises(PayloadTooLarge):
            shop.mail.using(session).delay(1, "x" * 20_000)
        shop.mail.using(session).delay(2)
        session.commit()
        assert session.scalar(select(func.count()).select_from(orders)) == 1
    assert shop.waiting() == [2]
    shop.app.close()


def test_a_worker_is_woken_by_the_commit(shop: Shop, engine: Engine, shop_url: str) -> None:
    consumer = shop.app.broker.consumer(["default"], name="w", lease=600)
    if not shop_url.startswith("mysql"):  # where a worker looks from time to time
        quiet(consumer)
    with Session(engine) as session:
        shop.mail.using(session).delay(1)
        consumer.clear()
        assert consumer.fetch(1) == []
        session.commit()
    assert readable(consumer, 5)
    consumer.clear()
    assert len(consumer.fetch(1)) == 1
    consumer.close()


def test_what_the_database_refuses_is_sqlalchemys_own_error(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(insert(orders).values(id=1))
        with pytest.raises(DBAPIError):
            session.execute(insert(orders).values(id=1))
        session.rollback()
        shop.mail.using(session).delay(1)
        session.commit()
    with Session(engine) as session:
        session.add_all([])
        with pytest.raises(PendingRollbackError):
            broken = session.begin()
            session.connection().invalidate()
            shop.mail.using(session).delay(2)
        broken.rollback()
    assert shop.waiting() == [1]
