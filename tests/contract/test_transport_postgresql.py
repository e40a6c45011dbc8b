"""The SQL transport on PostgreSQL keeps the contract of all transports."""

import pytest

from taskbus.testing.transport_contract import TransportContract
from tests.servers import postgres_server

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class TestPostgresqlTransport(TransportContract):
    @pytest.fixture
    def url(self) -> str:
        return postgres_server.new_url()
