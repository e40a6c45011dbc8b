"""The table of Celery's settings, judged by Celery: every name, former name and default, and none too many."""

import pytest
from celery.app.defaults import _TO_OLD_KEY, NAMESPACES, flatten

from taskbus.celery_settings import celery_settings, is_default

CELERYS = dict(flatten(NAMESPACES))


def test_the_table_has_every_setting_of_celery_and_no_other() -> None:
    assert list(celery_settings()) == sorted(CELERYS)
    assert len(CELERYS) == 207


@pytest.mark.parametrize("name", sorted(CELERYS))
def test_a_default_and_a_former_name_are_celerys(name: str) -> None:
    setting = celery_settings()[name]
    assert is_default(CELERYS[name].default, setting.default)
    assert setting.old_name == _TO_OLD_KEY.get(name, "")
