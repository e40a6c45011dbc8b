"""What a workflow is planned as: the exact nodes of each shape, and a cost that grows with its tasks alone."""

from collections.abc import Iterable
from typing import Any

import pytest

from taskbus import Context, TaskBus, chain, chord, codec, group
from taskbus.errors import BadArguments, ConfigError, PayloadTooLarge
from taskbus.message import CHUNK, COPY, FLOW, TAKES, Message, generation
from taskbus.store.flows import Node, Policy, When
from taskbus.wire import compact
from taskbus.workflow import graph
from taskbus.workflow.flows import stamped
from taskbus.workflow.graph import plan
from taskbus.workflow.plan import Plan
from taskbus.workflow.replacing import replacement

NOW = 1_800_000_000.0
app = TaskBus("graph", broker="memory://graph", max_message_bytes=10_000)


@app.task(name="a")
def a(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="b", queue="other", priority=7, result_ttl=60.0)
def b(ctx: Context, x: Any, y: int = 0) -> int:
    return y


@app.task(name="c", store_results=False)
def c(values: list[Any]) -> int:
    return len(values)


@app.task(name="d")
def d() -> None: ...


def planned(shape: Any, **more: Any) -> Plan:
    return plan(shape, now=NOW, ttl=100.0, **more)


def drawn(nodes: Iterable[Node]) -> list[str]:
    """Each node in a line: its path, task, then ``<`` whom it waits for (``*``: is given its value), ``@`` its join.

    Nodes are named by their paths, joins with ``=`` and their size; ``!`` is what keeps its value.
    """
    nodes = list(nodes)
    names = {node.id: node.path or "-" for node in nodes}
    lines = []
    for node in nodes:
        line = f"{names[node.id]} {node.task or f'={node.size}'}{'!' * node.keeps}"
        if node.after:
            when = "" if node.when is When.SUCCESS else f"({node.when})"
            line += f" <{'*' * node.takes}{names[node.after]}{when}"
        if node.join:
            line += f" @{names[node.join]}[{node.place}]"
        lines.append(line)
    return lines


def wires(nodes: Iterable[Node]) -> list[Message]:
    return [compact.decode(node.wire, node.queue, node.priority, 1 << 20) for node in nodes if node.wire]


# --- each shape -----------------------------------------------------------------------------------------------------


def test_a_chain_is_a_line() -> None:
    made = planned(chain(a.s(1), b.s(y=2), a.si(3)))
    assert drawn(made.nodes) == ["0 a!", "1 b <*0", "2 a <1"]
    assert made.flow.last == made.nodes[2].id
    assert (made.flow.name, made.flow.sent_at, made.flow.ttl) == ("a | b | a", NOW, 100.0)
    (root,) = made.roots
    assert (root.id, root.task, codec.decode(root.body)) == (made.nodes[0].id, "a", [[1], {}])
    assert [codec.decode(each.body) for each in wires(made.nodes)] == [[[], {"y": 2}], [[3], {}]]


def test_every_message_names_the_flow_and_every_node_says_where_it_goes() -> None:
    made = planned(chain(a.s(1), b.s(), c.s()))
    messages = [*made.roots, *wires(made.nodes)]
    assert [each.headers for each in messages] == [{FLOW: made.flow.id}, *[{FLOW: made.flow.id, TAKES: "1"}] * 2]
    assert [each.id for each in messages] == [node.id for node in made.nodes]
    assert [(node.queue, node.priority, node.result_ttl) for node in made.nodes] == [
        ("default", 0, 86_400.0), ("other", 7, 60.0), ("default", 0, 0.0),
    ]  # fmt: skip
    assert not made.nodes[0].wire, "whoever begins the flow publishes its roots"


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_group_is_a_join_with_its_members_in_order(size: int) -> None:
    made = planned(group(a.s(number) for number in range(size)))
    assert drawn(made.nodes) == [f"0 ={size}", *(f"0.{place} a @0[{place}]" for place in range(size))]
    assert made.flow.last == made.nodes[0].id
    assert [codec.decode(root.body)[0] for root in made.roots] == [[place] for place in range(size)]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_chord_is_a_join_and_what_waits_for_it(size: int) -> None:
    made = planned(chord((a.s(number) for number in range(size)), c.s()))
    members = [f"0.{place} a! @0[{place}]" for place in range(size)]
    assert drawn(made.nodes) == [f"0 ={size}!", *members, "1 c <*0"]
    assert made.flow.last == made.nodes[-1].id


