"""What is loaded: the replicas of every model and version, and which of them serves a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import ModelNotFound, VersionNotFound
from gateway.replicas.replica import Replica, State
from gateway.settings import Settings

DEFAULT_SLOTS = 32
REMEMBERED_PREFIXES = 2048


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


class Pools:
    """The replicas of every model and version, and what their handlers say of themselves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._versions: dict[tuple[str, str], Version] = {}
        self._defaults: dict[str, str] = {}
        self._prefixes: OrderedDict[tuple[str, str, str], int] = OrderedDict()

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

    def all(self) -> list[Replica]:
        """Return every replica."""
        return [replica for version in self._versions.values() for replica in version.replicas]

    def is_ready(self) -> bool:
        """Tell whether the service's own model can answer."""
        version = self._defaults.get(self._settings.model_name)
        return version is not None and any(
            replica.state is State.READY for replica in self.of(self._settings.model_name, version)
        )

    def is_at_rest(self) -> bool:
        """Tell whether the service's own model has no replica because nobody wants one."""
        version = self._defaults.get(self._settings.model_name)
        return version is not None and not self.of(self._settings.model_name, version)

    def capacity(self) -> int:
        """Return how many sequences can run at once."""
        return sum(
            self.slots(replica) for replica in self.all() if replica.state is not State.DRAINING
        )

    def slots(self, replica: Replica) -> int:
        """Return how many sequences one replica runs at once."""
        card = self.card(replica.model, replica.version) or {}
        return int(card.get("limits", {}).get("slots", DEFAULT_SLOTS))

    def card(self, model: str, version: str) -> dict[str, Any] | None:
        """Return what the handler says of a version, or None for other kinds of models."""
        found = self._versions.get((model, version))
        return None if found is None else found.card

    def choose(self, model: str, version: str, prefix: str) -> Replica | None:
        """Return the ready replica with the fewest live sequences, or None.

        Of several the one that last had the same prefix: its key-value cache may still hold it.
        """
        ready = [replica for replica in self.of(model, version) if replica.state is State.READY]
        if not ready:
            return None
        if len(ready) == 1:
            return ready[0]
        fewest = min(replica.live for replica in ready)
        best = [replica for replica in ready if replica.live == fewest]
        chosen = best[0]
        if prefix:
            key = (model, version, prefix)
            warm = self._prefixes.pop(key, 0)
            chosen = next((replica for replica in best if replica.number == warm), chosen)
            self._prefixes[key] = chosen.number
            if len(self._prefixes) > REMEMBERED_PREFIXES:
                self._prefixes.popitem(last=False)
        return chosen
