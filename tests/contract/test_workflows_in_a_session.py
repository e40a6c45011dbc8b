"""A workflow that is part of the caller's own transaction: all of it with the commit, or nothing."""

from sqlalchemy import insert
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from taskbus import chord
from tests.contract.session_shop import Shop, orders
from tests.unit.workflow_rig import messages, run


def test_a_workflow_begins_with_the_commit_or_never(shop: Shop, engine: Engine) -> None:
    shop.app.store.results(())
    with Session(engine) as session:
        mail = shop.mail.using(session)
        session.execute(insert(orders).values(id=1))
        lost = chord([mail.s(1), mail.s(2)], shop.mail.si(3)).delay()
        session.rollback()
        session.execute(insert(orders).values(id=1))
        kept = chord([mail.s(4), mail.s(5)], shop.mail.si(6)).delay()
        none = chord([], mail.si(7)).delay()
        assert messages(shop.app) == []
        session.commit()
    assert shop.app.flow(lost.flow_id).view() is None
    assert sorted(shop.waiting()) == [4, 5, 7]
    assert run(shop.app) == ["mail"] * 4
    assert (kept.get(0), none.get(0)) == (6, 7)
