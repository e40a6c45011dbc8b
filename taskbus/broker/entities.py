"""kombu's words for what lies around a queue, for modules that speak them without knowing kombu itself."""

from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer as KombuConsumer
from kombu.messaging import Producer

__all__ = ["Connection", "Exchange", "KombuConsumer", "Producer", "Queue"]
