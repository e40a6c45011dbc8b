"""The part of the contract of result stores that is about dead letters."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, nextafter
from typing import Any

import pytest

from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import Bury, Change, Exhume, Filter, ForgetFailure, Purge, Store
from taskbus.store.where import parse
from taskbus.testing.clock import START
from taskbus.testing.records import FAILURE, Basis, attempted, dead, saved

AT_1, AT_3 = (datetime.fromtimestamp(START + after, UTC).isoformat() for after in (1, 3))
FILTERS: Sequence[tuple[Filter, str]] = [
    (Filter(), "abcdef"),
    (Filter(task_ids=("b", "d", "missing")), "bd"),
    (Filter(task="mail.*"), "abc"),
    (Filter(task="mail.sen?"), "ab"),
    (Filter(task="mail.[!s]*"), "c"),
    (Filter(task="MAIL.*"), ""),
    (Filter(task="mail%"), ""),
    (Filter(queue="slow"), "cd"),
    (Filter(reason="poison"), "de"),
    (Filter(reason=Reason.POISON), "de"),
    (Filter(error="ValueError"), "abf"),
    (Filter(error="builtins.ValueError"), "ab"),
    (Filter(error="Value_rror"), ""),
    (Filter(error="Error"), ""),
    (Filter(text="50% of 'it'"), "cde"),
    (Filter(text="50%of"), ""),
    (Filter(text="x' OR '1'='1"), ""),
    (Filter(older_than=START + 2), "abc"),
    (Filter(newer_than=START + 3), "def"),
    (Filter(newer_than=START + 1, older_than=START + 1), "b"),
    (Filter(older_than=nextafter(START + 2, -inf)), "ab"),
    (Filter(newer_than=nextafter(START + 3, inf)), "ef"),
    (parse(f"time>={AT_1} time<{AT_3}", START), "bc"),
    (parse(f"time>{AT_1} time<={AT_3}", START), "cd"),
    (Filter(task="mail.*", error="ValueError", older_than=START), "a"),
]


class DeadLettersContract(Basis):
    """Dead letters: listing, grouping, taking out."""

    @pytest.fixture
    def letters(self, store: Store) -> Store:
        key_error = Failure("builtins.KeyError", "50% of 'it'", "")
        own = Failure("shop.errors.ValueError", "none left", "")
        given: list[dict[str, Any]] = [
            {"task": "mail.send"},
            {"task": "mail.send"},
            {"task": "mail.check", "queue": "slow", "failure": key_error},
            {"task": "image.scale", "queue": "slow", "reason": Reason.POISON, "failure": key_error},
            {"task": "image.scale", "reason": Reason.POISON, "failure": key_error},
            {"task": "image.scale", "failure": own},
        ]
        store.apply([Bury(dead("abcdef"[at], START + at, **fields)) for at, fields in enumerate(given)])
        return store

    def test_a_letter_comes_back_with_its_bytes_and_all_attempts(self, store: Store) -> None:
        letter = dead("t1", wire=bytes(range(256)), task="名前", queue="очередь", priority=9)
        store.apply([attempted("t1", 2), Bury(letter), attempted("t1", 1)])
        (found,) = store.dead_letters(Filter(), limit=10)
        assert replace(found, attempts=()) == letter
        assert list(found.attempts) == [attempted("t1", number).attempt for number in (1, 2)]
        assert type(found.reason) is Reason

    def test_a_letter_buried_again_replaces_the_first(self, store: Store) -> None:
        store.apply([Bury(dead("t1"))])
        store.apply([Bury(dead("t1", START + 5, reason=Reason.POISON))])
        assert [(each.reason, each.dead_at) for each in store.dead_letters(Filter(), limit=9)] == [
            (Reason.POISON, START + 5)
        ]

    @pytest.mark.parametrize(("where", "expected"), FILTERS)
    def test_filters_choose_what_fits_every_field(self, letters: Store, where: Filter, expected: str) -> None:
        assert "".join(each.task_id for each in letters.dead_letters(where, limit=10)) == expected
        assert letters.count_dead_letters(where) == len(expected)
        assert sum(group.count for group in letters.dead_letter_groups(where)) == len(expected)

    def test_pages_follow_each_other_though_instants_are_equal(self, store: Store) -> None:
        store.apply([Bury(dead(f"t{number:02}", START + number // 7)) for number in reversed(range(25))])
        seen: list[str] = []
        after: tuple[float, str] | None = None
        while page := store.dead_letters(Filter(), limit=4, after=after):
            assert len(page) <= 4
            seen += [each.task_id for each in page]
            after = page[-1].dead_at, page[-1].task_id
        assert seen == [f"t{number:02}" for number in range(25)]

    def test_pages_go_from_the_newest_to_the_oldest_when_asked_to(self, store: Store) -> None:
        store.apply([Bury(dead(f"t{number:02}", START + number // 7)) for number in range(25)])
        for where in (Filter(), Filter(queue="*"), Filter(task_ids=tuple(f"t{number:02}" for number in range(25)))):
            seen: list[str] = []
            after: tuple[float, str] | None = None
            while page := store.dead_letters(where, limit=4, after=after, is_newest_first=True):
                assert len(page) <= 4
                seen += [each.task_id for each in page]
                after = page[-1].dead_at, page[-1].task_id
            assert seen == [f"t{number:02}" for number in reversed(range(25))]
        some = Filter(older_than=START + 2, newer_than=START + 1)
        ids = [each.task_id for each in store.dead_letters(some, limit=99, is_newest_first=True)]
        assert ids == [each.task_id for each in reversed(store.dead_letters(some, limit=99))] != []

    def test_letters_alike_are_one_group_with_the_newest_as_its_example(self, letters: Store) -> None:
        newer = replace(FAILURE, message="no such page: 8")
        letters.apply([Bury(dead("z", START + 9, task="mail.send", failure=newer))])
        largest, *others = letters.dead_letter_groups(Filter())
        assert (largest.task, largest.reason, largest.error) == (
            "mail.send", Reason.RETRIES_EXHAUSTED, "builtins.ValueError",
        )  # fmt: skip
        assert (largest.count, largest.first_at, largest.last_at) == (3, START, START + 9)
        assert (largest.example, largest.message) == ("z", "no such page: 8")
        assert [(each.task, each.reason, each.count) for each in others] == [
            ("image.scale", Reason.POISON, 2),
            ("image.scale", Reason.RETRIES_EXHAUSTED, 1),
            ("mail.check", Reason.RETRIES_EXHAUSTED, 1),
        ]

    def test_exhuming_takes_the_letter_its_attempts_and_its_result(self, store: Store) -> None:
        store.apply([attempted("t1", 1), Bury(dead("t1")), saved("t1", State.FAILURE, failure=FAILURE)])
        store.apply([attempted("t2", 1), Bury(dead("t2")), saved("t2", State.FAILURE, failure=FAILURE)])
        assert store.apply([Exhume("t1")])
        assert [each.task_id for each in store.dead_letters(Filter(), limit=9)] == ["t2"]
        assert store.attempts(["t1", "t2"]).keys() == {"t2"}
        assert store.results(["t1", "t2"]).keys() == {"t2"}
        store.apply([saved("t1", value=b"replayed")])
        assert store.results(["t1"])["t1"].state is State.SUCCESS

    def test_exhuming_what_is_not_there_writes_nothing_at_all(self, store: Store) -> None:
        store.apply([Bury(dead("t1"))])
        assert not store.apply([saved("t9"), Exhume("t1"), Exhume("missing")])
        assert not store.apply([Exhume("t1"), Exhume("t1")])
        assert store.results(["t9"]) == {}
        assert store.count_dead_letters(Filter()) == 1

    def test_changes_of_one_set_are_written_in_their_order(self, store: Store) -> None:
        failed = saved("t1", State.FAILURE, failure=FAILURE)
        changes: Sequence[Change] = [
            Bury(dead("t1")),
            failed,
            Exhume("t1"),
            saved("t1", value=b"late"),
            attempted("t1", 7),
        ]
        assert store.apply(changes)
        assert store.results(["t1"])["t1"].value == b"late"
        assert [each.attempt for each in store.attempts(["t1"])["t1"]] == [7]
        assert store.count_dead_letters(Filter()) == 0

    def test_purging_deletes_the_letter_and_its_attempts_but_not_the_result(self, store: Store) -> None:
        store.apply([attempted("t1", 1), Bury(dead("t1")), saved("t1", State.FAILURE, failure=FAILURE)])
        store.apply([attempted("alive", 1)])
        assert store.apply([Purge("t1"), Purge("alive"), Purge("missing")])
        assert store.count_dead_letters(Filter()) == 0
        assert store.attempts(["t1", "alive"]).keys() == {"alive"}
        assert store.results(["t1"])["t1"].state is State.FAILURE

    def test_only_the_letter_of_that_instant_is_purged_and_its_attempts_with_it(self, store: Store) -> None:
        times = {"t1": 0.1, "t2": 1 / 3, "t3": 1e-6}
        store.apply([attempted(id, 1) for id in times] + [Bury(dead(id, START + time)) for id, time in times.items()])
        changes: Sequence[Change] = [
            Purge("t1", START + 0.1), Purge("t2", START + 0.1), Purge("missing", START), Bury(dead("t3", START + 5)),
            Purge("t3", START + 1e-6),
        ]  # fmt: skip
        assert store.apply(changes)
        found = [(each.task_id, each.dead_at) for each in store.dead_letters(Filter(), limit=9)]
        assert found == [("t2", START + 1 / 3), ("t3", START + 5)]
        assert store.attempts(["t1", "t2", "t3"]).keys() == {"t2", "t3"}
        assert store.apply([Purge("t2", START + 1 / 3), Purge("t3", START + 5)])
        assert (store.count_dead_letters(Filter()), store.attempts(["t2", "t3"])) == (0, {})

    @pytest.mark.parametrize("state", [State.FAILURE, State.REVOKED])
    def test_a_failure_is_forgotten_while_its_letter_stays(self, store: Store, state: State) -> None:
        letter = dead("t1", START + 0.1)
        store.apply([attempted("t1", 1), Bury(letter), saved("t1", state, failure=FAILURE), saved("t2", state)])
        for _ in range(2):
            assert store.apply([ForgetFailure("t1", START + 0.1)])
            assert store.results(["t1", "t2"]).keys() == {"t2"}
        assert [replace(each, attempts=()) for each in store.dead_letters(Filter(), limit=9)] == [letter]
        assert store.attempts(["t1"]).keys() == {"t1"}
        store.apply([saved("t1", value=b"replayed")])
        assert store.results(["t1"])["t1"].value == b"replayed"

    @pytest.mark.parametrize("state", [State.SUCCESS, State.STARTED, State.RETRY])
    def test_what_is_no_failure_is_not_forgotten(self, store: Store, state: State) -> None:
        task = "a.task.of.a.very.long.name." * 20
        store.apply([Bury(dead("t1")), saved("t1", state, value=b"\xff" * 100_000, task=task)])
        assert store.apply([ForgetFailure("t1", START)])
        assert store.results(["t1"])["t1"].state is state

    def test_a_failure_whose_letter_is_gone_or_another_one_stays_with_all_else(self, store: Store) -> None:
        failed = saved("t1", State.FAILURE, failure=FAILURE)
        store.apply([Bury(dead("t1", START + 1)), failed])
        for refused in (ForgetFailure("t1", START), ForgetFailure("missing", START)):
            assert store.apply([ForgetFailure("t1", START + 1), saved("t9"), refused]) is None
        assert store.apply([Exhume("t1"), ForgetFailure("t1", START + 1)]) is None
        assert store.results(["t1", "t9"]).keys() == {"t1"}
        assert store.count_dead_letters(Filter()) == 1
