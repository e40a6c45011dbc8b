"""Cases: calls of single tasks, in every way."""

import time
from datetime import UTC, datetime, timedelta

import both_app as shop
from both_app import app, lib, noted
from both_rig import TIMEOUT, case, ended, until


@case
def delay_and_its_defaults():
    return [ended(shop.add.delay(1, 2)), ended(shop.add.delay(5)), ended(shop.add.delay(x=1, y=1))]


@case
def names_of_tasks():
    mine = sorted(name for name in app.tasks if not name.startswith("celery."))
    return mine


@case
def wrong_arguments_are_a_type_error_where_they_are_sent():
    try:
        shop.add.delay(1, 2, 3)
    except TypeError:
        return "TypeError"


@case
def what_a_task_knows_of_itself():
    sent = shop.who.apply_async((1,), {"k": 2}, task_id="an-id-of-mine", headers={"number": 7, "text": "x"})
    return [sent.id, ended(sent)]


@case
def a_route_by_pattern_and_one_by_name():
    return [ended(shop.routed_one.delay()), ended(shop.named.delay())]


@case
def a_queue_of_the_call():
    return ended(shop.who.apply_async(queue="special"))


@case
def send_task_by_name():
    return [ended(app.send_task("both_app.add", (1, 2))), ended(app.send_task("both_app.add", kwargs={"x": 1, "y": 1}))]


@case
def a_signature_by_name():
    return ended(app.signature("both_app.add", args=(1, 2)).apply_async())


@case
def failures_arrive_as_they_were():
    found = []
    for kind in ("value", "key", "own"):
        sent = shop.fail.delay(kind)
        found.append([ended(sent), sent.state, sent.failed(), sent.successful(), "fail" in sent.traceback])
        found.append(repr(sent.get(propagate=False)))
    return found


@case
def successes_in_every_word():
    sent = shop.add.delay(1, 2)
    sent.get(timeout=TIMEOUT)
    again = app.AsyncResult(sent.id)
    words = [again.state, again.status, again.result, again.info, again.ready(), again.successful(), again.failed()]
    return [*words, again.traceback, again.date_done is not None, again.id == sent.task_id]


@case
def what_was_never_sent_is_pending():
    unknown = app.AsyncResult("never-sent")
    try:
        unknown.get(timeout=0.2)
    except shop.exceptions.TimeoutError:
        return [unknown.state, unknown.ready(), unknown.result]


@case
def types_of_arguments_and_results():
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    value = shop.types.delay(when, 1.5, {"b": 1, "a": (1, 2)}).get(timeout=TIMEOUT)
    return [str(value[0]), value[1:]]


@case
def an_ignored_result_is_none():
    sent = shop.silent.delay()
    until(lambda: noted("silent"))
    return [sent.get(timeout=TIMEOUT), noted("silent")]


@case
def countdown_eta_and_expires():
    start = time.time()
    by_countdown = shop.add.apply_async((1, 1), countdown=1)
    by_eta = shop.add.apply_async((2, 2), eta=datetime.now(UTC) + timedelta(seconds=1))
    late = shop.add.apply_async((3, 3), countdown=1, expires=datetime.now(UTC) - timedelta(seconds=5))
    values = [ended(by_countdown), ended(by_eta)]
    return [values, time.time() - start >= 1, ended(late)[:2], late.state]


@case
def retry_by_hand():
    sent = [shop.retry_by_hand.delay("hand-1", 1), shop.retry_by_hand.delay("hand-5", 5)]
    return [*map(ended, sent), noted("hand-1"), noted("hand-5"), [each.state for each in sent]]


@case
def retry_without_a_reason():
    return ended(shop.retry_without_a_reason.delay())[:2]


@case
def retry_with_other_arguments():
    return [ended(shop.retry_with_other_arguments.delay(1)), noted("others")]


@case
def retry_by_itself():
    sent = [shop.retry_by_itself.delay("itself-1", 1), shop.retry_by_itself.delay("itself-9", 9)]
    return [*map(ended, sent), noted("itself-1"), noted("itself-9")]


@case
def retry_but_not_for_some():
    sent = [shop.retry_but_not_for.delay("not-key", "key"), shop.retry_but_not_for.delay("not-value", "value")]
    return [*map(ended, sent), noted("not-key"), noted("not-value")]


@case
def ignore_keeps_what_was_said():
    sent = shop.ignore.delay()
    until(lambda: sent.state != "PENDING")
    return [sent.state, sent.info, sent.ready()]


