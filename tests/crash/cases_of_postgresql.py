"""The named cases that only PostgreSQL has: terminated backends, a dead listener, transactions to be done again."""

from dataclasses import replace

from . import producer
from .cases import GATE, RULES, is_complete, running
from .cases_of_networks import BACK_WITHIN, back_at_work, lasts
from .checker import Verdict
from .harness import Cell
from .homes import PostgresSchema
from .place import Place
from .registry import Cases

case = Cases(("postgresql",))


@case("45", "every backend is terminated, again and again, while tasks are sent and run")
def terminated_backends(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        cell.send("hold", GATE)
        running(cell, 1)
        for _ in range(15):
            cell.send("quick")
            cell.send("flaky")
            server.terminate("true")
            lasts(cell, 0.3)
        cell.open(GATE)
        back_at_work(cell, worker)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        assert worker.process.returncode == 0
        return verdict


@case("45b", "the connection that listens for wake-ups is dead: an idle worker finds new tasks within 5 s all the same")
def dead_listener(place: Place) -> Verdict:
    with place.wired() as (place, proxy), Cell(place) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        for _ in range(2):
            lasts(cell, 0.5)
            proxy.cut()
            id = cell.new_id()
            producer.send(cell.eye, cell.ledger, "quick", id)
            cell.until(lambda id=id: cell.of("end", id), "a task sent past the dead connection to end", 5.0 + 1.0)
        return cell.finish()


@case("45c", "an immediate shutdown, and recovery, while tasks are sent and run")
def immediate_shutdown(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        process = cell.produce([("quick", cell.new_id(), {}) for _ in range(300)])
        cell.until(lambda: len(cell.of("pub_ok")) > 60, "some sends to be accepted")
        with cell.outage("immediate"):
            server.stop_immediately()
            server.start()
        cell.until(lambda: process.poll() is not None, "the producer to end", 60.0)
        back_at_work(cell, worker)
        return cell.finish()


TROUBLE = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF random() < 0.15 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '%s'; END IF;
  RETURN coalesce(NEW, OLD);
END $$;
"""


@case("46", "one statement in seven fails to serialize: done again inside, nothing is seen of it")
def serialization_failures(place: Place) -> Verdict:
    return _trouble(place, "40001")


@case("46b", "one statement in seven is the victim of a deadlock: done again inside, nothing is seen of it")
def deadlocks(place: Place) -> Verdict:
    return _trouble(place, "40P01")


def _trouble(place: Place, code: str) -> Verdict:
    with Cell(place) as cell:
        assert isinstance(place.broker, PostgresSchema)
        schema = place.broker
        schema.execute(TROUBLE % code)
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE '%message%'"
        for (table,) in schema.execute(tables):
            schema.execute(
                f"CREATE TRIGGER trouble BEFORE INSERT OR UPDATE OR DELETE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION trouble()"
            )
        cell.worker()
        cell.send("quick", count=20)
        cell.send("flaky", count=5)
        cell.send("quick", countdown=0.5, count=5)
        cell.send("rejected", "never", count=3, expect="dead")
        verdict = cell.finish()
        assert verdict.reruns == verdict.rejected == 0, verdict
        return verdict
