"""Which server is the primary, as the Sentinels say: asked anew for every connection, since a failover changes it."""

import time

from hiredis import ReplyError

from taskbus.database.redis_errors import NotReached, RedisError, Unusable, refused
from taskbus.database.redis_url import Address, RedisPlace
from taskbus.database.redis_wire import Wire, pack
from taskbus.database.tls import remedy


def primary(place: RedisPlace, deadline: float) -> Wire:
    """A connection to the primary.

    Raises:
        OSError: it cannot be reached: a failover may be under way.
        RedisError: no Sentinel answers, none knows the service, or what they name is no primary (yet).
    """
    wire = Wire(_address(place, deadline), place, deadline)
    if wire.hello.get(b"role") != b"master":
        wire.close()
        raise NotReached(f"{place.shown}: the Sentinels name {wire.address}, which is no primary (yet)")
    return wire


def _address(place: RedisPlace, deadline: float) -> Address:
    """Where the primary is; each Sentinel is given an even share of the time that is left."""
    problems, advice = [], ""
    for n, sentinel in enumerate(place.addresses):
        left = deadline - time.monotonic()
        until = time.monotonic() + left / (len(place.addresses) - n + 1)
        try:
            wire = Wire(sentinel, place, until, as_sentinel=True)
            try:
                wire.send(pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.service)), until)
                answer = wire.reply(until)
            finally:
                wire.close()
        except Unusable:
            raise
        except OSError as error:
            problems.append(f"{sentinel}: {error.strerror or error}")
            advice = f"; {remedy(error, place.way_with_tls)}"
        except RedisError as error:
            problems.append(f"{sentinel}: {error}")
        else:
            if type(answer) is ReplyError:
                raise refused(str(answer), place.shown)
            if answer:
                return Address(answer[0].decode(), int(answer[1]))
            problems.append(f"{sentinel} knows no service {place.service!r}")
    raise NotReached(f"{place.shown}: no Sentinel names a primary ({'; '.join(problems)}){advice}")
