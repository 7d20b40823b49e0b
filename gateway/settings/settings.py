"""Every setting of the service, declared once; one frozen object, handed down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.archives import archive_file
from gateway.archives.archive_urls import Source, parse_pinned
from gateway.paths import ROOT
from gateway.settings.checks import check
from gateway.settings.declaration import setting

LOCAL_HOST = "http://localhost:8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting; the name in the environment is the field's name in capitals."""

    # What the outside sees
    host: str = setting(
        LOCAL_HOST,
        "Public URL of the page, named in `/openapi.json`; not the address to listen on.",
    )
    port: int = setting(8080, "The one open port; 0 picks a free one.", least=0, most=65535)
    bind: str = setting(
        "0.0.0.0", "Address to listen on. All of IPv4 includes ::1; `::` also opens all of IPv6."
    )
    route_generate: str = setting("/generate", "Path of the simple text route.")
    n_tokens: int = setting(20, "Tokens generated when a request has no `max_tokens`.", least=1)
    cors_origins: tuple[str, ...] = setting(
        (), "Origins besides HOST's that browsers may call from, separated by commas; `*` for all."
    )

    # The model and TorchServe
    model_name: str = setting("gpt2", "Name of the model.")
    model_store: Path = setting(ROOT / "model_store", "Directory with the archives.")
    model_archive: str = setting("gpt2.mar", "Archive to load at the start.")
    model_archives: tuple[str, ...] = setting(
        (),
        "Further archives of the store, separated by commas, `*` for all. Each is loaded when a "
        "request names its model ([how](#many-models)).",
    )
    models_memory_bytes: int = setting(
        0,
        "Memory of all workers, without caches. Beyond it, the least recently used model of "
        "MODEL_ARCHIVES is put away. 0 sets no limit.",
        least=0,
    )
    caches_memory_bytes: int = setting(
        0,
        "Memory for the KV caches of all workers together; 0 leaves each to its archive's "
        "`engine.cache_memory_mib`.",
        least=0,
    )
    model_load_seconds: float = setting(
        60, "Seconds a request may wait for a model of MODEL_ARCHIVES to be loaded.", least=1
    )
    max_archive_bytes: int = setting(
        archive_file.MOST_BYTES, "Largest unpacked size of an archive, in bytes.", least=1 << 20
    )
    max_archive_files: int = setting(archive_file.MOST_FILES, "Most files in an archive.", least=1)
    max_archive_ratio: int = setting(
        archive_file.MOST_RATIO,
        "Largest ratio of unpacked to packed size, for archives that unpack to over 64 MiB.",
        least=1,
    )
    model_public_key_file: Path | None = setting(
        None,
        "File with a public key (PEM); archives not signed with it are not loaded "
        "([how](packaging.md#signing)).",
    )
    class_data_file: Path | None = setting(
        None, "Java's shared class data, for a faster start; the container has such a file."
    )
    inference_port: int = setting(
        0, "TorchServe's port for predictions, on 127.0.0.1; 0 picks a free one.", least=0
    )
    management_port: int = setting(0, "TorchServe's port for management, as above.", least=0)
    metrics_port: int = setting(0, "TorchServe's port for metrics, as above.", least=0)
    start_seconds: float = setting(300, "Seconds TorchServe may take to become ready.", least=1)
    start_failures: int = setting(
        3, "Give up the start after the same failure this many times within a minute.", least=1
    )
    max_restarts: int = setting(
        5,
        "Restarts, or crashes of workers, in RESTART_WINDOW_SECONDS; one more ends the service.",
        least=0,
    )
    restart_window_seconds: float = setting(300, "See MAX_RESTARTS.", least=1)
    drain_seconds: float = setting(8, "Seconds that requests in flight get after SIGTERM.", least=0)
    replicas: int = setting(1, "Replicas of the model at the start.", least=1)
    max_replicas: int = setting(4, "Most replicas of the model (each is one worker).", least=1)
    threads_per_replica: int = setting(
        0, "Threads each replica computes with; 0 leaves it to the archive.", least=0
    )
    pass_variables: tuple[str, ...] = setting(
        (),
        "Environment variables to pass on to TorchServe and its workers, besides those they "
        "always get, separated by commas.",
    )

    # Archives from elsewhere
    allowed_model_urls: tuple[str, ...] = setting(
        (),
        "https URLs that `register` may download, separated by commas; one that ends in `/` "
        "includes all below it.",
    )
    model_urls: tuple[str, ...] = setting(
        (), "Archives to download and load at the start, `URL#sha256=DIGEST`, separated by commas."
    )
    max_model_bytes: int = setting(4 << 30, "Largest archive to download, in bytes.", least=1)
    model_fetch_seconds: float = setting(600, "Seconds a download may take.", least=1)

    # Keys
    api_keys: tuple[str, ...] = setting(
        (),
        "Keys for inference, `name:key`, separated by commas; without any, inference is open.",
        secret=True,
    )
    api_keys_file: Path | None = setting(None, "File with such keys, one per line.")
    management_key: str = setting(
        "", "Key for management; without one, management is disabled.", secret=True
    )
    management_key_file: Path | None = setting(None, "File with that key.")
    local_management: bool = setting(
        False, "Without a key, allow management from this machine; `./scripts/serve` sets it."
    )
    metrics_access: str = setting(
        "open",
        "Who may read /metrics: everyone, or holders of the management key.",
        choices=("open", "key"),
    )

    # Limits
    max_body_bytes: int = setting(
        1 << 20, "Largest request body, in bytes.", least=1024, most=6_000_000
    )
    max_bodies_bytes: int = setting(
        64 << 20, "Memory for all request bodies held at the same time, in bytes.", least=1024
    )
    max_form_fields: int = setting(
        100, "Most fields in a form or a query on /predictions.", least=1, most=10_000
    )
    max_header_bytes: int = setting(
        16384,
        "Largest head of a request, in bytes; also limits trailers and overhead in chunks.",
        least=1024,
    )
    header_seconds: float = setting(10, "Seconds a request's head may take to arrive.", least=0.1)
    body_seconds: float = setting(30, "Seconds a request's body may take to arrive.", least=0.1)
    idle_seconds: float = setting(75, "Seconds a connection may be idle between requests.", least=1)
    write_seconds: float = setting(
        30,
        "Seconds a client may read nothing, and seconds it has for each MiB of a whole reply.",
        least=0.1,
    )
    linger_bytes: int = setting(
        32 << 20, "Bytes of a refused request to read on, so that the reply arrives.", least=0
    )
    linger_seconds: float = setting(5, "Seconds to go on reading it.", least=0)
    max_connections: int = setting(
        4096,
        "Most open connections; beyond that, those idle for longest are closed.",
        least=8,
    )
    health_connections: int = setting(
        16, "How many of these to reserve for `/health...`; others get a 503 on them.", least=0
    )
    requests_per_minute: int = setting(
        0, "Requests per minute for each key, or address without one; 0 sets no limit.", least=0
    )
    redis_url: str = setting("", "Redis that counts them across several instances.", secret=True)
    trusted_proxy_hops: int = setting(
        0, "Proxies in front whose X-Forwarded-For is trusted; 1 on Cloud Run.", least=0
    )
    max_waiting: int = setting(
        64, "Sequences that may wait for a slot; further ones get a 429.", least=0
    )
    max_queue_seconds: float = setting(
        60,
        "Seconds a request may wait for a slot. It is refused at once if it would wait longer; 0 "
        "sets no limit.",
        least=0,
    )
    key_limits: str = setting(
        "",
        "Shares, priorities and token budgets of keys, such as "
        "`alice:weight=4,tokens_per_day=1000000;bob:priority=5` (or `tokens_per_minute`).",
    )
    max_tokens_per_request: int = setting(
        16384, "Largest `max_tokens` x `n` (or `best_of`) x prompts.", least=1
    )
    max_logprobs_per_request: int = setting(
        100_000, "Largest tokens x `n` x (`logprobs` + 1); `echo` adds the prompt's.", least=1
    )
    strict_fields: bool = setting(
        False, "Refuse unknown fields in a request instead of ignoring them."
    )
    stream_interval_ms: int = setting(
        15,
        "Milliseconds over which a stream's tokens are collected into one event. The first "
        "token is sent at once; 0 sends each token by itself.",
        least=0,
        most=1000,
    )
    skip_self_test: bool = setting(
        False,
        "Do not check at the start that the archive's files and output are as packed.",
    )
    stall_seconds: float = setting(60, "Seconds without progress before a reply is ended.", least=1)
    stream_keepalive_seconds: float = setting(
        15,
        "Seconds a stream may be silent before an event with empty text is sent; 0 sends none.",
        least=0,
    )
    retry_seconds: float = setting(
        15, "Seconds a request may wait for a worker to come back.", least=0
    )

    # Language
    language_gate: str = setting(
        "warn",
        "What to do with text that is not English: accept it, add a header, or refuse it.",
        choices=("off", "warn", "refuse"),
    )

    # What platforms say
    aip_http_port: int = setting(
        0, "Set by Vertex AI: the port, if PORT is not set.", least=0, most=65535
    )
    aip_predict_route: str = setting(
        "", "Set by Vertex AI: a path that is answered like `/invocations`."
    )
    aip_health_route: str = setting(
        "", "Set by Vertex AI: a path that is answered like `/health/ready`."
    )

    # Logs
    log_format: str = setting(
        "auto",
        "JSON lines or text; auto means JSON on Cloud Run.",
        choices=("auto", "json", "text"),
    )
    k_service: str = setting("", "Set by Cloud Run.")
    google_cloud_project: str = setting("", "Project that the log's traces belong to.")

    # Traces, by OpenTelemetry's names
    otel_exporter_otlp_endpoint: str = setting(
        "", "Where to send traces, such as `http://collector:4318`; empty turns them off."
    )
    otel_exporter_otlp_protocol: str = setting(
        "http/protobuf", "Protocol for sending them.", choices=("http/protobuf", "grpc")
    )
    otel_service_name: str = setting("gpt2", "Name of the service in traces.")
    otel_traces_sampler: str = setting(
        "parentbased_always_on",
        "Which requests are traced; `parentbased_...` follows the caller's decision, if any.",
        choices=(
            *("always_on", "always_off", "traceidratio"),
            *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
        ),
    )
    otel_traces_sampler_arg: float = setting(
        1.0, "Share of requests that `...traceidratio` traces.", least=0, most=1
    )

    @property
    def archive_bounds(self) -> archive_file.Bounds:
        """The limits of an archive's contents."""
        return archive_file.Bounds(
            self.max_archive_files, self.max_archive_bytes, self.max_archive_ratio
        )

    @property
    def allowed_sources(self) -> tuple[Source, ...]:
        """ALLOWED_MODEL_URLS, parsed."""
        return tuple(map(Source.parse, self.allowed_model_urls))

    @property
    def pinned_sources(self) -> tuple[tuple[Source, str], ...]:
        """MODEL_URLS, parsed: the source and the digest."""
        return tuple(map(parse_pinned, self.model_urls))

    @property
    def writes_json_logs(self) -> bool:
        """Whether log lines are JSON."""
        return self.log_format == "json" or (self.log_format == "auto" and bool(self.k_service))

    @property
    def public_url(self) -> str | None:
        """HOST without a slash at its end; None where it is the default.

        The default does not tell where the service is: only PORT may have been changed.
        """
        url = self.host.rstrip("/")
        return None if url == LOCAL_HOST else url

    @property
    def public_origin(self) -> str | None:
        """Scheme, name and port of HOST as a browser writes them, or None as `public_url` is."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        usual_port = {"http": ":80", "https": ":443"}[parts.scheme]
        return f"{parts.scheme}://{parts.netloc.lower().removesuffix(usual_port)}"

    def __post_init__(self) -> None:
        check(self)
