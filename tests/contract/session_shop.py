"""A shop whose orders and tasks are in one database: what the tests of sending in a transaction are about."""

from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table

from taskbus import TaskBus
from taskbus.broker.delivery import Delivery
from taskbus.message import Message
from taskbus.wire import compact

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True))


def sqlalchemys(url: str, driver: str = "") -> str:
    """The same database as SQLAlchemy writes it; on PostgreSQL the session does not look in TaskBus's schema."""
    scheme, _, rest = url.partition("://")
    return f"{driver or DRIVERS[scheme]}://{rest.partition('?')[0]}"


class Shop:
    """An application with one task, its tables made."""

    def __init__(self, url: str, **given: Any) -> None:
        self.app = TaskBus("shop", broker=url, **given)

        @self.app.task(name="shop.mail")
        def mail(order: int, text: str = "") -> int:
            return order

        self.mail = mail
        self.waiting()  # on SQLite nobody can make tables while a transaction has written

    def waiting(self, queue: str = "default") -> list[int]:
        """The orders for which a mail waits to be sent."""
        return [self.mail.unpack(message_of(each))[0][0] for each in self.app.broker.peek(queue, 1000)]


def message_of(delivery: Delivery) -> Message:
    return compact.decode(delivery.wire, delivery.queue, delivery.priority, 1 << 30)