def test_a_group_after_a_task_waits_for_it_with_all_its_members() -> None:
    made = planned(a.s(1) | group(a.s(2), a.si(3)) | c.s())
    assert drawn(made.nodes) == ["0 a!", "1 =2! <0", "1.0 a! <*0 @1[0]", "1.1 a! <0 @1[1]", "2 c <*1"]
    assert len(made.roots) == 1


def test_of_two_groups_each_task_of_the_second_is_given_the_list_of_the_first() -> None:
    made = planned(group(a.s(1), a.s(2)) | group(c.s(), c.s()))
    assert drawn(made.nodes) == [
        "0 =2!", "0.0 a! @0[0]", "0.1 a! @0[1]", "1 =2 <0", "1.0 c <*0 @1[0]", "1.1 c <*0 @1[1]",
    ]  # fmt: skip


def test_an_empty_group_in_a_chain_ends_when_its_turn_has_come() -> None:
    assert drawn(planned(a.s(1) | group() | c.s()).nodes) == ["0 a", "1 =0! <0", "2 c <*1"]


def test_values_are_kept_where_somebody_is_given_them() -> None:
    assert drawn(planned(chain(a.s(1), d.si())).nodes) == ["0 a", "1 d <0"]
    assert drawn(planned(group(a.s(1)) | d.si()).nodes) == ["0 =1", "0.0 a @0[0]", "1 d <0"]
    assert drawn(planned(a.s(1).link(b.s())).nodes) == ["0 a!", "0.0 b <*0"]
    assert drawn(planned(a.s(1).link_error(b.s())).nodes) == ["0 a", "0.0 b <*0(failure)"]


def test_shapes_are_nested_in_any_way() -> None:
    made = planned(group(chain(a.s(1), group(a.s(2), chord([b.s(3)], c.s()))), a.s(4)) | c.s())
    assert drawn(made.nodes) == [
        "0 =2!",
        "0.0.0 a!",
        "0.0.1 =2! <0.0.0 @0[0]",
        "0.0.1.0 a! <*0.0.0 @0.0.1[0]",
        "0.0.1.1.0 =1! <0.0.0",
        "0.0.1.1.0.0 b! <*0.0.0 @0.0.1.1.0[0]",
        "0.0.1.1.1 c! <*0.0.1.1.0 @0.0.1[1]",
        "0.1 a! @0[1]",
        "1 c <*0",
    ]


def test_what_is_linked_waits_for_the_end_and_belongs_to_no_join() -> None:
    chained = chain(a.s(1), a.s(2)).link(b.s()).link_error(d.si())
    assert drawn(planned(group(chained, a.s(3)) | c.s()).nodes) == [
        "0 =2!",
        "0.0.0 a!",
        "0.0.1 a! <*0.0.0 @0[0]",
        "0.0.2 b <*0.0.1",
        "0.0.3 d <0.0.1(failure)",
        "0.1 a! @0[1]",
        "1 c <*0",
    ]


def test_a_workflow_may_be_linked_and_waits_for_a_failure_as_a_whole() -> None:
    made = planned(a.s(1).link_error(group(b.s(), b.s()) | c.s()))
    assert drawn(made.nodes) == [
        "0 a",
        "0.0.0 =2! <0(failure)",
        "0.0.0.0 b! <*0(failure) @0.0.0[0]",
        "0.0.0.1 b! <*0(failure) @0.0.0[1]",
        "0.0.1 c <*0.0.0",
    ]


def test_a_group_that_collects_says_so_of_itself_alone() -> None:
    made = planned(chord([group(a.s(1)), a.s(2)], c.s(), collect=True))
    assert [node.policy for node in made.nodes if node.is_join] == [Policy.COLLECT, Policy.FAIL_FAST]


def test_map_and_starmap_send_a_message_for_each_item_and_chunks_for_many() -> None:
    assert [codec.decode(each.body)[0] for each in planned(a.map([1, 2])).roots] == [[1], [2]]
    assert [codec.decode(each.body)[0] for each in planned(a.starmap([(1, 2), (3, 4)])).roots] == [[1, 2], [3, 4]]
    chunks = planned(a.chunks(((n, n) for n in range(5)), 2)).roots
    assert [codec.decode(each.body)[0] for each in chunks] == [[[[0, 0], [1, 1]]], [[[2, 2], [3, 3]]], [[[4, 4]]]]
    assert all(each.headers[CHUNK] for each in chunks)


