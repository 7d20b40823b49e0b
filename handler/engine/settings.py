"""Settings of the engine: one frozen object, read once from model-config.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from handler.engine.container import available_cpus, available_memory, resident_memory
from handler.errors import ModelError


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine runs; config/model-config.yaml has them all. Every value has a bound.

    kind: "onnx", "native" or "torch". slots: texts written at once. cache_memory_mib: keys and
    values, at most. prefill_piece: tokens of prompts computed between two decode steps. threads: 0
    takes what the container or machine allows. max_waiting: texts that may wait for a slot.
    deadline_seconds: a text ends after that time, however long it is.
    """

    kind: str = "native"
    slots: int = 32
    cache_memory_mib: int = 1024
    prefill_piece: int = 128
    threads: int = 0
    max_waiting: int = 128
    deadline_seconds: float = 120.0

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> EngineSettings:
        """Check the `engine:` part of model-config.yaml.

        Raises:
            ModelError: Names the setting and what is allowed.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(mapping) - known)
        if unknown:
            raise ModelError(f"unknown setting engine.{unknown[0]}; known: {', '.join(known)}")
        settings = cls(**mapping)
        if settings.kind not in ("onnx", "native", "torch"):
            raise ModelError("engine.kind must be onnx, native or torch")
        bounds = {
            "slots": (1, 1024),
            "cache_memory_mib": (1, 1 << 20),
            "prefill_piece": (2, 4096),
            "threads": (0, 256),
            "max_waiting": (0, 100_000),
            "deadline_seconds": (0.01, 86_400),
        }
        for name, (low, high) in bounds.items():
            value = getattr(settings, name)
            kind = (int, float) if name == "deadline_seconds" else int
            if isinstance(value, bool) or not isinstance(value, kind):
                what = "a number" if name == "deadline_seconds" else "a whole number"
                raise ModelError(f"engine.{name} must be {what}")
            if not low <= value <= high:
                raise ModelError(f"engine.{name} must lie between {low} and {high}")
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
                f"one text of {longest} tokens needs {needed} MiB of keys and values, "
                f"and there are {self.cache_bytes >> 20}: raise engine.cache_memory_mib "
                f"({self.cache_memory_mib}) or give the container more memory"
            )
        return tokens
