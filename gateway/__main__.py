"""`python -m gateway`: TorchServe and the gateway, until a signal comes."""

from __future__ import annotations

import gc
import logging
import os
import sys

from gateway.archives import archive_file, manifest
from gateway.launch import environment
from gateway.settings import SettingsError, load, table
from gateway.web import logs


def main() -> int:
    """Run the service; return the exit status."""
    if sys.argv[1:] == ["--settings"]:
        sys.stdout.write(table() + "\n")
        return 0
    if sys.argv[1:] not in ([], ["serve"]):  # SageMaker starts an image with `serve`
        return _fail("usage: python -m gateway [--settings]; settings come from the environment")
    passed_over: list[str] = []
    try:
        settings = load(report=passed_over.append)
    except SettingsError as error:
        # Which shape log lines have is itself a setting: here the environment alone says it.
        if not os.environ.get("K_SERVICE") or os.environ.get("LOG_FORMAT") == "text":
            return _fail(str(error))
        logs.configure(as_json=True)
        logging.getLogger("gateway").error(str(error))
        return 1
    logs.configure(settings.writes_json_logs)
    fail = _log_failure if settings.writes_json_logs else _fail
    logger = logging.getLogger("gateway")
    passed_over += environment.describe_left_out(os.environ, settings.pass_variables)
    for line in passed_over:
        logger.warning(line)
    # After the settings: these take a while to import.
    from gateway.errors import GatewayError
    from gateway.http.listeners import listen
    from gateway.launch.launch import TorchServeError, find_java
    from gateway.supervisor import Supervisor
    from gateway.torchserve.restarts import GaveUp

    try:
        find_java()
        if settings.model_urls:
            from gateway.archives.fetching import Fetcher, fetch_pinned

            store, most = settings.model_store, settings.max_model_bytes
            fetcher = Fetcher(store, most, settings.model_fetch_seconds)
            fetch_pinned(fetcher, settings.pinned_sources)
        archive = settings.model_store / settings.model_archive
        if not archive.exists():
            return fail(
                f"the model store has no {settings.model_archive}; "
                "make it with ./scripts/package_model, or name another in MODEL_ARCHIVE"
            )
        if not archive.is_dir():
            archive_file.check(archive, settings.archive_bounds)
        archive_file.read_member(archive, manifest.MANIFEST, manifest.MOST_BYTES)
        listeners = listen(settings)
    except GatewayError as error:
        return fail(f"MODEL_URLS: {error.message}")
    except (TorchServeError, archive_file.BadArchive) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"cannot listen on {settings.bind}:{settings.port}: {error.strerror}")
    logger.info("Starting TorchServe and the model")

    async def serve() -> None:
        await Supervisor(settings, listeners).run()

    try:
        import uvloop

        gc.freeze()  # what is loaded stays: no collection looks at it again
        uvloop.run(serve())
    except (GaveUp, TorchServeError, SettingsError) as error:
        return fail(str(error))
    return 0


def _log_failure(message: str) -> int:
    logging.getLogger("gateway").critical(message)
    return 1


def _fail(message: str) -> int:
    sys.stderr.write(f"gateway: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
