"""Runs the service: TorchServe and the gateway in front, until a signal comes; then drains."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import signal
import socket
import sys
import time

from gateway.assembly import make_gateway, make_tracing
from gateway.errors import draining
from gateway.http.server import make_server
from gateway.keeper import Keeper
from gateway.launch.launch import TorchServeSettings
from gateway.launch.ports import Ports
from gateway.replicas.in_flight import Abort
from gateway.replicas.replicas import Replicas
from gateway.routes.health import Health
from gateway.settings import ROOT, Settings
from gateway.torchserve.client import Upstream
from gateway.torchserve.crashes import Crashes
from gateway.web.fair_queue import FairQueue
from handler.replies import sideband

logger = logging.getLogger("gateway.supervisor")

# How TorchServe logs: as text, or as JSON.
LOG_CONFIGS = {
    False: ROOT / "config" / "log4j2.xml",
    True: ROOT / "config" / "log4j2-json.xml",
}
STALL_LOOK_SECONDS = 0.5
# Who looks so much later than it meant to was frozen.
FROZEN_SECONDS = 5.0
DRAIN_LOOK_SECONDS = 0.05
# For what was ended early to be written to its clients.
LAST_WRITE_SECONDS = 0.1


class Supervisor:
    """One service: TorchServe, the gateway in front, and what keeps them."""

    def __init__(self, settings: Settings, listeners: list[socket.socket]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._began = time.perf_counter()
        secret = secrets.token_hex(16)
        torchserve = _torchserve_settings(settings, secret)
        self._upstream = Upstream(
            torchserve.inference_url, torchserve.management_url, torchserve.metrics_url
        )
        replicas = Replicas(settings, self._upstream)
        self._registry = replicas.registry
        self._health = Health(replicas)
        self._queue = FairQueue(settings.max_waiting, settings.max_queue_seconds or math.inf)
        self._stopping = asyncio.Event()
        self._is_announced = False
        self._tracing = make_tracing(settings)
        crashes = Crashes()
        self._keeper = Keeper(settings, torchserve, self._upstream, replicas, self._health, crashes)
        app = make_gateway(
            settings,
            self._upstream,
            replicas,
            self._health,
            self._queue,
            self._keeper.restarts,
            crashes,
            secret,
            self._tracing,
        )
        self._server = make_server(app, settings)

    async def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            GaveUp: TorchServe could not be kept alive.
            TorchServeError: It cannot be started at all (no archive, no Java).
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await self._upstream.open()
        serving = asyncio.create_task(self._server.serve(sockets=self._listeners))
        work = (self._keeper.keep(self._announce), self._watch_stalls(), self._stopping.wait())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait([*tasks, serving], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain()
        finally:
            # All at once: Cloud Run kills two seconds after the drain.
            self._server.should_exit = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, serving, return_exceptions=True)
            await self._upstream.close()
            self._keeper.stop()
            self._tracing.close()

    def _announce(self) -> None:
        """Say once where the service is, on standard output."""
        seconds = time.perf_counter() - self._began
        logger.info("Ready after %.1f s", seconds)
        if self._is_announced or self._settings.k_service:  # on Cloud Run nobody reads it
            return
        self._is_announced = True
        port = self._listeners[0].getsockname()[1]
        host = "localhost" if self._settings.bind in ("0.0.0.0", "::") else self._settings.bind
        sys.stdout.write(f"GPT-2 is ready: http://{host}:{port}\n")
        sys.stdout.flush()

    async def _watch_stalls(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(STALL_LOOK_SECONDS)
            now = time.perf_counter()
            if now - last > FROZEN_SECONDS:  # a platform froze us, and with us TorchServe
                self._registry.hear_all()
            last = now
            self._registry.end_stalled(self._settings.stall_seconds)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._queue.close(draining())
            self._registry.abort_all(Abort.DRAINED)
        self._stopping.set()

    async def _drain(self) -> None:
        """Take no new work, let requests in flight end, then end them."""
        self._health.is_draining = True
        seconds = self._settings.drain_seconds
        logger.info(
            "Shutting down: %d sequences in flight get %g s", self._queue.in_flight, seconds
        )
        deadline = time.monotonic() + seconds
        while self._queue.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        self._queue.close(draining())
        cut = self._registry.abort_all(Abort.DRAINED)
        if cut:
            logger.warning("%d requests were ended early", cut)
            await asyncio.sleep(LAST_WRITE_SECONDS)


def _torchserve_settings(settings: Settings, secret: str) -> TorchServeSettings:
    """Return how TorchServe is started for this service."""
    return TorchServeSettings(
        model_store=settings.model_store,
        models={settings.model_name: settings.model_archive},
        ports=Ports.free(settings.inference_port, settings.management_port, settings.metrics_port),
        log_config=LOG_CONFIGS[settings.writes_json_logs],
        class_data=settings.class_data_file,
        public_key=settings.model_public_key_file,
        environment=_worker_environment(settings, secret),
        pass_variables=settings.pass_variables,
    )


def _worker_environment(settings: Settings, secret: str) -> dict[str, str]:
    """Return what the handler receives: settings that it judges by, and the sideband's secret."""
    environment = {
        "N_TOKENS": str(settings.n_tokens),
        "MAX_LOGPROBS_PER_REQUEST": str(settings.max_logprobs_per_request),
        "STREAM_INTERVAL_MS": str(settings.stream_interval_ms),
        "SKIP_SELF_TEST": str(int(settings.skip_self_test)),
        "STRICT_FIELDS": str(int(settings.strict_fields)),
        sideband.SECRET_VARIABLE: secret,
    }
    if settings.threads_per_replica:
        environment["ENGINE_THREADS"] = str(settings.threads_per_replica)
    if settings.caches_memory_bytes:
        environment["CACHES_MEMORY_BYTES"] = str(settings.caches_memory_bytes)
    return environment
