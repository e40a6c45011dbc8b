"""The store in memory keeps the contract of all stores."""

from pathlib import Path

from taskbus.clock import Clock
from taskbus.store.base import Store
from taskbus.store.opening import open_store
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract, FlowContract):
    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(f"memory://{folder}", clock)
