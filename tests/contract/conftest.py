"""What several contract tests use: a shop in each SQL database, a Redis and a Redis Cluster for each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from tests.contract.session_shop import Shop, orders, sqlalchemys
from tests.servers import mariadb_server, postgres_server
from tests.servers.redis_server import RedisCluster, RedisServer


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def shop_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that is empty and nobody else's."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    return str(postgres_server.new_url() if request.param == "postgresql" else mariadb_server.new_url())


@pytest.fixture
def engine(shop_url: str) -> Iterator[Engine]:
    """SQLAlchemy's own way to the shop's database, with its table of orders."""
    engine = create_engine(sqlalchemys(shop_url))
    orders.drop(engine, checkfirst=True)
    orders.create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def shop(shop_url: str) -> Iterator[Shop]:
    shop = Shop(shop_url)
    yield shop
    shop.app.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
