"""A delivery lost with several workers is looked at alone, so that it can take nobody along."""

from taskbus.broker.delivery import Act, Delivery
from taskbus.worker.quarantine import BACK_FOR, Quarantine


def delivery(tag: int, losses: int = 0) -> Delivery:
    return Delivery(tag, "default", b"wire", "x", 0, 1, losses=losses)


def test_what_was_seldom_lost_is_looked_at_at_once() -> None:
    quarantine = Quarantine(max_losses=10)
    fetched = [delivery(1), delivery(2, losses=4)]
    assert quarantine.set_apart(fetched) == (fetched, [])
    assert not quarantine.is_closed


def test_one_that_was_often_lost_waits_until_the_worker_is_idle_and_is_alone_until_it_is_again() -> None:
    quarantine = Quarantine(max_losses=10)
    dangerous = delivery(2, losses=5)
    rest, given_back = quarantine.set_apart([delivery(1), dangerous])
    assert ([each.tag for each in rest], given_back, quarantine.is_closed) == ([1], [], True)
    assert quarantine.next(is_idle=False) is None
    assert quarantine.next(is_idle=True) is dangerous
    assert quarantine.is_closed
    assert quarantine.next(is_idle=False) is None
    assert quarantine.next(is_idle=True) is None
    assert not quarantine.is_closed


def test_of_several_one_is_kept_and_the_others_go_back() -> None:
    quarantine = Quarantine(max_losses=3)
    rest, given_back = quarantine.set_apart([delivery(1, losses=1), delivery(2, losses=2)])
    assert rest == []
    assert [(each.delivery.tag, each.act, each.delay) for each in given_back if each.delivery] == [
        (2, Act.RELEASE, BACK_FOR)
    ]


def test_what_is_kept_is_given_back_when_the_worker_stops() -> None:
    quarantine = Quarantine(max_losses=2)
    quarantine.set_apart([delivery(7, losses=1)])
    (given_back,) = quarantine.give_up()
    assert given_back.delivery is not None and given_back.delivery.tag == 7
    assert not quarantine.is_closed and quarantine.give_up() == []
