"""The replicas of every model and version, and what watches and changes them.

TorchServe cannot run two workers of one model in continuous batching, so "N workers" is the same
archive registered N times; the outside sees one model with N workers.
"""

from __future__ import annotations

from gateway.replicas.changes import Changes
from gateway.replicas.loading import Loader
from gateway.replicas.monitor import Monitor
from gateway.replicas.on_demand import OnDemand
from gateway.replicas.registration import Registration
from gateway.replicas.registry import Registry
from gateway.replicas.scaling import Scaling
from gateway.settings import Settings
from gateway.torchserve.client import Upstream
from gateway.torchserve.retired import Retired


class Replicas:
    """What is loaded (`registry`), how it is (`monitor`), and the ways to change it."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        changes = Changes()
        self.registry = Registry(settings.model_name)
        loader = Loader(upstream, self.registry, settings)
        self.retired = Retired()
        self.monitor = Monitor(upstream, self.registry, loader, changes, self.retired)
        self.scaling = Scaling(self.registry, loader, self.monitor, changes)
        self.registration = Registration(self.registry, loader, self.scaling, changes)
        self.on_demand = OnDemand(settings, self.registry, self.scaling, changes)
