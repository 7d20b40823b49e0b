"""Ctrl-C or SIGTERM ends everything that ./scripts/serve started, whatever it was at."""

from __future__ import annotations

import signal

import pytest

from tests.scripts.conftest import PATIENCE, Checkout, living

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("sent", "status"), SIGNALS)
@pytest.mark.parametrize("phase", ["pip install", "archive"])
def test_a_signal_leaves_no_process_behind(
    checkout: Checkout, phase: str, sent: signal.Signals, status: int
) -> None:
    process, children = checkout.hang(phase)
    assert len(children) >= 2  # the command and what it started
    process.send_signal(sent)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert not living(children)
    assert "error:" not in errors and "gateway" not in checkout.asked


def test_the_next_start_takes_up_where_it_ended(checkout: Checkout) -> None:
    process, _ = checkout.hang("pip install")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    (checkout.root / "hangs").unlink()
    assert checkout.serve().returncode == 0
    assert checkout.asked[-1] == "gateway"


def test_a_failed_packing_ends_it_with_its_status(checkout: Checkout) -> None:
    checkout.serve()
    checkout.archive.unlink()
    checkout.archive.parent.rmdir()
    checkout.archive.parent.touch()  # nowhere to write to
    assert checkout.serve().returncode == 1
    assert len(checkout.asked_for("archive")) == 2
    assert len(checkout.asked_for("gateway")) == 1
