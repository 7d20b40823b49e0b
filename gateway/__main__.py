"""`python -m gateway`: TorchServe and the gateway, until a signal comes."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys

from gateway.archives import archive_file, manifest, signature
from gateway.launch import environment
from gateway.settings import Settings, SettingsError, load, table
from gateway.web import logs


class CannotServe(Exception):
    """The service did not start, or could not go on; one line that says why."""


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
        return _fail_without_settings(str(error))
    logs.configure(settings.writes_json_logs)
    passed_over += environment.describe_left_out(os.environ, settings.pass_variables)
    for line in passed_over:
        logging.getLogger("gateway").warning(line)
    try:
        _serve(settings)
    except CannotServe as error:
        fail = _log_failure if settings.writes_json_logs else _fail
        return fail(str(error))
    return 0


def _serve(settings: Settings) -> None:
    """Serve until a signal comes.

    Raises:
        CannotServe: It did not start, or TorchServe could not be kept alive.
    """
    # After the settings: these take a while to import.
    import uvloop

    from gateway.launch.launch import TorchServeError, find_java
    from gateway.supervisor import Supervisor
    from gateway.torchserve.restarts import GaveUp

    try:
        find_java()
        _fetch_archives(settings)
        _check_archive(settings)
        if settings.model_public_key_file is not None and not signature.is_installed():
            raise CannotServe(signature.NOT_INSTALLED)
        listeners = _listen(settings)
        logging.getLogger("gateway").info("Starting TorchServe and the model")

        async def run() -> None:
            await Supervisor(settings, listeners).run()

        gc.freeze()  # what is loaded stays: no collection looks at it again
        uvloop.run(run())
    except (GaveUp, TorchServeError, SettingsError) as error:
        raise CannotServe(str(error)) from None


def _fetch_archives(settings: Settings) -> None:
    """Fetch the archives that MODEL_URLS pins.

    Raises:
        CannotServe: One cannot be had, or kept.
    """
    if not settings.model_urls:
        return
    from gateway.archives.fetching import Fetcher, fetch_pinned
    from gateway.errors import GatewayError

    store, most = settings.model_store, settings.max_model_bytes
    fetcher = Fetcher(store, most, settings.model_fetch_seconds)
    try:
        fetch_pinned(fetcher, settings.pinned_sources)
    except GatewayError as error:
        raise CannotServe(f"MODEL_URLS: {error.message}") from None
    except OSError as error:
        raise CannotServe(f"MODEL_URLS: cannot write to {store}: {error.strerror}") from None


def _check_archive(settings: Settings) -> None:
    """Look at the archive to be served, before TorchServe does.

    Raises:
        CannotServe: There is none, or it is broken or hostile.
    """
    archive = settings.model_store / settings.model_archive
    try:
        if not archive.exists():
            raise CannotServe(
                f"the model store has no {settings.model_archive}; "
                "make it with ./scripts/package_model, or name another in MODEL_ARCHIVE"
            )
        if not archive.is_dir():
            archive_file.check(archive, settings.archive_bounds)
        archive_file.read_member(archive, manifest.MANIFEST, manifest.MOST_BYTES)
    except archive_file.BadArchive as error:
        raise CannotServe(str(error)) from None
    except OSError as error:
        raise CannotServe(f"cannot read {archive}: {error.strerror}") from None


def _listen(settings: Settings) -> list[socket.socket]:
    """Open the service's port.

    Raises:
        CannotServe: It is taken, or may not be used.
    """
    from gateway.http.listeners import listen

    try:
        return listen(settings)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {settings.bind}:{settings.port}: {error.strerror}"
        ) from None


def _fail_without_settings(message: str) -> int:
    """Fail where the settings are wrong; of the logs' format the environment alone tells then."""
    if not os.environ.get("K_SERVICE") or os.environ.get("LOG_FORMAT") == "text":
        return _fail(message)
    logs.configure(as_json=True)
    logging.getLogger("gateway").error(message)
    return 1


def _log_failure(message: str) -> int:
    logging.getLogger("gateway").critical(message)
    return 1


def _fail(message: str) -> int:
    sys.stderr.write(f"gateway: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
