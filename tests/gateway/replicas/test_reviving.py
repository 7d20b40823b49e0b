"""Workers are started anew where they ended, and not in the TorchServe that came after."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from gateway.launch.launch import CRASHES
from gateway.replicas.changes import Changes
from gateway.replicas.loading import Loader
from gateway.replicas.replica import Replica, State
from gateway.replicas.reviving import Reviver
from gateway.torchserve.retired import Retired


class Restarts:
    """Takes the place of a loader: which replicas were to have another worker."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Replica] = asyncio.Queue()

    async def restart(self, replica: Replica) -> None:
        self.asked.put_nowait(replica)


def lost_replica() -> Replica:
    replica = Replica("gpt2", "1.0", 1)
    replica.state = State.LOST
    replica.description = {"workers": [{"id": "9000"}]}
    return replica


async def revive(folder: Path) -> list[str]:
    retired, restarts = Retired(), Restarts()
    retired.look_in(folder)
    reviver = Reviver(cast(Loader, restarts), Changes(), retired)
    old, new = lost_replica(), lost_replica()
    reviver.note(old)  # and then its TorchServe ends
    keeping = asyncio.create_task(reviver.keep())
    await asyncio.sleep(0)
    reviver.note(new)
    asked = await restarts.asked.get()
    keeping.cancel()
    assert restarts.asked.empty()
    assert asked is new
    return [path.name for path in (folder / CRASHES).iterdir()]


def test_what_an_earlier_torchserve_lost_is_left_to_the_next_ones_own_start(tmp_path: Path) -> None:
    (tmp_path / CRASHES).mkdir()
    assert asyncio.run(revive(tmp_path)) == ["retired-9000"]
