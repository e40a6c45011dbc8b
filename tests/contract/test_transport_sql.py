"""The SQL transport keeps the contract of all transports, and some promises of its own."""

from pathlib import Path

import pytest

from taskbus.testing.transport_contract import TransportContract


class TestSqliteTransport(TransportContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/broker.db"
