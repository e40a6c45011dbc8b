"""``taskbus worker -B``: a beat in the supervisor's process. It runs no user code: the hello says what to send."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from taskbus.beat.beat import Beat
from taskbus.beat.publishing import Places
from taskbus.beat.reporting import reported
from taskbus.beat.running import beating
from taskbus.broker.broker import Broker
from taskbus.config import Config
from taskbus.store.base import Store
from taskbus.store.schedule_bytes import unpack_schedule
from taskbus.store.schedule_opening import open_schedules


@contextmanager
def beat_beside(hello: dict[str, Any], broker: Broker, store: Store, config: Config) -> Iterator[Beat]:
    """Run a beat for the schedules of the app that said ``hello``, while the block is."""
    declared = [unpack_schedule(each) for each in hello["schedules"]]
    with closing(open_schedules(hello["results"])) as schedules:
        is_one = bool(broker.database) and broker.database == schedules.database
        beat = Beat(Places(broker, store, schedules, config, is_one), declared, hello["app"])
        with beating(beat), reported(beat, hello["results"], config, hello["app"]):
            yield beat
