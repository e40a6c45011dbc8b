"""What the doctor says of a version's habits, of queues from before an upgrade to 4.x, and of the consumer_timeout."""

from types import SimpleNamespace
from typing import Any

import pytest

from taskbus.broker.transports.amqp import address, examination
from taskbus.broker.transports.amqp.calls import PRECONDITION_FAILED, Refused
from taskbus.broker.transports.amqp.naming import Naming
from taskbus.database.remark import Remark, Weight
from taskbus.errors import ConfigError

URL = "amqp://guest:guest@127.0.0.1:5672/"
FULL = "default"


class Broker:
    """A RabbitMQ of a version, with one queue that is there; it compares arguments as RabbitMQ does."""

    def __init__(self, version: str, arguments: dict[str, Any], url: str = URL) -> None:
        self.server = {"product": "RabbitMQ", "version": version}
        self.arguments = arguments
        where = address.read(url)
        self.naming = Naming(where)
        self.others = {FULL}
        self.line = SimpleNamespace(address=where, wire=lambda until: self, calls=lambda until: self)

    def ask(self, method: object, zero: int, full: str, *rest: Any, until: float) -> None:
        declared = rest[-1]
        for name in sorted(declared.keys() | self.arguments.keys()):
            wanted, current = declared.get(name), self.arguments.get(name)
            if wanted != current:
                told = "none" if current is None else f"the value '{current}' of type '{_type(current)}'"
                text = f"inequivalent arg '{name}' for queue '{full}' in vhost '/': but current is {told}"
                raise Refused(PRECONDITION_FAILED, text)

    def count(self, full: str, until: float) -> tuple[int, int]:
        return 0, 0

    def present(self, name: str, level: str, until: float) -> str:
        return name


def _type(value: object) -> str:
    return "signedint" if isinstance(value, int) else "longstr"


def queue_type(broker: Broker) -> Remark:
    remarks = examination.examine(broker, [FULL], 1.0)  # type: ignore[arg-type]  # stands for a topology
    (remark,) = [remark for remark in remarks if remark.subject == "queue type"]
    return remark


def as_declared_on(version: str) -> dict[str, Any]:
    """The arguments that TaskBus gave to a queue on that version."""
    return Naming(address.read(URL)).arguments({"version": version})


@pytest.mark.parametrize(("version", "arguments", "weight", "limit"), [
    ("4.1.2", as_declared_on("3.10.8"), Weight.RISK, "more than 20 times"),
    ("4.1.2", as_declared_on("4.1.2"), Weight.FINE, ""),
    ("3.13.7", as_declared_on("3.10.8"), Weight.FINE, ""),
    ("4.1.2", {"x-queue-type": "quorum", "x-delivery-limit": 7}, Weight.RISK, "more than 7 times"),
    ("3.13.7", {"x-queue-type": "quorum", "x-delivery-limit": 7}, Weight.RISK, "more than 7 times"),
    ("4.1.2", {"x-queue-type": "quorum", "x-delivery-limit": -1}, Weight.FINE, ""),
])  # fmt: skip
def test_a_queue_that_gives_up_after_some_losses_is_a_risk(
    version: str, arguments: dict[str, Any], weight: Weight, limit: str
) -> None:
    remark = queue_type(Broker(version, arguments))
    assert (remark.weight, limit in remark.text) == (weight, True)
    assert "more than" in remark.text if limit else "more than" not in remark.text
    assert ("let it run empty and delete it" in remark.advice) is (weight is Weight.RISK)


def test_a_quorum_queue_from_before_is_a_risk_also_to_who_wants_classic_ones() -> None:
    broker = Broker("4.0.5", as_declared_on("3.12.1"), f"{URL}?queue_type=classic")
    assert "more than 20 times" in queue_type(broker).text


def test_what_the_url_says_of_the_consumer_timeout_is_said_back() -> None:
    texts = {}
    for option in ("", "?consumer_timeout=0", "?consumer_timeout=7200"):
        remarks = examination.examine(Broker("3.10.8", {}, URL + option), [], 1.0)  # type: ignore[arg-type]
        (remark,) = [remark for remark in remarks if remark.subject == "consumer_timeout"]
        assert remark.weight is Weight.FINE
        texts[option] = remark.text
    assert "30 minutes unless" in texts[""]
    assert texts["?consumer_timeout=0"] == "the URL says that the broker has none"
    assert "7200 seconds, as the URL says" in texts["?consumer_timeout=7200"]


@pytest.mark.parametrize(("version", "option", "is_told"), [
    ("3.10.8", "", True),
    ("3.10.25", "", True),
    ("3.10.8", "?queue_type=classic", False),
    ("3.11.0", "", False),
    ("3.13.7", "", False),
    ("4.0.5", "", False),
])  # fmt: skip
def test_a_version_that_forgets_young_queues_is_told_of_with_what_to_do(
    version: str, option: str, is_told: bool
) -> None:
    remarks = examination.examine(Broker(version, {}, URL + option), [], 1.0)  # type: ignore[arg-type]
    young = [remark for remark in remarks if remark.subject == "young queues"]
    (durability,) = [remark for remark in remarks if remark.subject == "durability"]
    assert (len(young), "younger than a second" in durability.text) == (is_told, is_told)
    for remark in young:
        assert remark.weight is Weight.FINE  # or a worker would log it at each of its starts
        assert "younger than a second" in remark.text and "three minutes late" in remark.text
        for cure in ("start a worker before the first tasks", "three nodes", "delete_queue", "confirm_timeout"):
            assert cure in remark.advice


@pytest.mark.parametrize("text", ["", "2h", "-1", "1.5"])
def test_a_consumer_timeout_that_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no number of seconds; write consumer_timeout=7200"):
        address.read(f"{URL}?consumer_timeout={text}")
