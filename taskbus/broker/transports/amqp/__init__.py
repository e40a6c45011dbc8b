"""The RabbitMQ transport: AMQP 0-9-1 spoken in batches, with confirms, on quorum queues unless asked otherwise."""
