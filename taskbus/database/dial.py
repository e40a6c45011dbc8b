"""A connected socket by a deadline, however many addresses a name has: the one place where TaskBus's own wires connect.

Looking up the name is the system's, and may take longer.
"""

import socket
import time
from typing import Any


def reach(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address of ``host`` that answers; a silent one leaves time for those after it.

    Each has an even share of what is left until ``deadline`` (monotonic), so that the last has all of it. What is
    written to it leaves at once, and a peer that is gone is noticed in the end.

    Raises:
        OSError: what the last address said; ``TimeoutError`` at the deadline.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    problem: OSError = TimeoutError("no connection in time")
    for n, (family, kind, protocol, _, address) in enumerate(found):
        left = (deadline - time.monotonic()) / (len(found) - n)
        if left <= 0:
            break
        try:
            return _connected(family, kind, protocol, address, left)
        except OSError as error:
            problem = error
    raise problem


def _connected(family: int, kind: int, protocol: int, address: Any, timeout: float) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.connect(address)
        if made.getsockname() == made.getpeername():
            # With nobody listening on a port of the ephemeral range, TCP may connect a socket to itself.
            raise ConnectionRefusedError(None, "Connection refused")
    except BaseException:
        made.close()
        raise
    return made
