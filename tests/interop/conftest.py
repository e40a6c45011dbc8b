"""Brokers for all tests of this folder, and a worker on one for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.interop.stage import Place, Stage, open_place


@pytest.fixture(scope="session", params=["redis", "rabbitmq"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Each broker in turn, once for all modules of this process."""
    with open_place(request.param) as place:
        yield place


@pytest.fixture(scope="module")
def stage(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A worker that tells of each task from its start."""
    stage = Stage(tmp_path_factory.mktemp("stage"), place)
    try:
        stage.start_worker("--events")
        yield stage
    finally:
        stage.close()
