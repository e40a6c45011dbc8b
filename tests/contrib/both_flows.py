"""Cases: workflows, links and replacements."""

import json

import both_app as shop
from both_app import lib, noted
from both_rig import TIMEOUT, case, ended, until


@case
def chains():
    line = lib.chain(shop.add.s(1, 2), shop.add.s(3), shop.add.s(4))
    piped = shop.add.s(1, 1) | shop.add.s(1) | shop.add.si(7, 7)
    sent = line()
    values = [ended(sent), ended(piped.delay()), ended(line.apply_async()), ended(lib.chain(shop.add.s(1, 1)).delay())]
    return [values, sent.parent.get(), sent.parent.parent.get(), sent.parent.parent.parent]


@case
def partial_arguments():
    return [ended(shop.listed.s(3).delay(1, 2)), ended(shop.add.s(y=1).delay(2)), ended(shop.listed.si(3).delay(1))]


@case
def a_chain_given_arguments():
    return ended((shop.add.s(1) | shop.add.s(2)).delay(10))


@case
def groups():
    sent = lib.group(shop.add.s(n, n) for n in range(4))()
    return [ended(sent), len(sent), sent.ready(), sent.successful(), sent.completed_count(), len(sent.children)]


@case
def groups_of_groups_and_given_arguments():
    nested = lib.group(lib.group(shop.add.si(1, 1), shop.add.si(2, 2)), shop.add.si(3, 3))
    given = lib.group(shop.add.s(1), shop.add.s(2))
    return [ended(nested()), ended(given(10))]


@case
def a_group_with_a_failure():
    sent = lib.group(shop.add.s(1, 1), shop.fail.s("value"))()
    return [ended(sent), until(sent.ready), sent.failed(), sent.successful()]


@case
def chords():
    header = [shop.add.s(n, 1) for n in range(3)]
    called = lib.chord(header)(shop.total.s())
    piped = lib.group(header) | shop.total.s() | shop.add.s(100)
    return [ended(called), ended(piped.delay()), ended(lib.chord(header, shop.total.s()).apply_async())]


@case
def chains_with_groups_inside():
    line = lib.chain(shop.add.s(1, 1), lib.group(shop.add.s(1), shop.add.s(2)), shop.total.s())
    ends_in_group = lib.chain(shop.add.s(1, 1), lib.group(shop.add.s(1), shop.add.s(2)))
    return [ended(line()), ended(ends_in_group())]


@case
def a_chord_with_a_failure():
    sent = lib.chord([shop.add.s(1, 1), shop.fail_as.s("chord")])(shop.total.s())
    until(sent.ready)
    kind, text = type(sent.result).__name__, str(sent.result)
    return [ended(sent), kind, text.startswith("Dependency "), "raised Oops" in text, sent.state]


@case
def a_chain_with_a_failure():
    sent = lib.chain(shop.add.s(1, 1), shop.fail_as.si("chain"), shop.add.s(1))()
    until(sent.ready)
    return [ended(sent), sent.state, sent.parent.state, sent.parent.parent.state]


@case
def map_starmap_and_chunks():
    return [
        ended(shop.total.map([[1, 2], [3]]).delay()),
        ended(shop.add.starmap([(1, 2), (3, 4)]).delay()),
        ended(shop.add.chunks([(n, n) for n in range(5)], 2)()),
    ]


@case
def links():
    sent = shop.add.apply_async((1, 2), link=shop.keep.s("link"))
    value = ended(sent)
    many = shop.add.apply_async((1, 1), link=[shop.keep.s("many"), shop.keep.si("fixed", "many")])
    until(lambda: noted("link") and len(noted("many")) == 2)
    return [value, ended(many), noted("link"), sorted(noted("many"), key=str)]


@case
def errbacks():
    by_id = shop.fail_as.apply_async(("x",), link_error=shop.on_error_id.s("errback-id"))
    full = shop.fail_as.apply_async(("errback-full",), link_error=shop.on_error_full.s())
    until(lambda: noted("errback-id") and noted("errback-full"))
    return [
        [[kind, task_id == by_id.id] for kind, task_id in noted("errback-id")],
        [[kind, task_id == full.id, *rest] for kind, task_id, *rest in noted("errback-full")],
    ]


@case
def errbacks_of_a_chain_are_called_once_for_what_failed():
    line = lib.chain(shop.add.s(1, 1), shop.fail_as.si("y"), shop.add.s(1))
    sent = line.apply_async(link_error=shop.on_error_id.s("errback-chain"))
    ended(sent)
    until(lambda: noted("errback-chain"))
    lib.chain(shop.add.s(1, 1), shop.add.s(1))().get(timeout=TIMEOUT)
    return [[kind, task_id == sent.parent.id] for kind, task_id in noted("errback-chain")]


@case
def replacements():
    return [
        ended(shop.replaced.delay(1)),
        ended(shop.replaced_by_chain.delay(1)),
        ended(shop.replaced_by_group.delay(1)),
        ended((shop.replaced.s(1) | shop.add.s(1)).delay()),
    ]


@case
def signatures_as_data():
    sig = shop.add.s(1, y=2).set(queue="special", priority=3)
    again = lib.signature(json.loads(json.dumps(sig)))
    clone = sig.clone(args=(9,), priority=5)
    return [
        {key: sig[key] for key in ("task", "kwargs", "options", "immutable", "subtask_type")},
        list(sig.args),
        again == sig or list(again.args) == list(sig.args),
        ended(again.apply_async()),
        list(clone.args),
        clone.options,
        repr(sig),
        json.loads(json.dumps(shop.add.s(1) | shop.add.s(2)))["task"],
    ]
