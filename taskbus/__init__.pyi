from taskbus.app import TaskBus as TaskBus
from taskbus.config import Config as Config
from taskbus.context import Context as Context
from taskbus.decorator import task as task
from taskbus.errors import BadArguments as BadArguments
from taskbus.errors import ConfigError as ConfigError
from taskbus.errors import EncodeError as EncodeError
from taskbus.errors import FlowFailed as FlowFailed
from taskbus.errors import PayloadTooLarge as PayloadTooLarge
from taskbus.errors import PublishFailed as PublishFailed
from taskbus.errors import PublishUnknown as PublishUnknown
from taskbus.errors import Reject as Reject
from taskbus.errors import RemoteError as RemoteError
from taskbus.errors import ResultError as ResultError
from taskbus.errors import ResultTimeout as ResultTimeout
from taskbus.errors import SoftTimeLimitExceeded as SoftTimeLimitExceeded
from taskbus.errors import SpoolFailed as SpoolFailed
from taskbus.errors import TaskBusError as TaskBusError
from taskbus.errors import TaskExpired as TaskExpired
from taskbus.errors import TaskTimedOut as TaskTimedOut
from taskbus.errors import TimeLimitExceeded as TimeLimitExceeded
from taskbus.middleware import Middleware as Middleware
from taskbus.outcome import State as State
from taskbus.retry import RetryPolicy as RetryPolicy
from taskbus.store.results import AsyncResult as AsyncResult
from taskbus.store.results import as_completed as as_completed
from taskbus.task import Task as Task
from taskbus.workflow.failed import FailedTask as FailedTask
from taskbus.workflow.results import GroupResult as GroupResult
from taskbus.workflow.signature import Signature as Signature
from taskbus.workflow.words import chain as chain
from taskbus.workflow.words import chord as chord
from taskbus.workflow.words import group as group

__all__: list[str]
__version__: str
