"""The registry of models, their versions, and the replicas of each. Never calls TorchServe."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import Conflict, ModelNotFound, Unavailable, VersionNotFound
from gateway.replicas.demand import Demand
from gateway.replicas.in_flight import Abort
from gateway.replicas.replica import Replica, State

logger = logging.getLogger("gateway.replicas")

DEFAULT_SLOTS = 32


@dataclass(slots=True)
class Version:
    """A version of a model: its archive, how TorchServe is to load it, and its replicas."""

    archive: str
    # Parameters of its registration, beside those that every replica has.
    options: Mapping[str, str] = field(default_factory=dict)
    # None of them is a state that was asked for.
    replicas: list[Replica] = field(default_factory=list)
    # What its handler says of it; other kinds of models say nothing.
    card: dict[str, Any] | None = None
    # What TorchServe said of it last.
    description: dict[str, Any] = field(default_factory=dict)
    # Where TorchServe has it unpacked, if it does not read the archive itself.
    source: str = ""
    # Whether it was registered, and is still to get its first replicas.
    is_loading: bool = False
    # Whether a worker of it has been ready ever: until then nobody knows what it takes.
    was_ready: bool = False
    # Of an archive of MODEL_ARCHIVES: who wants it, and whether it may be put away.
    demand: Demand | None = None
    # Memory of one worker as measured when it was ready; 0 before.
    worker_bytes: int = 0

    @property
    def is_on_demand(self) -> bool:
        """Whether it is loaded when somebody asks for it, and may be put away."""
        return self.demand is not None and not self.demand.is_fixed

    @property
    def state(self) -> str:
        """Whether it is in memory: `loaded`, `loading`, `put_away`, or scaled to `no_workers`."""
        if self.is_loading:
            return "loading"
        if self.replicas:
            return "loaded"
        return "put_away" if self.is_on_demand else "no_workers"


class Registry:
    """The replicas of every model and version, and what their handlers say of themselves."""

    def __init__(self, own_model: str) -> None:
        self.own_model = own_model
        self._versions: dict[tuple[str, str], Version] = {}
        self._defaults: dict[str, str] = {}

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return sorted(self._defaults)

    def versions(self, model: str) -> list[str]:
        """Versions of a model."""
        return sorted(version for name, version in self._versions if name == model)

    def resolve(self, model: str, version: str | None = None) -> str:
        """Return the version that serves a model.

        Raises:
            NotFound: There is no such model or version.
        """
        if model not in self._defaults:
            known = ", ".join(f"`{name}`" for name in self.models) or "none yet"
            raise ModelNotFound(
                f"There is no model `{model[:64]}`; loaded: {known}",
                param="model",
            )
        if version is None:
            return self._defaults[model]
        if (model, version) not in self._versions:
            raise VersionNotFound(
                f"Model `{model}` has no version `{version[:32]}`; "
                f"loaded: {', '.join(self.versions(model))}",
                param="model",
            )
        return version

    def named(self, name: str) -> str:
        """Return the model that is called `name`: by its own name, or by its checkpoint's.

        Of several models of one checkpoint the service's own comes first. A name that nothing has
        is returned as it is, for `resolve` to refuse.
        """
        if name in self._defaults:
            return name
        for model in sorted(self._defaults, key=lambda known: (known != self.own_model, known)):
            known = self._versions[model, self._defaults[model]]
            card = known.card or (known.demand.about if known.demand else {})
            checkpoint = str(card.get("checkpoint", ""))
            if name in (checkpoint, checkpoint.partition("@")[0]) and checkpoint:
                return model
        return name

    def of(self, model: str, version: str) -> list[Replica]:
        """Return the replicas of a version."""
        found = self._versions.get((model, version))
        return [] if found is None else found.replicas

    def __contains__(self, known: tuple[str, str]) -> bool:
        return known in self._versions

    def version(self, model: str, version: str) -> Version:
        """Return what is known of a version that `resolve` has found."""
        return self._versions[model, version]

    def default(self, model: str) -> Version:
        """Return the version that serves a model which is loaded."""
        return self._versions[model, self._defaults[model]]

    def is_default(self, model: str, version: str) -> bool:
        """Return whether `version` serves requests that name none."""
        return self._defaults.get(model) == version

    def add(self, model: str, version: str, made: Version) -> None:
        """Add a version; the first one of a model serves requests that name none."""
        self._versions[model, version] = made
        self._defaults.setdefault(model, version)

    def remove(self, model: str, version: str) -> Version | None:
        """Take a version out and return it, if it was there."""
        removed = self._versions.pop((model, version), None)
        if not self.versions(model):
            self._defaults.pop(model, None)
        return removed

    def set_default(self, model: str, version: str) -> None:
        """Let a version serve requests that name none."""
        self._defaults[model] = version

    def known(self) -> list[tuple[str, str, Version]]:
        """Return every version, with the names of its model and its own."""
        return [(model, version, each) for (model, version), each in self._versions.items()]

    def all(self) -> list[Replica]:
        """Return every replica."""
        return [replica for version in self._versions.values() for replica in version.replicas]

    def is_ready(self) -> bool:
        """Return whether the service's own model can answer."""
        version = self._defaults.get(self.own_model)
        return version is not None and self.is_version_ready(self.own_model, version)

    def is_version_ready(self, model: str, version: str) -> bool:
        """Return whether a version can answer, be it once it was loaded."""
        found = self._versions.get((model, version))
        if found is None:
            return False
        is_ready = any(replica.state is State.READY for replica in found.replicas)
        return is_ready or (found.is_on_demand and not found.replicas)

    def is_at_rest(self) -> bool:
        """Return whether the service's own model has no replica because nobody wants one."""
        version = self._defaults.get(self.own_model)
        return version is not None and not self.of(self.own_model, version)

    def capacity(self) -> int:
        """Return how many sequences can run at once."""
        return sum(
            self.slots(replica) for replica in self.all() if replica.state is not State.DRAINING
        )

    def slots(self, replica: Replica) -> int:
        """Return how many sequences one replica runs at once."""
        card = self.card(replica.model, replica.version) or {}
        return int(card.get("limits", {}).get("slots", DEFAULT_SLOTS))

    def cards(self) -> list[dict[str, Any]]:
        """Return what handlers say of all versions, as far as they have said it."""
        return [each.card for each in self._versions.values() if each.card is not None]

    def card(self, model: str, version: str) -> dict[str, Any] | None:
        """Return what the handler says of a version, or None for other kinds of models."""
        found = self._versions.get((model, version))
        return None if found is None else found.card

    # Refusals

    def serving(self, model: str, version: str | None = None) -> str:
        """Return the version that serves a model, if it takes predictions.

        Raises:
            NotFound: There is no such model or version.
            Unavailable: It is still being loaded, or has no workers.
        """
        version = self.resolve(model, version)
        self.refuse_at_rest(model, version)
        known = self.version(model, version)
        if not known.was_ready and not known.is_on_demand:
            raise Unavailable(
                f"`{model}` {version} is being loaded; try again soon",
                code="loading",
                retry_after=5,
            )
        return version

    def refuse_at_rest(self, model: str, version: str) -> None:
        """Raise Unavailable where a version was scaled to no workers."""
        known = self.version(model, self.resolve(model, version))
        if not known.replicas and not known.is_loading and not known.is_on_demand:
            raise Unavailable(
                f"`{model}` was scaled to 0 workers; PUT /models/{model}?min_worker=1 adds one",
                code="no_workers",
            )

    def refuse_if_loaded(self, model: str, version: str) -> None:
        """Raise Conflict where a version is loaded, or is when somebody asks for it."""
        if (model, version) not in self:
            return
        if self.version(model, version).is_on_demand:
            raise Conflict(
                f"`{model}` {version} is already available through MODEL_ARCHIVES; "
                f"PUT /models/{model}?min_worker=1 keeps it loaded",
                code="loaded_already",
            )
        raise Conflict(f"`{model}` {version} is already loaded", code="loaded_already")

    # Requests in flight

    def abort_all(self, cause: Abort) -> int:
        """End every request in flight; return how many there were."""
        requests = [request for replica in self.all() for request in replica.requests]
        for request in requests:
            request.abort(cause)
        return len(requests)

    def end_stalled(self, seconds: float) -> None:
        """End the requests that TorchServe has been silent about for too long.

        Where nothing moves of what a worker serves, it no longer works: it is ended, too.
        """
        for replica in self.all():
            stalled = [request for request in replica.requests if request.is_stalled(seconds)]
            moves = any(request.moves(seconds) for request in replica.requests)
            for request in stalled:
                request.abort(Abort.STALLED)
            if stalled and not moves and replica.worker:
                logger.warning("%s: its worker is stuck; ending it", replica.name)
                replica.end_worker()

    def hold_back(self, worker: int, seconds: float) -> None:
        """Let the replica whose worker crashed serve nothing for a while."""
        for replica in self.all():
            if replica.had(worker):
                replica.hold_back(seconds)

    def hear_all(self) -> None:
        """Give every request its time anew: nobody was there to listen."""
        for replica in self.all():
            for request in replica.requests:
                request.hear()
