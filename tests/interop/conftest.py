"""A broker with a worker on it, for all tests of a module; each module runs once on each broker."""

from collections.abc import Iterator

import pytest

from tests.interop.stage import Stage, open_stage


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A worker that tells of each task from its start."""
    with open_stage(request.param, tmp_path_factory.mktemp(request.param)) as stage:
        stage.start_worker("--events")
        yield stage
