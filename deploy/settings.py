"""What a person asked of ./scripts/deploy, and the names that follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
SERVICE = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
# 32 slots, 64 that wait, 16 for page, probes and metrics.
CONCURRENCY = 112


class DeployError(Exception):
    """Why it can not be deployed; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One deployment."""

    project: str
    region: str = "europe-west1"
    service: str = "gpt2"
    model: str = "openai-community/gpt2"
    public: bool = False
    api_keys: Path | None = None
    management_key: Path | None = None
    min_instances: int = 0
    max_instances: int = 3
    cpu: int = 2
    memory: str = "2Gi"
    always_cpu: bool = False
    generation: int = 2

    def __post_init__(self) -> None:
        if not PROJECT.fullmatch(self.project):
            raise DeployError(f"--project {self.project!r} is not the id of a project")
        if not SERVICE.fullmatch(self.service):
            raise DeployError(
                "--service: small letters, digits and '-', a letter first, at most 40"
            )
        if not 0 <= self.min_instances <= self.max_instances:
            raise DeployError("--min-instances must lie between 0 and --max-instances")
        if self.api_keys and not self.public:
            raise DeployError("--api-keys needs --public: without it, Google checks who calls")
        for path in filter(None, (self.api_keys, self.management_key)):
            if not path.is_file() or not path.read_text(encoding="utf-8").strip():
                raise DeployError(f"{path} is missing or empty")
        model = Path(self.model)
        if model.is_dir() and not model.resolve().is_relative_to(ROOT):
            raise DeployError(
                f"--model {model} lies outside of this repository: copy it to models/"
            )

    @property
    def account(self) -> str:
        """The service account of the running service; it may read its own secrets, no more."""
        # An account's name has 6 to 30 characters.
        return f"{self.service[:22]}-runtime@{self.project}.iam.gserviceaccount.com"

    @property
    def repository(self) -> str:
        """The image's name, without a tag."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.service}/service"

    @property
    def secrets(self) -> dict[str, Path]:
        """Secrets by name, and the files that hold their values."""
        files = {"api-keys": self.api_keys, "management-key": self.management_key}
        return {f"{self.service}-{name}": path for name, path in files.items() if path}
