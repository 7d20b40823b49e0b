"""The settings of one deployment, and the names that follow from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import keys

ROOT = Path(__file__).resolve().parent.parent
PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
SERVICE = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z]")
DIGEST = re.compile(r"[0-9a-f]{64}")
MEMORY = re.compile(r"([1-9][0-9]*)(Mi|Gi)")
# 32 slots, 64 that wait, 16 for page, probes and metrics.
CONCURRENCY = 112
# By processors: Cloud Run's least and most GiB (cloud.google.com/run/docs/configuring, 2025). What
# the service itself needs is more than Cloud Run's least for one and two.
GIBIBYTES = {1: (1, 4), 2: (1, 8), 4: (2, 16), 6: (4, 24), 8: (4, 32)}

CLOUD_RUN, VERTEX_AI = "cloud-run", "vertex-ai"


class DeployError(Exception):
    """Why it cannot be deployed; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One deployment."""

    project: str
    region: str = "europe-west1"
    service: str = "gpt2"
    # As deploy.context.model_argument returns it.
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
    platform: str = CLOUD_RUN
    machine: str = "n1-standard-2"
    # Further regions, and the name under which all of them are reached.
    regions: tuple[str, ...] = ()
    domain: str = ""
    collector: bool = False
    # Share of requests that a new revision gets at first; 0: all of them.
    canary: int = 0
    model_digest: str = ""

    def __post_init__(self) -> None:
        if not PROJECT.fullmatch(self.project):
            raise DeployError(f"--project {self.project!r} is not the id of a project")
        if not SERVICE.fullmatch(self.service):
            raise DeployError(
                "--service must be at most 40 small letters, digits and '-', a letter first"
            )
        if not 0 <= self.min_instances <= self.max_instances or self.max_instances < 1:
            raise DeployError(
                "--min-instances must lie between 0 and --max-instances, which is at least 1"
            )
        self._check_regions()
        if not 0 <= self.canary <= 99:
            raise DeployError("--canary: a share of the requests, 1 to 99 (percent)")
        if self.model_digest and not DIGEST.fullmatch(self.model_digest):
            raise DeployError("--model-digest: 64 digits from 0 to f (content_sha256)")
        if self.platform == VERTEX_AI and (self.public or self.api_keys or self.management_key):
            raise DeployError(
                "--platform vertex-ai: Google checks who calls; leave out --public and key files"
            )
        if self.api_keys and not self.public:
            raise DeployError("--api-keys needs --public: without it, Google checks who calls")
        if self.api_keys:
            named_keys(self.api_keys)
        if self.management_key:
            key_of(self.management_key)
        self._check_size()

    def _check_regions(self) -> None:
        if bool(self.regions) != bool(self.domain):
            raise DeployError(
                "--regions and --domain go together: one name for the service in all regions"
            )
        if len(set(self.all_regions)) != len(self.all_regions):
            raise DeployError("--regions: each region once, without that of --region")
        if self.domain and not DOMAIN.fullmatch(self.domain):
            raise DeployError(f"--domain {self.domain!r} is not a name such as gpt2.example.com")
        if self.platform == VERTEX_AI and (self.regions or self.collector or self.canary):
            raise DeployError("--regions, --collector and --canary are Cloud Run's")
        if self.regions and self.canary:
            raise DeployError("--canary goes region by region: leave out --regions")

    def _check_size(self) -> None:
        size = MEMORY.fullmatch(self.memory)
        if not size:
            raise DeployError(f"--memory {self.memory}: a number with Mi or Gi, such as 2Gi")
        least, most = GIBIBYTES[self.cpu]
        gibibytes = int(size[1]) / (1024 if size[2] == "Mi" else 1)
        if not least <= gibibytes <= most:
            raise DeployError(
                f"--memory {self.memory}: with --cpu {self.cpu} it is {least}Gi to {most}Gi"
            )

    @property
    def all_regions(self) -> tuple[str, ...]:
        """Where it runs; the image is kept in the first."""
        return (self.region, *self.regions)

    @property
    def groups(self) -> str:
        """Dependency groups of the image."""
        return "serve trace" if self.collector else "serve"

    @property
    def account(self) -> str:
        """The service account of the running service; it may read its own secrets, no more."""
        # An account's name has 6 to 30 characters.
        return f"{self.service[:22]}-runtime@{self.project}.iam.gserviceaccount.com"

    @property
    def builder(self) -> str:
        """The service account of the build; it may read its source, write its image and a log."""
        return f"{self.service[:24]}-build@{self.project}.iam.gserviceaccount.com"

    @property
    def source_bucket(self) -> str:
        """Where `gcloud builds submit` puts the source; it checks that the project owns it."""
        return f"gs://{self.project}_cloudbuild"

    @property
    def repository(self) -> str:
        """The image's name, without a tag."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.service}/service"

    @property
    def secrets(self) -> dict[str, Path]:
        """Secrets by name, and the files that hold their values."""
        files = {"api-keys": self.api_keys, "management-key": self.management_key}
        return {f"{self.service}-{name}": path for name, path in files.items() if path}

    @property
    def keys_digest(self) -> str:
        """A few digits that change with the keys, and reveal nothing of long random ones."""
        digest = hashlib.sha256()
        for name, path in self.secrets.items():
            digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
        return digest.hexdigest()[:12]


def named_keys(path: Path) -> dict[str, str]:
    """Return the keys of a file by their names, as the gateway reads them.

    Raises:
        DeployError: The gateway would not start with it.
    """
    with _telling(path):
        found = keys.named_keys(keys.lines_of(str(path), path.read_bytes()))
        if not found:
            raise keys.KeyFault("it holds no key")
        return found


def key_of(path: Path) -> str:
    """Return the one key of a file, likewise.

    Raises:
        DeployError: The gateway would not start with it.
    """
    with _telling(path):
        key = keys.text_of(str(path), path.read_bytes()).strip(keys.BLANKS)
        keys.judge(key, "the key")
        if not key:
            raise keys.KeyFault("it holds no key")
        return key


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, keys.KeyFault) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise DeployError(f"{path}: {reason}") from None