# --- what is said of calls ------------------------------------------------------------------------------------------


def test_options_of_a_call_come_before_those_of_what_it_is_part_of() -> None:
    inner = a.s(1).options(queue="mine", headers={"who": "me"}, expires=5)
    made = planned(chain(inner, a.s(2)).options(queue="ours", priority=3, headers={"who": "us", "why": "x"}, expires=9))
    first, second = [*made.roots, *wires(made.nodes)]
    assert (first.queue, first.priority, first.expires_at) == ("mine", 3, NOW + 5)
    assert first.headers == {"who": "me", "why": "x", FLOW: made.flow.id}
    assert (second.queue, second.priority, second.expires_at) == ("ours", 3, NOW + 9)


def test_a_countdown_of_the_whole_is_one_of_its_first_tasks() -> None:
    made = planned(chain(group(a.s(1), a.s(2)), c.s()).options(countdown=10))
    assert [root.due_at for root in made.roots] == [NOW + 10, NOW + 10]
    assert [(node.due_at, node.delay) for node in made.nodes] == [(0.0, 0.0)] * 4


def test_a_task_that_waits_may_be_told_when_to_start() -> None:
    made = planned(chain(a.s(1), a.s(2).options(countdown=10), a.s(3).options(eta=NOW + 99)))
    assert [(node.delay, node.due_at) for node in made.nodes] == [(0.0, 0.0), (10.0, 0.0), (0.0, NOW + 99)]
    assert [each.due_at for each in wires(made.nodes)] == [None, None]


def test_ids_given_by_the_user_are_those_of_the_tasks() -> None:
    made = planned(chain(a.s(1).options(task_id="first"), chain(a.s(2), a.s(3).options(task_id="last"))))
    assert (made.nodes[0].id, made.flow.last) == ("first", "last")
    assert planned(chain(a.s(1), a.s(2)).options(task_id="end")).flow.last == "end"
    twice = a.s(1).options(task_id="same")
    with pytest.raises(ConfigError, match="two tasks of this workflow have the task_id 'same'"):
        planned(group(twice, twice))


def test_arguments_of_the_send_come_before_those_of_the_first_tasks() -> None:
    made = planned(chain(group(a.s(1), a.si(5)), c.s()), args=(9,))
    assert [codec.decode(root.body)[0] for root in made.roots] == [[9, 1], [5]]


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_value_that_a_task_cannot_take_is_refused_with_its_signature() -> None:
    with pytest.raises(BadArguments, match=r"d\(\): too many .* write .si\(...\) if it takes none"):
        planned(chain(a.s(1), d.s()))
    with pytest.raises(BadArguments, match=r"a\(x: int, y: int = 0\): too many positional"):
        planned(group(a.s(1)) | a.s(2, 3))
    with pytest.raises(BadArguments, match="missing a required argument: 'x'"):
        planned(a.s() | b.s())
    with pytest.raises(BadArguments, match="too many positional"):
        planned(a.s(1).link_error(d.s()))


def test_a_message_that_is_too_large_is_refused_wherever_it_stands() -> None:
    with pytest.raises(PayloadTooLarge):
        planned(chain(a.s(1), b.s(y="x" * 20_000)))  # type: ignore[arg-type]


def test_tasks_of_two_applications_are_refused() -> None:
    other = TaskBus("other", broker="memory://other")
    foreign = other.task(name="foreign")(lambda value: None)
    with pytest.raises(ConfigError, match="task 'foreign' belongs to another application"):
        planned(chain(a.s(1), foreign.s()))


# --- how large it may be --------------------------------------------------------------------------------------------


def test_a_plan_is_linear_in_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    weigh = graph.Weaver._add

    def counting(self: graph.Weaver, node: Node) -> None:
        nonlocal looked_at
        looked_at += 1
        weigh(self, node)

    monkeypatch.setattr(graph.Weaver, "_add", counting)
    made = planned(group(a.s(n) for n in range(10_000)) | group(c.s() for _ in range(100)) | c.s())
    assert looked_at == len(made.nodes) == 10_000 + 100 + 1 + 2
    assert sum(len(node.wire) for node in made.nodes) < 200 * 101 + 200
    assert max(map(len, (compact.encode(root) for root in made.roots))) < 300
    assert [node.place for node in made.nodes if node.join == made.nodes[0].id] == list(range(10_000))


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_a_message_stays_small_whatever_the_size_of_its_workflow(size: int) -> None:
    fan = chain(group(a.s(n) | b.s(y=n) for n in range(size)), group(c.s(), c.s()), c.s()).link(b.s())
    for shape in (fan, chain(a.s(n % 2) for n in range(size)), a.chunks([(n,) for n in range(size)], 10)):
        made = planned(shape)
        all_of_them = [stamped(message) for message in (*made.roots, *wires(made.nodes))]
        assert max(len(compact.encode(message)) for message in all_of_them) < 500
        waiting = [message for message in all_of_them if TAKES in message.headers]
        assert len(waiting) == sum(node.takes for node in made.nodes if node.task)
    for flow_id in ("", "its-flow"):
        _, nodes = replacement(fan, message(flow_id), now=NOW, ttl=9.0)
        assert max(len(node.wire) for node in nodes) < 500


