"""A network of two: this machine, and a namespace for one container, joined by a virtual cable."""

from __future__ import annotations

import itertools
import os
import subprocess

_numbers = itertools.count(os.getpid() % 200 * 50)


class Network:
    """A namespace of its own, which the container listens in; nothing else is reached from it."""

    def __init__(self) -> None:
        number = next(_numbers) % 16_000
        self.name = f"gpt2-{number}"
        block = f"10.231.{number // 64}"
        base = number % 64 * 4
        self.outside, self.address = f"{block}.{base + 1}", f"{block}.{base + 2}"
        cable = f"g{number}"
        inside = ("-n", self.name)
        for words in (
            ("netns", "add", self.name),
            ("link", "add", f"{cable}o", "type", "veth", "peer", f"{cable}i", "netns", self.name),
            ("address", "add", f"{self.outside}/30", "dev", f"{cable}o"),
            ("link", "set", f"{cable}o", "up"),
            (*inside, "address", "add", f"{self.address}/30", "dev", f"{cable}i"),
            (*inside, "link", "set", f"{cable}i", "up"),
            (*inside, "link", "set", "lo", "up"),
        ):
            subprocess.run(["ip", *words], check=True)

    @property
    def path(self) -> str:
        """The namespace as podman wants it."""
        return f"ns:/run/netns/{self.name}"

    def close(self) -> None:
        """Take it down; the cable goes with it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
