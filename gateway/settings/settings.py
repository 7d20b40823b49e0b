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
        LOCAL_HOST, "Public URL of the page, named in `/openapi.json`; never a bind address."
    )
    port: int = setting(8080, "The one open port; 0 takes a free one.", least=0, most=65535)
    bind: str = setting(
        "0.0.0.0", "Address to listen on; with all of IPv4 also ::1, `::` for all of IPv6."
    )
    route_generate: str = setting("/generate", "Path of the plain route.")
    n_tokens: int = setting(20, "Tokens generated when a request has no `max_tokens`.", least=1)
    cors_origins: tuple[str, ...] = setting(
        (), "Origins that may call from a browser besides HOST's, separated by commas; `*` for all."
    )

    # The model and TorchServe
    model_name: str = setting("gpt2", "Name of the model.")
    model_store: Path = setting(ROOT / "model_store", "Directory of the archives.")
    model_archive: str = setting("gpt2.mar", "Archive that is loaded at the start.")
    model_archives: tuple[str, ...] = setting(
        (),
        "Further archives of the store, separated by commas, `*` for all: each is loaded when a "
        "request names its model ([how](#many-models)).",
    )
    models_memory_bytes: int = setting(
        0,
        "Memory of all workers, without caches; beyond it, the model of MODEL_ARCHIVES that was "
        "used longest ago is put away. 0 sets no bound.",
        least=0,
    )
    caches_memory_bytes: int = setting(
        0,
        "Keys and values of all workers together; 0 leaves each to its archive "
        "(`engine.cache_memory_mib`).",
        least=0,
    )
    model_load_seconds: float = setting(
        60, "Time a request may wait for a model of MODEL_ARCHIVES to be loaded.", least=1
    )
    max_archive_bytes: int = setting(
        archive_file.MOST_BYTES, "Bytes that an archive may have when unpacked.", least=1 << 20
    )
    max_archive_files: int = setting(
        archive_file.MOST_FILES, "Files that an archive may have.", least=1
    )
    max_archive_ratio: int = setting(
        archive_file.MOST_RATIO,
        "How many times as long an archive beyond 64 MiB may be when unpacked.",
        least=1,
    )
    model_public_key_file: Path | None = setting(
        None,
        "File with a public key (PEM); archives that it did not sign are not loaded "
        "([how](packaging.md#signing)).",
    )
    class_data_file: Path | None = setting(
        None, "File of Java's shared class data, for a quicker start; the container has one."
    )
    inference_port: int = setting(
        0, "TorchServe's port for predictions, on 127.0.0.1; 0 takes a free one.", least=0
    )
    management_port: int = setting(0, "TorchServe's port for management, likewise.", least=0)
    metrics_port: int = setting(0, "TorchServe's port for metrics, likewise.", least=0)
    start_seconds: float = setting(300, "Time TorchServe may take to be ready.", least=1)
    start_failures: int = setting(
        3, "How often the same failure within a minute ends a start that was never ready.", least=1
    )
    max_restarts: int = setting(
        5,
        "Restarts, or crashes of workers, in RESTART_WINDOW_SECONDS; one more ends all.",
        least=0,
    )
    restart_window_seconds: float = setting(300, "See MAX_RESTARTS.", least=1)
    drain_seconds: float = setting(8, "Time requests in flight get after SIGTERM.", least=0)
    replicas: int = setting(1, "Copies of the model at the start.", least=1)
    max_replicas: int = setting(4, "Most copies of the model (each is one worker).", least=1)
    threads_per_replica: int = setting(
        0, "Threads of each copy's decode; 0 leaves it to the archive.", least=0
    )
    pass_variables: tuple[str, ...] = setting(
        (),
        "Variables that TorchServe and its workers get besides the few they need, separated "
        "by commas.",
    )

    # Archives from elsewhere
    allowed_model_urls: tuple[str, ...] = setting(
        (),
        "https URLs that `register` may fetch, separated by commas; one that ends in `/` with "
        "all below.",
    )
    model_urls: tuple[str, ...] = setting(
        (), "Archives to fetch and load at the start, `URL#sha256=DIGEST`, separated by commas."
    )
    max_model_bytes: int = setting(4 << 30, "Longest archive that is fetched.", least=1)
    model_fetch_seconds: float = setting(600, "Time an archive may take to arrive.", least=1)

    # Keys
    api_keys: tuple[str, ...] = setting(
        (),
        "Keys for inference, `name:key`, separated by commas; without any it is open.",
        secret=True,
    )
    api_keys_file: Path | None = setting(None, "File with such keys, one a line.")
    management_key: str = setting("", "Key for management; without one it is closed.", secret=True)
    management_key_file: Path | None = setting(None, "File with that key.")
    local_management: bool = setting(
        False, "Without a key, let this machine manage; `./scripts/serve` turns it on."
    )
    metrics_access: str = setting(
        "open", "Who may read /metrics: anyone, or the management key.", choices=("open", "key")
    )

    # Limits
    max_body_bytes: int = setting(1 << 20, "Longest request body.", least=1024, most=6_000_000)
    max_bodies_bytes: int = setting(
        64 << 20, "All request bodies that are held at once, together.", least=1024
    )
    max_form_fields: int = setting(
        100, "Fields of a form or a query on /predictions.", least=1, most=10_000
    )
    max_header_bytes: int = setting(
        16384,
        "Longest head of a request; also its trailers, and unnecessary bytes in its chunks.",
        least=1024,
    )
    header_seconds: float = setting(10, "Time for a request's head.", least=0.1)
    body_seconds: float = setting(30, "Time for a request's body.", least=0.1)
    idle_seconds: float = setting(75, "Time a connection may idle between requests.", least=1)
    write_seconds: float = setting(
        30,
        "Time a client may read nothing, and time it has for each MiB of a whole reply.",
        least=0.1,
    )
    linger_bytes: int = setting(
        32 << 20, "Of a refused request, bytes that are read on so that the reply arrives.", least=0
    )
    linger_seconds: float = setting(5, "Time for that.", least=0)
    max_connections: int = setting(
        4096,
        "Most open connections; beyond that, those that have waited longest are closed.",
        least=8,
    )
    health_connections: int = setting(
        16, "Of these, kept for `/health...`: other requests get a 503 on them.", least=0
    )
    requests_per_minute: int = setting(
        0, "Requests a minute for each key, or client address without one; 0 is off.", least=0
    )
    redis_url: str = setting(
        "", "Redis that counts them for several instances together.", secret=True
    )
    trusted_proxy_hops: int = setting(
        0, "Proxies in front whose X-Forwarded-For is believed; 1 on Cloud Run.", least=0
    )
    max_waiting: int = setting(64, "Sequences that may wait for a slot; more get a 429.", least=0)
    max_queue_seconds: float = setting(
        60,
        "Seconds that a request may wait for a slot; refused at once if it would wait longer, 0 "
        "sets no limit.",
        least=0,
    )
    key_limits: str = setting(
        "",
        "Shares, priorities and tokens of keys, like "
        "`alice:weight=4,tokens_per_day=1000000;bob:priority=5` (or `tokens_per_minute`).",
    )
    max_tokens_per_request: int = setting(
        16384, "Most `max_tokens` x `n` (or `best_of`) x prompts.", least=1
    )
    max_logprobs_per_request: int = setting(
        100_000, "Most tokens x `n` x (`logprobs` + 1), with `echo` the prompt's too.", least=1
    )
    strict_fields: bool = setting(
        False, "Refuse unknown fields of a request instead of ignoring them."
    )
    stream_interval_ms: int = setting(
        15,
        "Milliseconds of tokens that an event of a stream may contain; the first is sent at "
        "once, 0 sends each token by itself.",
        least=0,
        most=1000,
    )
    skip_self_test: bool = setting(
        False,
        "Start without checking that the archive's files and output are those that were packed.",
    )
    stall_seconds: float = setting(
        60, "Time without a sign of life before a reply is ended.", least=1
    )
    stream_keepalive_seconds: float = setting(
        15,
        "Time a stream may send nothing before its client gets an event with empty text; 0 sends "
        "none.",
        least=0,
    )
    retry_seconds: float = setting(
        15, "Time a request may wait for a worker that is coming back.", least=0
    )

    # Language
    language_gate: str = setting(
        "warn",
        "What to do with text that is not English: pass it, pass it with a header, or refuse it.",
        choices=("off", "warn", "refuse"),
    )

    # What platforms say
    aip_http_port: int = setting(
        0, "Set by Vertex AI: the port, where PORT is not set.", least=0, most=65535
    )
    aip_predict_route: str = setting(
        "", "Set by Vertex AI: a path that is answered as `/invocations`."
    )
    aip_health_route: str = setting("", "Set by Vertex AI: a path like `/health/ready`.")

    # Logs
    log_format: str = setting(
        "auto", "JSON lines or text; auto is JSON on Cloud Run.", choices=("auto", "json", "text")
    )
    k_service: str = setting("", "Set by Cloud Run.")
    google_cloud_project: str = setting("", "Project to which the log's traces belong.")

    # Traces, by OpenTelemetry's names
    otel_exporter_otlp_endpoint: str = setting(
        "", "Where traces go, like `http://collector:4318`; without it there are none."
    )
    otel_exporter_otlp_protocol: str = setting(
        "http/protobuf", "How they go there.", choices=("http/protobuf", "grpc")
    )
    otel_service_name: str = setting("gpt2", "What the service is called in traces.")
    otel_traces_sampler: str = setting(
        "parentbased_always_on",
        "Which requests are traced; `parentbased_...`: as the caller says, where it says so.",
        choices=(
            *("always_on", "always_off", "traceidratio"),
            *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
        ),
    )
    otel_traces_sampler_arg: float = setting(
        1.0, "Share of requests for `...traceidratio`.", least=0, most=1
    )

    @property
    def archive_bounds(self) -> archive_file.Bounds:
        """How much an archive may become."""
        return archive_file.Bounds(
            self.max_archive_files, self.max_archive_bytes, self.max_archive_ratio
        )

    @property
    def allowed_sources(self) -> tuple[Source, ...]:
        """ALLOWED_MODEL_URLS, taken apart."""
        return tuple(map(Source.parse, self.allowed_model_urls))

    @property
    def pinned_sources(self) -> tuple[tuple[Source, str], ...]:
        """MODEL_URLS, taken apart: from where, and the digest."""
        return tuple(map(parse_pinned, self.model_urls))

    @property
    def writes_json_logs(self) -> bool:
        """Whether log lines are JSON."""
        return self.log_format == "json" or (self.log_format == "auto" and bool(self.k_service))

    @property
    def public_url(self) -> str | None:
        """HOST without a slash at its end; None where it is the default.

        The default says nothing of where the service is: PORT alone may have been changed.
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
