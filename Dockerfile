# The whole service in one image:   docker build --tag text-generator-gpt2 .
# The arguments are described in docs/container.md; none is needed.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# ---- 1. packages: what a running service imports, at the pinned versions
FROM ${BASE_IMAGE} AS packages
# Where packages come from, for networks of their own; read by pip and Python themselves.
ARG TORCH_INDEX_URL
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
ARG PIP_CACHE_DIR
ARG SSL_CERT_FILE
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml requirements.lock ./
COPY commands commands
# Dependency groups of pyproject.toml: "serve torch" serves `engine: torch` too.
ARG GROUPS=serve
RUN python3 -m commands install ${GROUPS}

# ---- 2. model: the archive, made as everywhere else, then unpacked and checked by its hash
FROM packages AS model
RUN python3 -m commands install package
ARG MODEL=openai-community/gpt2
ARG REQUESTS_CA_BUNDLE
ARG HF_ENDPOINT
COPY archive archive
COPY handler handler
COPY config config
COPY models models
COPY gateway/__init__.py gateway/
COPY gateway/archives/__init__.py gateway/archives/archive_file.py gateway/archives/
COPY deploy/image/unpack.py deploy/image/
RUN .venv/bin/python -m archive --model "${MODEL}" --name gpt2 --output /tmp/archives \
    && PYTHONPATH=. .venv/bin/python deploy/image/unpack.py /tmp/archives/gpt2.mar model_store/gpt2 \
    && rm -rf /tmp/archives

# ---- 3. service: slimmed, compiled, started once
FROM packages AS service
COPY deploy/image/slim deploy/image/
RUN deploy/image/slim .venv
COPY --from=model /app/model_store model_store
COPY config config
COPY gateway gateway
COPY handler handler
COPY config.properties ./
COPY deploy/image/class_data.py deploy/image/healthcheck.py deploy/image/
RUN .venv/bin/python -m compileall -q --invalidation-mode unchecked-hash gateway handler \
    && PYTHONPATH=. .venv/bin/python deploy/image/class_data.py class-data/torchserve.jsa

# ---- 4. what is shipped: the base without pip, and /app
FROM ${BASE_IMAGE}
ARG VERSION=0.2.0
ARG REVISION=unknown
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="text-generator-gpt2" \
      org.opencontainers.image.description="GPT-2 text generation on TorchServe: page, API, one port" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY deploy/image/finish /tmp/finish
RUN /tmp/finish && rm /tmp/finish
WORKDIR /app
COPY --from=service /app/.venv .venv
COPY --from=service /app/class-data class-data
COPY --from=service /app/model_store model_store
COPY --from=service /app/config.properties ./
COPY --from=service /app/config config
COPY --from=service /app/handler handler
COPY --from=service /app/gateway gateway
COPY --from=service /app/deploy/image/healthcheck.py ./
COPY deploy/image/sbom.py ./
# MODEL_ARCHIVE is a directory: nothing is unzipped at the start. TMPDIR is all that is written.
# DRAIN_SECONDS: platforms and `docker stop` kill 10 s after SIGTERM; to end takes one or two of them.
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    TMPDIR=/tmp \
    MALLOC_ARENA_MAX=2 \
    DRAIN_SECONDS=7 \
    MODEL_ARCHIVE=gpt2 \
    CLASS_DATA_FILE=/app/class-data/torchserve.jsa
# What is in it, as CycloneDX says it: docs/container.md.
RUN python -E -B sbom.py sbom.cdx.json
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-E", "/app/healthcheck.py"]
# -E: a PYTHONHOME or PYTHONPATH that somebody set is not for this Python; -B and -u say what the ENV does.
ENTRYPOINT ["python", "-E", "-B", "-u", "-m", "gateway"]
