"""The memory transport keeps the contract of all transports, as far as one process goes."""

from pathlib import Path

import pytest

from taskbus.testing.transport_contract import TransportContract


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path}"
