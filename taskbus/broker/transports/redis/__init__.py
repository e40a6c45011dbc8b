"""The Redis transport: lists, leases and doorbells, each step one script.

``storage`` is the port, ``settling`` its step of that name, ``topology`` queues and exchanges, ``session`` the way to
the server, ``bell`` how a worker is woken, ``element`` a message as it is kept, ``base.lua`` the keys.
"""
