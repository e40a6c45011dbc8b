"""Results and workflows as Celery 5.7 keeps them: its documents, its tables, and what follows a task by its signatures.

Source: the wire of Celery 5.7.0, as it is seen on Redis and in its database tables.
"""
