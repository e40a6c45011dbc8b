"""``task.using(session)``: what is refused, processes that die, and other users and drivers of the same databases."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from taskbus import TaskBus
from taskbus.errors import ConfigError, PublishFailed
from taskbus.testing.transport_basis import DEADLINE
from tests.contract.session_shop import Shop, orders, sqlalchemys
from tests.servers import mariadb_server, postgres_server

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- what cannot be joined ---


def test_a_file_whose_tables_cannot_be_made_for_the_callers_own_lock_says_so(tmp_path: Path) -> None:
    app = TaskBus("shop", broker=f"sqlite:///{tmp_path}/new.db", publish_timeout=0.1)

    @app.task
    def mail(order: int) -> None: ...

    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    with Session(engine) as session:
        session.execute(text("CREATE TABLE orders (id INTEGER)"))
        session.execute(insert(orders).values(id=1))
        with pytest.raises(PublishFailed, match="open the broker before that begins"):
            mail.using(session).delay(1)
        session.rollback()
        mail.using(session).delay(1)
        session.commit()
    assert len(app.broker.peek("default", 9)) == 1
    engine.dispose()
    app.close()


def test_a_broker_that_is_not_sql_says_what_to_do(engine: Engine) -> None:
    shop = Shop("memory://using", results="memory://using")
    with Session(engine) as session, pytest.raises(ConfigError, match="make that database the broker, or send after"):
        shop.mail.using(session).delay(1)
    shop.app.close()


def test_another_database_is_refused(shop: Shop, shop_url: str, tmp_path: Path) -> None:
    others = [f"sqlite:///{tmp_path}/other.db", "sqlite://"]
    if shop_url.startswith("postgresql"):
        others.append(sqlalchemys(shop_url).removesuffix("taskbus") + "postgres")
    if shop_url.startswith("mysql"):
        others.append(sqlalchemys(mariadb_server.new_url()))
    for other in others:
        engine = create_engine(other)
        with Session(engine) as session, pytest.raises(ConfigError, match="in another database") as caught:
            shop.mail.using(session).delay(1)
        assert "s3cret" not in str(caught.value)
        engine.dispose()
    assert shop.waiting() == []


def test_a_session_with_a_time_zone_and_date_style_of_its_own_is_in_the_same_database(
    shop: Shop, shop_url: str
) -> None:
    if not shop_url.startswith("postgresql"):
        pytest.skip("PostgreSQL writes times as the session wants them")
    options = {"options": "-c timezone=Asia/Tokyo -c datestyle=German"}
    engine = create_engine(sqlalchemys(shop_url), connect_args=options)
    with Session(engine) as session, session.begin():
        shop.mail.using(session).delay(1)
    assert shop.waiting() == [1]
    engine.dispose()


def test_a_session_that_commits_by_itself_is_refused(shop: Shop, shop_url: str) -> None:
    engine = create_engine(sqlalchemys(shop_url), isolation_level="AUTOCOMMIT")
    with Session(engine) as session, pytest.raises(ConfigError, match="AUTOCOMMIT"):
        shop.mail.using(session).delay(1)
    engine.dispose()
    engine = create_engine(sqlalchemys(shop_url))
    with engine.connect() as connection, pytest.raises(ConfigError, match="AUTOCOMMIT"):
        shop.mail.using(connection.execution_options(isolation_level="AUTOCOMMIT")).delay(1)
    engine.dispose()
    assert shop.waiting() == []


def test_sqlalchemy_is_not_loaded_by_those_who_do_not_use_it() -> None:
    program = (
        "import sys\nfrom taskbus import TaskBus\napp = TaskBus('x', broker='memory://x')\n"
        "@app.task\ndef f(): ...\nf.delay()\n"
        "try:\n    f.using(object())\n"
        "except Exception as error:\n    assert 'takes a SQLAlchemy Session' in str(error)\n"
        "else:\n    sys.exit(2)\nsys.exit('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=DEADLINE).returncode == 0


# --- processes that die ---

SENDER = """
import os, signal, sys
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from taskbus import TaskBus
app = TaskBus("shop", broker=sys.argv[1])
@app.task(name="shop.mail")
def mail(order: int) -> None: ...
app.broker
session = Session(create_engine(sys.argv[2]))
session.execute(text("INSERT INTO orders (id) VALUES (1)"))
mail.using(session).delay(1)
if sys.argv[3] == "before":
    os.kill(os.getpid(), signal.SIGKILL)
