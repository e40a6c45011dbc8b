"""What every store must do for flows, as tests: subclass ``FlowContract`` and say how yours is opened.

As ``store_contract``. The rules are those of ``taskbus.store.flows``.
"""

from taskbus.testing.flow_batches_contract import BatchesContract
from taskbus.testing.flow_cancellation_contract import CancellationContract
from taskbus.testing.flow_mending_contract import (
    RepeatsContract,
    RevivalContract,
)
from taskbus.testing.flow_model import ModelContract
from taskbus.testing.flow_replacement_contract import ReplacementContract
from taskbus.testing.flow_rules_contract import ChainsContract, JoinsContract
from taskbus.testing.flow_views_contract import CompanyContract, StartsContract, ViewsContract


class RulesContract(ChainsContract, JoinsContract, BatchesContract):
    """What follows when a node ends."""


class MendingContract(RepeatsContract, RevivalContract, ReplacementContract, CancellationContract):
    """Second thoughts."""


class FlowContract(RulesContract, MendingContract, StartsContract, ViewsContract, CompanyContract, ModelContract):
    """Everything."""
