"""What a worker makes sure of before it takes its first task: that broker and store keep what they are given."""

import logging

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.database.remark import Remark, Weight
from taskbus.errors import ConfigError, StoreError
from taskbus.store.base import Store

logger = logging.getLogger(__name__)


def must_be_shared(broker: Broker) -> None:
    """Raise ``ConfigError`` for a broker that lives inside one process: no worker could be another one."""
    if not broker.features.processes:
        raise ConfigError(f"broker {broker.safe_url} lives in one process, where no worker can reach it; use a file")


def inspect(consumer: Consumer, store: Store, *, shared: bool) -> None:
    """Log what their live settings put at risk; on the connections the worker has anyway.

    ``shared``: both are in one database, so that a risk the broker has told of is not told again in the store's words.
    A store that cannot be reached is no reason not to start: tasks then wait, unacknowledged, until it is back.

    Raises:
        ConfigError: TaskBus does not work on them as they are set.
        BrokerError: the broker cannot be used.
    """
    remarks = dict.fromkeys(consumer.examine())
    told = {remark.subject for remark in remarks if shared and remark.weight is not Weight.FINE}
    try:
        found = store.examine()
        remarks |= dict.fromkeys(each for each in found if each.weight is Weight.REFUSED or each.subject not in told)
    except StoreError as error:
        logger.warning("results: %s", error)
    for remark in remarks:
        if remark.weight is Weight.RISK:
            logger.warning("%s", _sentence(remark))
    refused = [_sentence(remark) for remark in remarks if remark.weight is Weight.REFUSED]
    if refused:
        raise ConfigError("\n".join(refused))


def _sentence(remark: Remark) -> str:
    return f"{remark.subject}: {remark.text}{f'; {remark.advice}' if remark.advice else ''}"
