"""What the RabbitMQ transport promises, and what AMQP keeps it from promising."""

from taskbus.broker.transports.features import Features

FEATURES = Features(
    name="amqp",
    durable=True,
    priorities=True,
    delays=True,
    fanout=True,
    atomic_settle=False,
    processes=True,
    dedup=False,
    leases="connection",
    lists=False,
    pushes=True,
    notes=(
        "a batch is not accepted whole or not at all: PublishUnknown says how many were accepted",
        "RabbitMQ has no clock to ask: due times, expiry and fencing tokens are by the clocks of the hosts, which must"
        " agree",
        "no second publish of the same id is refused",
        "settling is not one step: a worker that dies in between repeats a message, and never loses one",
        "a lease is a connection: a worker that is cut off loses it after between half and all of its time",
        "what workers hold or what is delayed can be neither listed, counted nor purged; nor can workers be listed",
        "peeking takes messages off for a moment and puts them back ahead of the others",
        "queues may be shared with Celery (celery_queues); what is given back goes to their end, not ahead of others",
        "classic queues (?queue_type=classic): delays are dead-lettered at most once",
    ),
)
