"""Lists of what is at hand take the same filters as the command line."""

import pytest

from taskbus.web.house import House
from taskbus.web.shapes.basis import Role
from tests.web.conftest import Visitor


def test_queues_are_found_by_name_and_by_how_they_stand(house: House, visitor: Visitor) -> None:
    house.app.send("mail.send", queue="mail")
    visitor(Role.OPERATOR).post("/api/v1/queues/images/pause", json={})

    def names(where: str) -> list[str]:
        listed = visitor(Role.VIEWER).get("/api/v1/queues", params={"where": where}).json()
        assert listed["count"] == len(listed["items"])
        return [item["name"] for item in listed["items"]]

    assert names("") == ["images", "mail"]
    assert names("is:paused") == names("is:empty") == ["images"]
    assert names("name:ma*") == ["mail"]


@pytest.mark.parametrize("noun", ["queues", "nodes", "schedules", "flows"])
def test_a_filter_that_cannot_be_read_is_refused_with_what_could_be(noun: str, visitor: Visitor) -> None:
    answer = visitor(Role.VIEWER).get(f"/api/v1/{noun}", params={"where": "colour:red"})
    assert answer.status_code == 400 and "colour" in answer.json()["error"]
