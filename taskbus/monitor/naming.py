"""What Celery's tools call a worker."""

import os
import socket

OF_OURS = "taskbus"


def node_name(name: str) -> str:
    """The name as ``something@host``, which Celery's tools take apart; "" is a worker that was given none."""
    host = socket.gethostname()
    if not name:
        return f"{OF_OURS}-{os.getpid()}@{host}"
    return name if "@" in name else f"{name}@{host}"


def host_of(node: str) -> str:
    """What stands behind the ``@`` of a node's name: what celery-exporter labels by."""
    return node.rpartition("@")[2]
