"""Marks every test of this folder as part of the crash suite, and gives cells their servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .town import Town

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("crash")


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """The servers that the cells of one module share."""
    with Town() as town:
        yield town
