"""Cron lines in every zone of the zone database, over ten years; a few zones are always tried by the unit tests."""

from zoneinfo import available_timezones

import pytest

from tests.unit.schedule_oracle import compare


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("begin", sorted({name[:6] for name in available_timezones()}))
def test_ten_years_are_as_the_oracle_says_in_every_zone(begin: str) -> None:
    for zone in sorted(name for name in available_timezones() if name[:6] == begin):
        assert compare(zone) > 1000
