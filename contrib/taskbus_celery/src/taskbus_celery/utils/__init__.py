"""What Celery's users import from ``celery.utils``."""

from taskbus_celery.utils.ids import gen_unique_id, uuid

__all__ = ["gen_unique_id", "uuid"]
