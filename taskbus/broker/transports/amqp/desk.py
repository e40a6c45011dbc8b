"""A connection and what is done over it: topology and publishing."""

from taskbus.broker.transports.amqp.address import Address
from taskbus.broker.transports.amqp.line import Line
from taskbus.broker.transports.amqp.naming import Naming
from taskbus.broker.transports.amqp.publisher import Publisher
from taskbus.broker.transports.amqp.topology import Topology


class Desk:
    """A storage has one, and a second one for publishing once it holds deliveries as well."""

    def __init__(self, address: Address, naming: Naming, other: "Desk | None" = None) -> None:
        self.naming = naming
        self.line = Line(address)
        self.topology: Topology = Topology(self.line, naming, None if other is None else other.topology)
        self.publisher = Publisher(self.line, self.topology)
