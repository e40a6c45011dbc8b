"""Databases on servers: their URLs, a connection a thread, transactions, what is made once, waking, and forks."""

import select
import socket
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import pytest
import sqlalchemy as sa

from taskbus.database.opening import open_database
from taskbus.database.port import OutcomeUnknown
from taskbus.database.server import ServerDatabase
from taskbus.errors import ConfigError
from taskbus.testing.transport_processes import in_child
from tests.servers import mariadb_server, postgres_server
from tests.servers.proxy import Proxy

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
SERVERS: dict[str, ModuleType] = {"postgresql": postgres_server, "mysql": mariadb_server}


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    return str(SERVERS[request.param].new_url())


@pytest.fixture
def database(url: str) -> ServerDatabase:
    return opened(url)


def opened(url: str) -> ServerDatabase:
    database = cast(ServerDatabase, open_database(url, 2.0))
    database.require(["taskbus_number"], number_table)
    return database


def number_table() -> sa.MetaData:
    metadata = sa.MetaData()
    table = sa.Table("taskbus_number", metadata, sa.Column("n", sa.Integer, primary_key=True, autoincrement=False))
    sa.Index("taskbus_number_n", table.c.n)
    return metadata


def insert(database: ServerDatabase, *numbers: int) -> None:
    database.write(lambda cursor: [cursor.execute("INSERT INTO taskbus_number VALUES (%s)", (n,)) for n in numbers])