def test_shapes_may_be_nested_deeper_than_the_stack_of_python() -> None:
    deep: Any = a.s(1)
    for _ in range(3000):
        deep = chain(group(deep), c.s()).link(b.s())
    made = planned(deep)
    assert len(made.nodes) == 1 + 3 * 3000
    assert max(len(node.path) for node in made.nodes) <= graph.MAX_PATH
    assert len(made.flow.name) <= 120
    assert len(repr(deep)) < 500


# --- what takes the place of a task ---------------------------------------------------------------------------------


def message(flow: str = "") -> Message:
    return Message("the-task", "a", b"", headers={FLOW: flow} if flow else {})


def test_what_replaces_a_task_ends_with_its_id_in_its_flow() -> None:
    flow, nodes = replacement(group(a.s(1), a.s(2)) | c.s(), message("its-flow"), now=NOW, ttl=9.0)
    assert (flow.id, flow.last) == ("its-flow", "the-task")
    assert drawn(nodes) == ["0 =2!", "0.0 a! @0[0]", "0.1 a! @0[1]", "1 c <*0"]
    assert nodes[-1].id == "the-task"
    assert all(node.wire for node in nodes if node.task)
    assert {each.headers[FLOW] for each in wires(nodes)} == {"its-flow"}


def test_a_task_that_is_in_no_flow_is_replaced_by_a_new_one() -> None:
    flow, nodes = replacement(a.s(1).options(countdown=5), message(), now=NOW, ttl=9.0)
    assert (flow.name, flow.last, flow.ttl) == ("a", "the-task", 9.0)
    assert flow.id not in ("", "the-task")
    assert [(node.id, node.delay) for node in nodes if node.task] == [("the-task", 5.0)]
    assert [(node.after, node.join, node.size) for node in nodes if node.is_join] == [("", "", 0)], "a mark"


def test_what_is_replaced_again_by_the_same_message_is_the_same() -> None:
    shape = chain(group(a.s(1), a.s(2)), c.s())
    made = [replacement(shape, message(flow), now=now, ttl=9.0) for flow in ("", "F") for now in (NOW, NOW + 60)]
    assert [[node.id for node in nodes] for _, nodes in made] == [[node.id for node in made[0][1]]] * 4
    assert made[0][0].id == made[1][0].id and {flow.id for flow, _ in made[2:]} == {"F"}


def test_what_replaces_a_task_may_be_replaced_in_its_turn() -> None:
    shape = chain(a.s(1), b.s())
    _, (first, end) = replacement(shape, message(), now=NOW, ttl=9.0)
    _, (second, again) = replacement(shape, wires([end])[0], now=NOW + 1, ttl=9.0)
    assert end.id == again.id == "the-task"
    assert first.id != second.id


def test_copies_tell_which_of_those_that_replaced_each_other_they_are_of() -> None:
    """All have one id, and a copy of the first may come when it is the turn of the last."""
    last = message("its-flow")
    for number in range(1, 4):
        _, nodes = replacement(chain(a.s(1), b.s()), last, now=NOW, ttl=9.0)
        first, end = wires(nodes)
        assert (generation(first.headers.get(COPY, "")), generation(end.headers[COPY])) == (0, number)
        last, other = stamped(end), stamped(end)
        assert generation(last.headers[COPY]) == generation(other.headers[COPY]) == number
        assert last.headers[COPY] != other.headers[COPY]


def test_a_group_alone_cannot_replace_a_task() -> None:
    with pytest.raises(ConfigError, match="task 'a' cannot be replaced by a group: end it with a task"):
        replacement(chain(a.s(1), group(a.s(2))), message(), now=NOW, ttl=9.0)