@case
def reject_fails():
    sent = shop.reject.delay()
    ended(sent)
    return sent.state


@case
def states_and_meta_of_a_running_task():
    sent = shop.progress.delay("progress")
    until(lambda: noted("progress"))
    said = [sent.state, sent.info, sent.ready()]
    shop.note("progress.go", "now")
    return [said, ended(sent), sent.state]


@case
def soft_time_limit():
    return ended(shop.soft.delay())


@case
def hooks_and_signals_in_their_order():
    ends = [ended(shop.hooked_well.delay(3)), ended(shop.hooked_badly.delay()), ended(shop.hooked_again.delay())]
    until(lambda: sum(line[2] == "postrun" for line in noted("hooks")) >= 4)
    told = {}
    for name, retries, *what in noted("hooks"):
        told.setdefault(f"{name}, attempt {retries + 1}", []).append(what)
    return [ends, told]


@case
def signals_of_one_sender():
    shop.add.delay(1, 1).get(timeout=TIMEOUT)
    return sorted({name for (name,) in noted("only_add")})


@case
def signals_of_a_send():
    shop.who.apply_async(("published",)).get(timeout=TIMEOUT)
    return [line for line in noted("publish") if line[0] == "after" or line[3] == ["published"]][-2:]


@case
def classes_of_tasks():
    return [ended(shop.called.delay(1)), ended(shop.of_a_class.delay(2)), shop.of_a_class.name, shop.hooked_well.tag]


@case
def shared_tasks():
    return [ended(shop.shared.delay(4)), ended(shop.shared_bound.delay(1)), shop.shared.name, shop.shared(3)]


@case
def annotations():
    return ended(shop.annotated.delay())


@case
def called_as_functions():
    return [shop.add(1, 2), shop.called(1), ended(shop.calls_inside.delay(1)), shop.add.run(2, 2), shop.of_a_class(2)]


@case
def waiting_inside_a_task_is_refused():
    return ended(shop.waits_inside.delay())[:2]


@case
def the_family_of_a_task():
    first = shop.family.delay(2).get(timeout=TIMEOUT)
    lines = until(lambda: [line for line in noted("family")] if len(noted("family")) == 3 else None)
    ids = {below: task_id for below, task_id, *_ in lines}
    return [[ids[2] == first], [(parent == ids.get(below + 1), root == first) for below, _, parent, root in lines]]


# --- eager ---


@case
def apply_runs_here():
    fine, bad = shop.add.apply((1, 2)), shop.fail.apply(("value",))
    raised = None
    try:
        shop.fail.apply(("value",), throw=True)
    except ValueError as error:
        raised = str(error)
    words = [fine.get(), fine.state, fine.ready(), bad.state, bad.failed(), repr(bad.result), raised]
    words += [ended(shop.replaced.apply((1,))), ended(shop.waits_inside.apply())]
    return [words, shop.who.apply((1,)).get()["eager"], ended(shop.retry_by_hand.apply(("eager", 2))), noted("eager")]


@case
def always_eager():
    app.conf.task_always_eager = True
    try:
        sent = shop.add.delay(1, 2)
        found = [type(sent).__name__, sent.get(), ended(shop.fail.delay("own"))]
        found.append(ended(lib.chain(shop.add.s(1, 1), shop.add.s(5))()))
        found.append(ended(lib.group(shop.add.s(1, 1), shop.add.s(2, 2))()))
        found.append(ended(lib.chord([shop.add.s(1, 1), shop.add.s(2, 2)])(shop.total.s())))
        found.append(shop.types.delay(datetime(2026, 1, 1, tzinfo=UTC), 1, {1: 2}).get()[2])
        found.append(ended(shop.add.apply_async((1, 1), link=shop.keep.s("eager-link"))))
        found.append(noted("eager-link"))
    finally:
        app.conf.task_always_eager = False
    return found


@case
def settings_by_any_name():
    conf = app.conf
    found = [conf.task_default_queue, conf["result_expires"], conf.get("nothing", 5), "task_acks_late" in conf]
    app.conf.my_own = 3
    return [*found, conf.my_own, conf.broker_url == shop.os.environ["BROKER"], conf.task_serializer]


@case
def what_is_current():
    return [lib.current_app.main, bool(lib.current_task), lib.current_app.tasks["both_app.add"].name]
