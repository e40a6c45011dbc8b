"""Loggers, where Celery's users look for them."""

import logging

task_logger = logging.getLogger("celery.task")


def get_logger(name: str) -> logging.Logger:
    """The logger of that name."""
    return logging.getLogger(name)


def get_task_logger(name: str) -> logging.Logger:
    """The logger of that name, below ``celery.task`` where it is not below another one, as in Celery."""
    logger = logging.getLogger(name)
    if logger.parent is logging.root:
        logger.parent = task_logger
    return logger
