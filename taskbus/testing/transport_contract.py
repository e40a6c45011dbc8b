"""What every transport must do, as tests: subclass ``TransportContract`` and say where your queues are.

::

    class TestMine(TransportContract):
        @pytest.fixture
        def url(self, tmp_path):
            return f"mine://{tmp_path}/queues"

Every broker opened on one URL must reach the same queues, which are empty at first and nobody else's. Time is the clock
that the broker is given. What a transport cannot do it says in its ``Features``; a test that needs it is then skipped
with that reason. No test may be overridden to pass.
"""

from taskbus.testing.transport_flows import FlowsContract
from taskbus.testing.transport_kombu import KombuContract
from taskbus.testing.transport_leases import LeasesContract
from taskbus.testing.transport_messages import MessagesContract
from taskbus.testing.transport_processes import ProcessesContract
from taskbus.testing.transport_publishing import PublishingContract


class TransportContract(
    MessagesContract, PublishingContract, LeasesContract, FlowsContract, KombuContract, ProcessesContract
):
    """All of it."""
