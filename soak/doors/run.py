"""`./scripts/soak --doors`: attacks that never end, then a grammar of HTTP; a table of harms."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

from soak import store
from soak.doors.attacks import ATTACKS, Harm, measure, suffer
from soak.doors.fuzz import fuzz
from soak.service import Service

# Of the time, the part that goes to the attacks that never end, all together.
ATTACKS_SHARE = 0.5
GRAMMAR = "a grammar of broken HTTP"
# What no attack may do. Times are those of a health probe on a connection of its own.
MOST_MIB = 64.0
MOST_PROBE_MS = 1000.0


def attack_doors(minutes: float, seed: int, log: Path, say: Callable[[str], None]) -> bool:
    """Attack a real service; print the table, and return whether it held.

    Raises:
        AttackerFailed: The grammar found something; it is on standard error.
    """
    seconds = minutes * 60 * ATTACKS_SHARE / len(ATTACKS)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        say("packing the model")
        store.make(folder)
        service = Service(folder, log, {})
        stack.callback(service.stop)
        gateway = psutil.Process(service.process.pid)
        harms = {}
        for kind in ATTACKS:
            say(f"{kind}, {seconds:.0f} s")
            harms[kind] = suffer(service.port, gateway, kind, seconds)
        rest = minutes * 60 * (1 - ATTACKS_SHARE)
        say(f"{GRAMMAR}, {rest:.0f} s")
        command = [sys.executable, "-m", "soak.doors.run", str(service.port), str(rest), str(seed)]
        harms[GRAMMAR] = measure(service.port, gateway, command)
    print(table(harms))
    return all(holds(harm) for harm in harms.values())


def holds(harm: Harm) -> bool:
    """Whether an attack did no more than it may."""
    return (
        harm.memory_mib <= MOST_MIB and harm.probe_max_ms <= MOST_PROBE_MS and not harm.probes_lost
    )


def table(harms: dict[str, Harm]) -> str:
    """The harms, for people."""
    lines = [
        "| attack | sent, MiB | cut off | memory, MiB | cores | probe p50, ms | longest | lost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, harm in harms.items():
        lines.append(
            f"| {kind} | {harm.sent_mib:.0f} | {harm.cuts} | {harm.memory_mib:.1f} | "
            f"{harm.cpu:.2f} | {harm.probe_p50_ms:.1f} | {harm.probe_max_ms:.0f} | "
            f"{harm.probes_lost} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    os.nice(19)
    print(0, fuzz(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
