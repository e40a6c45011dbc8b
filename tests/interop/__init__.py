"""TaskBus beside the real Celery: its command line, Flower, and exporters, each on brokers of the tests' own."""
