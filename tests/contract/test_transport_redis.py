"""The Redis transport keeps the contract of all transports, on a real server."""

import itertools
from pathlib import Path

import pytest

from taskbus.testing.transport_contract import TransportContract
from tests.servers.redis_server import RedisServer

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
_numbers = itertools.count()


class TestRedisTransport(TransportContract):
    @pytest.fixture
    def url(self, server: RedisServer, tmp_path: Path) -> str:
        return f"{server.url}?prefix=test{next(_numbers)}"
