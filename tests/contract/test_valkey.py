"""Valkey is as good as Redis: broker and store keep their contracts on it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.clock import Clock
from taskbus.store.base import Store
from taskbus.store.opening import open_store
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.store_contract import StoreContract
from taskbus.testing.transport_contract import TransportContract
from tests.servers.redis_server import ValkeyServer

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


def test_what_is_tested_here_is_valkey(server: ValkeyServer) -> None:
    assert b"valkey_version:" in server.cli("INFO", "server")


class TestValkeyTransport(TransportContract):
    @pytest.fixture
    def url(self, server: ValkeyServer, tmp_path: Path) -> str:
        return f"{server.url}?prefix=test{next(_numbers)}"


class TestValkeyStore(StoreContract, FlowContract):
    @pytest.fixture(autouse=True)
    def found(self, server: ValkeyServer) -> None:
        self.url = f"{server.url}?prefix={{folder}}"

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url.format(folder=folder), clock)
