"""Settings of the engine: one frozen object, read once from model-config.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from handler.engine.container import available_cpus, available_memory, resident_memory
from handler.engine.errors import ModelError
from handler.older_pythons import SLOTS

LOGPROBS_MODES = ("raw_logprobs", "processed_logprobs")
FRACTIONS = ("stream_interval_ms", "deadline_seconds")
# What ships: packing puts it beside this file (archive/packing.py); a checkout has it in config/.
SHIPPED = "model-config.yaml"


@dataclass(frozen=True, **SLOTS)
class EngineSettings:
    """How the engine runs; config/model-config.yaml has a value for each. Every value has a bound.

    Attributes:
        kind: "native" or "torch".
        slots: Sequences that are generated at once.
        cache_memory_mib: Keys and values, at most.
        max_num_batched_tokens: Tokens that one step computes, of prompts and completions together;
            more than slots.
        stream_interval_ms: How long the engine may run ahead of its clients; 0 sends every token
            by itself.
        threads: 0 takes what the container or machine allows.
        max_waiting: Sequences that may wait for a slot.
        deadline_seconds: A sequence ends after that time, however long it is.
        logprobs_mode: Of which logits log probabilities are, where a request does not say:
            "raw_logprobs" or "processed_logprobs", as vLLM calls them.
    """

    kind: str
    slots: int
    cache_memory_mib: int
    max_num_batched_tokens: int
    stream_interval_ms: float
    threads: int
    max_waiting: int
    deadline_seconds: float
    logprobs_mode: str

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> EngineSettings:
        """Check the `engine:` part of model-config.yaml; what it leaves out is as it ships.

        Raises:
            ModelError: Names the setting and what is allowed.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(mapping) - known)
        if unknown:
            raise ModelError(f"unknown setting engine.{unknown[0]}; known: {', '.join(known)}")
        if known - set(mapping):
            mapping = {**_shipped(), **mapping}
        if missing := sorted(known - set(mapping)):
            raise ModelError(f"engine.{missing[0]} is missing in model-config.yaml")
        settings = cls(**mapping)
        if settings.kind not in ("native", "torch"):
            raise ModelError("engine.kind must be native or torch")
        if settings.logprobs_mode not in LOGPROBS_MODES:
            raise ModelError(f"engine.logprobs_mode must be {' or '.join(LOGPROBS_MODES)}")
        bounds = {
            "slots": (1, 1024),
            "cache_memory_mib": (1, 1 << 20),
            "max_num_batched_tokens": (2, 4096),
            "stream_interval_ms": (0, 1000),
            "threads": (0, 256),
            "max_waiting": (0, 100_000),
            "deadline_seconds": (0.01, 86_400),
        }
        for name, (low, high) in bounds.items():
            value = getattr(settings, name)
            kind = (int, float) if name in FRACTIONS else int
            if isinstance(value, bool) or not isinstance(value, kind):
                what = "a number" if name in FRACTIONS else "a whole number"
                raise ModelError(f"engine.{name} must be {what}")
            if not low <= value <= high:
                raise ModelError(f"engine.{name} must lie between {low} and {high}")
        if settings.max_num_batched_tokens <= settings.slots:
            raise ModelError(
                f"engine.max_num_batched_tokens must be more than engine.slots ({settings.slots}), "
                "or no prompt would be computed beside that many completions"
            )
        return settings

    @property
    def num_threads(self) -> int:
        """Threads of the model: as set, else the processors this process may use."""
        return self.threads or available_cpus()

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values: as set, and at most half of the memory that is left.

        To be asked once the model is loaded; the other half is Java's, the gateway's and for
        what a step computes.
        """
        left = max(0, available_memory() - resident_memory())
        return min(self.cache_memory_mib << 20, left // 2)

    def cache_tokens(self, bytes_per_token: int, longest: int) -> int:
        """Positions that the cache may hold.

        Raises:
            ModelError: Fewer than the `longest` text may need.
        """
        tokens = self.cache_bytes // bytes_per_token
        if tokens < longest:
            needed = -(-longest * bytes_per_token >> 20)
            raise ModelError(
                f"one sequence of {longest} tokens needs {needed} MiB of keys and values, and "
                f"there are {self.cache_bytes >> 20}: raise engine.cache_memory_mib "
                f"({self.cache_memory_mib}) or give the container more memory"
            )
        return tokens


def _shipped() -> Mapping[str, Any]:
    """The `engine:` part of the model-config.yaml that ships."""
    packed = Path(__file__).resolve().with_name(SHIPPED)
    path = packed if packed.exists() else packed.parents[2] / "config" / SHIPPED
    try:
        shipped = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    engine: Mapping[str, Any] = shipped["engine"]
    return engine