def numbers(database: ServerDatabase) -> list[int]:
    return [n for (n,) in database.read("SELECT n FROM taskbus_number ORDER BY n")]


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("postgresql://u:p@Host/db", "postgresql://host:5432/db?schema=public"),
        ("postgres://other:secret@host:5432/db?sslmode=require", "postgresql://host:5432/db?schema=public"),
        ("postgresql+psycopg://u@host/db?schema=mine", "postgresql://host:5432/db?schema=mine"),
        ("postgresql://u@one,two:5433/db", "postgresql://one:5432,two:5433/db?schema=public"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///run/postgresql/db?schema=public"),
        ("postgresql://u:p%40ss@[::1]:5433/my%20db", "postgresql://::1:5433/my db?schema=public"),
        ("mysql://u:p@host/db", "mysql://host:3306/db"),
        ("mariadb+pymysql://x:y@HOST:3306/db?ssl_ca=/etc/ca.pem", "mysql://host:3306/db"),
        ("mysql://u@/db?unix_socket=/run/mysqld/mysqld.sock", "mysql:///run/mysqld/mysqld.sock/db"),
    ],
)
def test_urls_that_lead_to_the_same_tables_have_the_same_identity(url: str, identity: str) -> None:
    database = open_database(url)
    assert database.identity == identity
    assert not {"secret", "p@ss"} & set(repr(database).split())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://host", "names no database"),
        ("mysql://host/", "names no database"),
        ("postgresql://host:port/db", "a port is a number"),
        ("postgresql://u:secret@host/db?sslmod=require", "did you mean sslmode"),
        ("postgresql://host/db?schema=a;b", "schema"),
        ("mysql://u:secret@host/db?ssl=1", "unknown option ssl"),
        ("mysql://u:secret@host/db?schema=mine", "unknown option schema"),
        ("mysql://u:secret@host/db?ssl_verify_cert=required", "ssl_verify_cert='required' is neither true nor false"),
        ("mysql://u:secret@host/db?ssl_key=/key.pem", "name that too: ssl_cert=/path"),
        ("mysql://host/db?ssl_verify_cert=false&ssl_verify_identity=true", "needs the certificate verified"),
        ("postgresql+asyncpg://host/db", r"write postgresql\+psycopg://"),
        ("mysql+mysqldb://host/db", r"write mysql\+pymysql://"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_advice(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


# --- connections and transactions ---


def test_opening_connects_to_nothing() -> None:
    database = open_database("postgresql://nobody@127.0.0.1:1/nowhere", 0.5)
    with pytest.raises(database.errors) as caught:
        database.read("SELECT 1")
    assert "is it running" in database.explain(caught.value)


def test_a_silent_host_leaves_time_for_the_next(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        both = url.replace("127.0.0.1:", f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:", 1)
        database, started = open_database(both, 2.0), time.monotonic()
        assert database.read("SELECT 1") == [(1,)]
        assert time.monotonic() - started < 2.0
        database.close()


def test_all_who_lead_to_one_place_share_one_connection_a_thread(url: str, database: ServerDatabase) -> None:
    other = cast(ServerDatabase, open_database(url, 5.0))
    found: list[object] = []
    in_thread(lambda: found.append(database.link()))
    assert database.link() is database.link() is other.link()
    assert found[0] is not database.link()


def test_a_threads_connection_ends_with_it(database: ServerDatabase) -> None:
    found: list[Any] = []
    in_thread(lambda: found.append(database.link()))
    assert found[0].is_dead()


def test_a_transaction_happens_whole_or_not_at_all(database: ServerDatabase) -> None:
    insert(database, 1, 2)
    with pytest.raises(ZeroDivisionError), database.transaction() as cursor:
        cursor.execute("INSERT INTO taskbus_number VALUES (3)")
        raise ZeroDivisionError
    with pytest.raises(database.errors):
        insert(database, 3, 3)
    assert numbers(database) == [1, 2]


def test_a_closed_database_opens_again(database: ServerDatabase) -> None:
    insert(database, 1)
    database.close()
    assert numbers(database) == [1]


def test_a_connection_in_use_is_not_closed_by_others(database: ServerDatabase) -> None:
    with database.transaction() as cursor:
        in_thread(database.close)
        cursor.execute("INSERT INTO taskbus_number VALUES (1)")
    assert numbers(database) == [1]


def test_tables_are_made_by_whoever_comes_first_and_after_the_database_was_made_anew(database: ServerDatabase) -> None:
    threads = [threading.Thread(target=insert, args=(database, n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(database) == list(range(6))
    database.write(lambda cursor: cursor.execute("DROP TABLE taskbus_number"))
    database.close()
    assert numbers(database) == []


def test_what_was_lost_before_its_commit_is_done_again_and_a_lost_commit_is_told(url: str) -> None:
    port = int(url.split(":")[3].partition("/")[0])
    with Proxy(port) as proxy:
        database = cast(ServerDatabase, open_database(url.replace(f":{port}/", f":{proxy.port}/"), 2.0))
        database.require(["taskbus_number"], number_table)
        insert(database, 1)
        lost = proxy.lose_reply(b"INSERT INTO taskbus_number")
        insert(database, 2)
        lost.wait()
        proxy.lose_reply(b"COMMIT")
        with pytest.raises(OutcomeUnknown):
            insert(database, 3)
        assert numbers(database) == [1, 2, 3]
        database.close()


# --- waking ---


def test_a_subscriber_is_told_until_it_cancels(database: ServerDatabase) -> None:
    told = threading.Event()
    cancel = database.subscribe("results of ключ", told.set)
    database.write(lambda cursor: database.notify(cursor, ["results of ключ"]))
    assert told.wait(5)
    cancel()


def test_a_notification_read_with_an_answer_still_wakes(database: ServerDatabase) -> None:
    watch = database.watch()
    watch.listen(["topic"])
    watch.drain()
    in_thread(lambda: database.write(lambda cursor: database.notify(cursor, ["topic"])))
    assert database.read("SELECT 1") == [(1,)]
    assert select.select([watch.fileno()], [], [], 5)[0]
    watch.close()


# --- forks ---


def test_a_forked_child_opens_its_own_connection_and_ends_none_of_its_parents(database: ServerDatabase) -> None:
    outlives_two_children(database)


def outlives_two_children(database: ServerDatabase) -> None:
    insert(database, 1)
    before = database.link()
    assert in_child(lambda: insert(database, 2)) == 0
    assert in_child(database.close) == 0
    assert numbers(database) == [1, 2]
    assert database.link() is before


def test_a_forked_child_leaves_alone_what_has_the_number_of_a_closed_connection(database: ServerDatabase) -> None:
    database.link().close()  # as a statement does that ran out of time: who holds it notices when it is used again
    outlives_two_children(opened(SERVERS[database.location.dialect].new_url()))


def test_a_fork_inside_a_transaction_disturbs_neither(database: ServerDatabase) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO taskbus_number VALUES (1)")
        assert in_child(lambda: insert(database, 2)) == 0
        cursor.execute("INSERT INTO taskbus_number VALUES (3)")
    assert numbers(database) == [1, 2, 3]
