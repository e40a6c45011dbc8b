"""The SQL transport on MariaDB keeps the contract of all transports."""

import pytest

from taskbus.testing.transport_contract import TransportContract
from tests.servers import mariadb_server

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class TestMysqlTransport(TransportContract):
    @pytest.fixture
    def url(self) -> str:
        return mariadb_server.new_url()
