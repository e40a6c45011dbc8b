"""What ``taskbus worker`` does once its runners' server is on its way: everything that is heavy to import."""

from taskbus.broker.transports.schemes import transport_of
from taskbus.cli.banner import fields, show_banner, warnings
from taskbus.cli.opening import check_shared
from taskbus.cli.readiness import tell_ready
from taskbus.worker.launch import Launched
from taskbus.worker.options import WorkerInfo, WorkerOptions
from taskbus.worker.supervisor import run


def work(options: WorkerOptions, broker: str, launched: Launched | None, *, is_quiet: bool) -> int:
    """Run the worker; returns its exit status. ``broker``: as far as it is known before the app is, to be checked."""
    if broker:
        transport_of(broker)
        check_shared(broker)

    def on_ready(info: WorkerInfo) -> None:
        show_banner(info, as_json=options.log_format == "json", is_quiet=is_quiet)
        tell_ready({"fields": fields(info), "warnings": warnings(info)})

    return run(options, on_ready, launched)
