"""Workflows that type checkers must refuse; nothing here runs. See ``wrong_calls.py``."""

from pathlib import Path

from taskbus import FailedTask, TaskBus, chain, chord, group

app = TaskBus("typed")


@app.task
def count(path: Path) -> int:
    return len(str(path))


@app.task
def name(number: int) -> str:
    return f"{number}"


@app.task
def total(numbers: list[int]) -> float:
    return sum(numbers)


@app.task
def complain(failed: FailedTask) -> None: ...


def wrong_signatures() -> None:
    count.s("a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    count.si()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    count.si(Path("a"), 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    name.s(number="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    count.s().delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    count.s().delay("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_chains() -> None:
    chain(name.s(1), name.s())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    name.s(1) | name.s()  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    chain(count.s(Path("a")), name.s(), total.s())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    chain(count.s(), name.s()).delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    chain(count, name)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    size: int = chain(count.s(Path("a")), name.s()).delay().get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(size)


def wrong_groups() -> None:
    chord([name.s(1)], total.s())  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    group([name.s(1)]) | total.s()  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    chord(group([count.s(Path("a"))], collect=True), total.s())  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    count.map(["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    sizes: list[str] = group([count.s(Path("a"))]).delay().get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(sizes)
    group(count)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def wrong_links() -> None:
    count.s(Path("a")).link(total.s())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    count.s(Path("a")).link_error(name.s())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    count.s(Path("a")).options(speed=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong_batches() -> None:
    app.batch_of("import", on_success=count.s())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with app.batch_of("import") as batch:
        batch.add(count)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
