"""Workflows that type checkers must accept, with the types they must see; nothing here runs."""

from pathlib import Path
from typing import Any, assert_type

from taskbus import AsyncResult, Context, FailedTask, GroupResult, Signature, State, TaskBus, chain, chord, group

app = TaskBus("typed")


@app.task
def count(path: Path) -> int:
    return len(str(path))


@app.task
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task
async def name(ctx: Context, number: int, *, prefix: str = "") -> str:
    return f"{prefix}{number}"


@app.task
def total(numbers: list[int], factor: float = 1.0) -> float:
    return sum(numbers) * factor


@app.task
def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


@app.task
def partial_total(numbers: list[int | FailedTask]) -> int:
    return sum(number for number in numbers if not isinstance(number, FailedTask))


@app.task
def complain(failed: FailedTask) -> None: ...


@app.task
def sweep() -> None: ...


@app.task
def anything(value: Any) -> bytes:
    return bytes(value)


def signatures() -> None:
    assert_type(count.s(Path("a")), Signature[object, int])
    assert_type(count.s(), Signature[Path, int])
    assert_type(name.s(prefix="n"), Signature[int, str])
    assert_type(name.s(3, prefix="n"), Signature[object, str])
    assert_type(add.si(1, 2), Signature[object, int])
    assert_type(count.s(Path("a")).delay(), AsyncResult[int])
    assert_type(count.s().delay(Path("a")), AsyncResult[int])
    assert_type(count.s(Path("a")).options(countdown=5).set(queue="slow").apply_async(priority=3), AsyncResult[int])
    assert_type(count.si(Path("a")).link(name.s()).link_error(complain.s()).delay().get(), int)
    assert_type(count.apply_async((Path("a"),), link=name.s(), link_error=[complain.s(), sweep.si()]), AsyncResult[int])


def chains() -> None:
    assert_type(chain(count.s(Path("a")), name.s()).delay(), AsyncResult[str])
    assert_type(chain(count.s(Path("a")), add.s(2), name.s(prefix="n")).delay().get(), str)
    assert_type((count.s(Path("a")) | add.s(2) | name.s()).delay(), AsyncResult[str])
    assert_type(chain(count.s(), name.s()).delay(Path("a")), AsyncResult[str])
    assert_type(chain(sweep.si(), count.si(Path("a")), sweep.si()).delay(), AsyncResult[None])
    assert_type(chain(count.s(Path("a")), anything.s()).delay().get(), bytes)
    chain(add.s(1) for _ in range(3)).delay()


def groups() -> None:
    numbers = group(count.s(Path(each)) for each in "abc")
    assert_type(numbers.delay(), GroupResult[int])
    assert_type(numbers.delay().get(timeout=1), list[int])
    assert_type(group(count.s(Path("a")), add.s(1, 2)).delay().get(), list[int])
    assert_type(group(count.s(Path("a")), name.s(3)).delay().get(), list[int | str])
    assert_type(group(count.s(Path("a")), sweep.si(), name.s(3)).delay(), GroupResult[int | None | str])
    assert_type(group(count.s(Path("a")), name.s(3), collect=True).delay().get(), list[int | str | FailedTask])
    assert_type(group(add.s(2), name.s()).delay(1).get(), list[int | str])
    assert_type(group([count.s(Path("a"))], collect=True).delay().get(), list[int | FailedTask])
    assert_type((count.s(Path("a")) | group(add.s(1), add.s(2))).delay(), GroupResult[int])
    assert_type(group(count.s(), count.s()).delay(Path("a")).get(), list[int])
    assert_type(count.map([Path("a")]).delay(), GroupResult[int])
    assert_type(add.starmap([(1, 2), (3, 4)]).delay(), GroupResult[int])
    assert_type(add.chunks([(1, 2), (3, 4)], 2).delay(), GroupResult[list[int]])
    assert_type(numbers.delay().state, State)
    assert_type(len(numbers), int)


def chords() -> None:
    numbers = group(count.s(Path(each)) for each in "abc")
    assert_type(chord(numbers, total.s()).delay(), AsyncResult[float])
    assert_type(chord((count.s(Path(each)) for each in "abc"), total.s(factor=2.0)).delay().get(), float)
    assert_type((numbers | total.s()).delay().get(), float)
    assert_type((numbers | mean.s()).delay().get(), float)
    assert_type(chord(numbers, mean.s()).delay().get(), float)
    assert_type(chord(numbers)(total.s()), AsyncResult[float])
    assert_type(chord(numbers, partial_total.s(), collect=True).delay().get(), int)
    assert_type((group([count.s(Path("a"))], collect=True) | partial_total.s()).delay().get(), int)
    assert_type((count.s(Path("a")) | group(add.s(1), add.s(2)) | total.s()).delay(), AsyncResult[float])
    assert_type((numbers | group(total.s(), total.s())).delay().get(), list[float])
    assert_type(chain(numbers, total.s(), sweep.si()).delay(), AsyncResult[None])


async def sending_from_async_code() -> None:
    assert_type(await chain(count.s(Path("a")), name.s()).adelay(), AsyncResult[str])
    assert_type(await (await group([count.s(Path("a"))]).adelay()).aget(), list[int])


def batches() -> None:
    with app.batch_of("import", on_success=sweep.si(), on_complete=name.s(3), on_death=sweep.s()) as batch:
        batch.add(count.s(Path("a")))
        batch.add(count.s(Path(each)) for each in "abc")
        with app.batch_of("part", parent=batch) as part:
            part.add([chain(count.s(Path("a")), name.s()), sweep.si()])
    assert_type(batch.id, str)
    assert_type(batch.counts().failed, int)
    with app.open_batch(batch.id) as again:
        again.add(sweep.si())


def handles(result: GroupResult[int]) -> None:
    flow = app.flow(result.flow_id)
    flow.cancel()
    assert_type(list(flow.retry()), list[str])
    assert_type([view.flow.id for view in app.flows(limit=3)], list[str])
