"""The table of Celery's settings, as far as it can be judged without Celery; with it: tests/contrib."""

import dataclasses

import pytest

from taskbus import Config
from taskbus.celery_settings import Verdict, celery_settings, present_name


def test_every_setting_that_takes_the_place_of_one_exists() -> None:
    ours = {field.name for field in dataclasses.fields(Config)}
    assert {setting.becomes for setting in celery_settings().values()} - {""} <= ours


def test_every_row_says_what_to_know_and_the_same_has_a_setting() -> None:
    for setting in celery_settings().values():
        assert setting.words, setting.name
        assert setting.becomes or setting.verdict is not Verdict.SAME, setting.name
        assert not setting.becomes or setting.verdict in (Verdict.SAME, Verdict.DIFFERS), setting.name


@pytest.mark.parametrize(
    ("name", "namespace", "present"),
    [
        ("task_acks_late", "", "task_acks_late"),
        ("CELERY_ACKS_LATE", "", "task_acks_late"),
        ("CELERYD_CONCURRENCY", "", "worker_concurrency"),
        ("BROKER_URL", "", "broker_url"),
        ("CELERY_BROKER_URL", "CELERY", "broker_url"),
        ("CELERY_TASK_ALWAYS_EAGER", "CELERY", "task_always_eager"),
        ("CELERY_ALWAYS_EAGER", "CELERY", "task_always_eager"),
        ("SECRET_KEY", "CELERY", None),
        ("BROKER_URL", "CELERY", None),
        ("task_ack_late", "", None),
    ],
)
def test_a_setting_is_known_by_its_present_and_former_names(name: str, namespace: str, present: str | None) -> None:
    assert present_name(name, namespace) == present
