"""All kinds of fault, by their names."""

from __future__ import annotations

from soak.faults import clients, machine, management, processes
from soak.faults.fault import Fault

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        *processes.FAULTS,
        *machine.FAULTS,
        *management.FAULTS,
        *clients.FAULTS,
    )
}
