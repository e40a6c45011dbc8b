"""Celery's telemetry and remote control over kombu: the one place that knows its exchanges, queues and mailboxes."""
