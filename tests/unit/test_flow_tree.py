"""A flow drawn as a tree: what stands where, and what is left out of a large one."""

from io import StringIO

from rich.console import Console
from rich.text import Text

from taskbus.cli.flow_tree import MANY, arranged, drawn
from taskbus.outcome import Failure
from taskbus.store.flows import Node, NodeState, NodeView


def view(path: str, task: str = "app.t", state: NodeState = NodeState.SUCCESS, **more: object) -> NodeView:
    return NodeView(Node(f"id-{path}", task, path=path), state, **more)  # type: ignore[arg-type]


def lines(*views: NodeView) -> list[str]:
    out = StringIO()
    Console(file=out, width=200, highlight=False).print(drawn(Text("flow"), arranged(views)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_steps_stand_below_each_other_and_members_below_their_group() -> None:
    drawn_lines = lines(
        view("2", "app.report", NodeState.WAITING),
        view("1", "", NodeState.READY, left=1),
        view("1.1", "app.resize", NodeState.STARTED),
        view("1.0.0", "app.load"),
        view("1.0.1", "app.crop"),
        view("0", "app.fetch", started_at=10.0, ended_at=10.5),
    )
    assert drawn_lines == [
        "flow",
        "├── app.fetch  SUCCESS  500 ms  id-0",
        "├── group of 2 parts  READY  1 to go",
        "│   ├── chain",
        "│   │   ├── app.load  SUCCESS  id-1.0.0",
        "│   │   └── app.crop  SUCCESS  id-1.0.1",
        "│   └── app.resize  STARTED  id-1.1",
        "└── app.report  WAITING  id-2",
    ]


def test_a_failure_is_told_where_it_happened_and_named_where_it_was_felt() -> None:
    failure = Failure("builtins.ValueError", "no such file\nat all")
    drawn_lines = lines(
        view("0", state=NodeState.FAILURE, failure=failure),
        view("1", state=NodeState.FAILURE, failure=failure, cause="id-0"),
    )
    assert drawn_lines[1].endswith("FAILURE  ValueError: no such file …  id-0")
    assert drawn_lines[2].endswith("FAILURE  because of id-0  id-1")


def test_of_a_large_group_what_failed_is_drawn_and_the_rest_counted() -> None:
    members = [view(f"0.{number}", state=NodeState.SUCCESS) for number in range(10_000)]
    members[7000] = view("0.7000", state=NodeState.FAILURE, failure=Failure("builtins.KeyError", "'x'"))
    members[42] = view("0.42", state=NodeState.STARTED)
    drawn_lines = lines(view("0", "", NodeState.READY), *members)
    assert len(drawn_lines) == 5
    assert "STARTED" in drawn_lines[2] and "KeyError" in drawn_lines[3]
    assert drawn_lines[4].endswith("and 9,998 more: 9,998 SUCCESS")


def test_a_chain_that_failed_is_drawn_among_many() -> None:
    chains = [view(f"{number}.{step}") for number in range(MANY + 5) for step in range(2)]
    chains[3] = view("1.1", state=NodeState.FAILURE, failure=Failure("builtins.KeyError", "'x'"))
    drawn_lines = lines(*(each._replace(node=each.node._replace(path=f"0.{each.node.path}")) for each in chains))
    assert [line for line in drawn_lines if "FAILURE" in line]
    assert drawn_lines[-1].endswith(f"and {MANY + 4} more: {MANY + 4} SUCCESS")


def test_of_a_batch_some_that_failed_are_drawn_and_the_rest_counted() -> None:
    batch = NodeView(Node("b", path="0", size=-1), NodeState.READY, left=2)
    failure = Failure("builtins.KeyError", "'x'")
    failed = [view("", state=NodeState.FAILURE, failure=failure) for _ in range(MANY + 3)]
    rest = [view("", state=NodeState.FAILURE, cause="id-"), view("", state=NodeState.STARTED), *[view("")] * 5]
    drawn_lines = lines(batch, *failed, *rest, view("1", "app.tell", NodeState.WAITING))
    assert drawn_lines[1] == "├── batch  READY  2 to go"
    assert [line for line in drawn_lines if "KeyError" in line] == drawn_lines[2 : 2 + MANY]
    assert drawn_lines[2 + MANY :] == [
        "│   └── and 10 more: 4 FAILURE, 1 STARTED, 5 SUCCESS",
        "└── app.tell  WAITING  id-1",
    ]


def test_a_batch_in_which_all_is_well_is_two_lines() -> None:
    batch = NodeView(Node("b", path="0", size=-1), NodeState.SUCCESS)
    assert lines(batch, *[view("")] * 3) == ["flow", "└── batch  SUCCESS", "    └── 3 tasks: 3 SUCCESS"]


def test_what_replaced_a_task_stands_in_its_place() -> None:
    replaced = [view("1.0", ""), view("1.0.0", "app.fetch"), view("1.0.1", "app.fetch"), view("1.1", "app.merge")]
    assert lines(view("0", "app.plan"), *replaced, view("2", "app.report")) == [
        "flow",
        "├── app.plan  SUCCESS  id-0",
        "├── chain",
        "│   ├── group of 2 parts  SUCCESS",
        "│   │   ├── app.fetch  SUCCESS  id-1.0.0",
        "│   │   └── app.fetch  SUCCESS  id-1.0.1",
        "│   └── app.merge  SUCCESS  id-1.1",
        "└── app.report  SUCCESS  id-2",
    ]


def test_names_have_no_power_over_the_terminal() -> None:
    assert "\x1b" not in "".join(lines(view("0", "app.\x1b[2J")))