session.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_is_killed_leaves_its_data_and_its_task_or_neither(
    shop: Shop, shop_url: str, engine: Engine, moment: str
) -> None:
    died = subprocess.run([sys.executable, "-c", SENDER, shop_url, sqlalchemys(shop_url), moment], timeout=60)
    assert died.returncode == -signal.SIGKILL
    with engine.connect() as connection:
        written = connection.scalar(select(func.count()).select_from(orders))
    assert (written, shop.waiting()) == ((1, [1]) if moment == "after" else (0, []))


# --- other users and drivers of the same databases ---


def test_a_user_that_may_only_send_needs_no_more_than_the_page_says() -> None:
    url, server = str(postgres_server.new_url()), postgres_server.shared_server()
    shop, schema = Shop(url), url.rpartition("=")[2]
    assert shop.waiting() == []
    server.run("CREATE USER web PASSWORD 's3cret'")
    page = (Path(__file__).parents[2] / "docs/howto/send_in_a_transaction.md").read_text()
    grants = page.partition("```sql\n")[2].partition("```")[0].replace("SCHEMA public", f"SCHEMA {schema}")
    assert grants.count("GRANT") == 5
    with server.connect() as connection:
        connection.execute(f"SET search_path TO {schema}; {grants}".encode())
    engine = create_engine(sqlalchemys(url).replace("//taskbus:", "//web:"))
    with Session(engine) as session, session.begin():
        shop.mail.using(session).delay(1)
    with engine.connect() as web, pytest.raises(DBAPIError, match="permission denied"):
        web.execute(text(f"DELETE FROM {schema}.taskbus_message"))
    assert shop.waiting() == [1]
    engine.dispose()
    shop.app.close()


@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "postgresql+pg8000", "mysql+mysqldb"])
def test_a_session_may_use_another_driver(driver: str) -> None:
    pytest.importorskip(driver.partition("+")[2].replace("mysqldb", "MySQLdb"))
    url = str(postgres_server.new_url() if driver.startswith("postgresql") else mariadb_server.new_url())
    shop, engine = Shop(url), create_engine(sqlalchemys(url, driver))
    with Session(engine) as session:
        for order in (1, 2):
            shop.mail.using(session).options(countdown=(order - 1) * 1000, task_id=f"ключ-{order}").delay(
                order, "текст %s"
            )
        assert shop.waiting() == []
        session.commit()
    assert shop.waiting() == [1, 2]
    engine.dispose()
    shop.app.close()


@pytest.mark.parametrize(
    ("driver", "module"),
    [
        ("postgresql+psycopg", "psycopg"),
        ("postgresql+asyncpg", "asyncpg"),
        ("sqlite+aiosqlite", "aiosqlite"),
    ],
)
def test_an_async_session_is_joined_by_adelay(driver: str, module: str, tmp_path: Path) -> None:
    pytest.importorskip("greenlet")
    pytest.importorskip(module)
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    urls = {"postgresql": postgres_server.new_url, "mysql": mariadb_server.new_url}
    scheme = driver.partition("+")[0]
    url = str(urls[scheme]()) if scheme in urls else f"sqlite:///{tmp_path}/shop.db"
    shop = Shop(url)

    async def main() -> None:
        engine = create_async_engine(sqlalchemys(url, driver))
        async with AsyncSession(engine) as session:
            with pytest.raises(ConfigError, match=r"await task\.using"):
                shop.mail.using(session).delay(1)
            await shop.mail.using(session).adelay(1)
            await session.rollback()
            await shop.mail.using(session).options(countdown=5).adelay(2, "ключ")
            assert shop.waiting() == []
            await session.commit()
        async with engine.begin() as connection:
            await shop.mail.using(connection).adelay(3)
        await engine.dispose()

    asyncio.run(main())
    assert shop.waiting() == [3, 2]
    shop.app.close()


def test_a_plain_session_may_be_used_from_async_code(shop: Shop, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        asyncio.run(_send_async(shop, session))
        assert shop.waiting() == []
    assert shop.waiting() == [1]


async def _send_async(shop: Shop, session: Session) -> None:
    await shop.mail.using(session).adelay(1)


def test_a_forked_child_sends_in_a_transaction_of_its_own(shop: Shop, engine: Engine, shop_url: str) -> None:
    with Session(engine) as session, session.begin():
        shop.mail.using(session).delay(1)
    engine.dispose()
    child = os.fork()
    if not child:
        status = 1
        try:
            own = create_engine(sqlalchemys(shop_url))
            with Session(own) as session, session.begin():
                shop.mail.using(session).delay(2)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert shop.waiting() == [1, 2]
