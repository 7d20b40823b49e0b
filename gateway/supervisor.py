"""Keeps TorchServe and the gateway running, and ends both in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections import deque

from gateway.app import Gateway
from gateway.archives.manifest import read_manifest
from gateway.errors import GatewayError
from gateway.http.server import make_server
from gateway.launch.launch import TorchServeError, TorchServeSettings
from gateway.parts import Parts
from gateway.proxy.proxy import Proxy
from gateway.replicas.in_flight import Abort
from gateway.replicas.replicas import Replicas
from gateway.routes.health import Health
from gateway.routes.management import Management
from gateway.settings import ROOT, Settings
from gateway.torchserve.client import Upstream, UpstreamError
from gateway.torchserve.process import TorchServe
from gateway.torchserve.repeated_failure import RepeatedFailure
from gateway.web.auth import Guard
from gateway.web.limits import Admission, RateLimit
from gateway.web.logs import RequestLog
from gateway.web.metrics import Metrics
from handler import sideband

logger = logging.getLogger("gateway.supervisor")

# How TorchServe logs: as text, or as JSON.
LOG_CONFIGS = {
    False: ROOT / "config" / "log4j2.xml",
    True: ROOT / "config" / "log4j2-json.xml",
}
WATCH_SECONDS = 0.1
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
STOP_SECONDS = 1.0


class GaveUp(Exception):
    """TorchServe could not be kept alive; one line that says why."""


class Supervisor:
    """One service: TorchServe, the gateway in front, and what keeps them."""

    def __init__(self, settings: Settings, listeners: list[socket.socket]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._began = time.perf_counter()
        self._secret = secrets.token_hex(16)
        ports = _free_ports(
            settings.inference_port, settings.management_port, settings.metrics_port, 0, 0
        )
        self._torchserve_settings = TorchServeSettings(
            model_store=settings.model_store,
            models={settings.model_name: settings.model_archive},
            inference_port=ports[0],
            management_port=ports[1],
            metrics_port=ports[2],
            grpc_inference_port=ports[3],
            grpc_management_port=ports[4],
            log_config=LOG_CONFIGS[settings.writes_json_logs],
            class_data=settings.class_data_file,
            environment=_worker_environment(settings, self._secret),
            pass_variables=settings.pass_variables,
        )
        made = self._torchserve_settings
        self._upstream = Upstream(made.inference_url, made.management_url, made.metrics_url)
        self._replicas = Replicas(settings, self._upstream)
        self._health = Health(self._replicas)
        self._admission = Admission(settings.max_waiting)
        self._torchserve: TorchServe | None = None
        self._stopping = asyncio.Event()
        # Of each failure, how long had been served when it came.
        self._failures: deque[float] = deque()
        self._served_seconds = 0.0
        self._repeated = RepeatedFailure(settings.start_failures)
        self._server = make_server(self._make_gateway(), settings)

    async def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            GaveUp: TorchServe could not be kept alive.
            TorchServeError: It can not be started at all (no archive, no Java).
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await self._upstream.open()
        serving = asyncio.create_task(self._server.serve(sockets=self._listeners))
        tasks = [
            asyncio.create_task(work)
            for work in (self._keep_torchserve(), self._watch_stalls(), self._stopping.wait())
        ]
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
            if self._torchserve is not None:
                self._torchserve.stop(STOP_SECONDS)

    def _make_gateway(self) -> Gateway:
        settings = self._settings
        metrics = Metrics(self._gauges)
        return Gateway(
            Parts(
                settings=settings,
                guard=Guard(settings),
                rates=RateLimit(settings.requests_per_minute, settings.redis_url),
                replicas=self._replicas,
                proxy=Proxy(
                    settings,
                    self._upstream,
                    self._replicas,
                    self._admission,
                    metrics,
                    self._secret,
                ),
                management=Management(settings, self._replicas),
                health=self._health,
                metrics=metrics,
                upstream=self._upstream,
                requests=RequestLog(settings.google_cloud_project),
            )
        )

    def _gauges(self) -> dict[str, tuple[str, float]]:
        live, capacity = self._admission.live, self._replicas.capacity()
        return {
            "gpt2_num_requests_running": ("Sequences that are written.", min(live, capacity)),
            "gpt2_num_requests_waiting": ("Sequences that wait.", max(0, live - capacity)),
            "gpt2_replicas": ("Copies of the model.", len(self._replicas.all())),
            "gpt2_ready": ("1 if the service is ready.", float(self._health.is_ready)),
            "gpt2_torchserve_restarts": (
                "Restarts of TorchServe of late.",
                len(self._failures),
            ),
        }

    # TorchServe's life

    async def _keep_torchserve(self) -> None:
        while True:
            reason = await self._run_torchserve()
            self._health.is_serving = False
            self._replicas.lose_all()
            self._judge_start(f"TorchServe does not start: {reason}")
            back_off = self._count_failure(reason)
            logger.warning("%s; starting it again in %g s", reason, back_off)
            await asyncio.sleep(back_off)

    def _count_failure(self, reason: str) -> float:
        """Return how long to wait before the next start.

        The window is of time that was served: five starts that each take the whole START_SECONDS
        are five failures in a row, however long they took.
        """
        now, window = self._served_seconds, self._settings.restart_window_seconds
        self._failures.append(now)
        while self._failures[0] < now - window:
            self._failures.popleft()
        failures = len(self._failures)
        if failures > self._settings.max_restarts:
            raise GaveUp(
                f"TorchServe failed {failures} times within {window:g} s of service; "
                f"the last time: {reason}"
            )
        doublings = min(failures - 1, 16)
        return float(min(FIRST_BACK_OFF_SECONDS * 2**doublings, LONGEST_BACK_OFF_SECONDS))

    def _judge_start(self, reason: str) -> None:
        """Give up on a service that has never served and fails in the same way again and again."""
        if not self._replicas.was_ready and self._repeated.note(reason):
            raise GaveUp(reason)

    async def _run_torchserve(self) -> str:
        """Start TorchServe, serve with it until it ends or is of no use, and return why."""
        torchserve = self._torchserve = TorchServe(self._torchserve_settings)
        try:
            torchserve.start()
            return torchserve.words.explain(await self._watch(torchserve))
        except TorchServeError as error:
            if not self._replicas.was_ready:
                raise
            return str(error)
        finally:
            await asyncio.to_thread(torchserve.stop, STOP_SECONDS)
            self._torchserve = None

    async def _watch(self, torchserve: TorchServe) -> str:
        """Follow TorchServe until it ends or is of no use, and return what happened."""
        process = torchserve.process
        assert process is not None
        following = asyncio.create_task(self._follow())
        # Counted in looks, not by the clock: a platform may freeze all of us for any time.
        without_worker = 0.0
        try:
            while process.poll() is None:
                await asyncio.sleep(WATCH_SECONDS)
                _reap_orphans(process.pid)
                for words in torchserve.words.take_failures():
                    self._judge_start(f"the model does not start: {words}")
                if following.done():
                    following.result()
                if self._replicas.is_ready() or self._replicas.is_at_rest():
                    without_worker = 0.0
                    self._served_seconds += WATCH_SECONDS
                else:
                    without_worker += WATCH_SECONDS
                if without_worker > self._settings.start_seconds:
                    return f"No worker was ready in {self._settings.start_seconds:g} s"
                if self._replicas.is_silent:
                    return "TorchServe does not answer"
            await asyncio.to_thread(torchserve.words.wait_for_end)
            return f"TorchServe ended (status {process.returncode})"
        except UpstreamError as error:
            return f"TorchServe does not work: {error.message}"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        """Take over what TorchServe has loaded, then follow its workers for ever."""
        while True:
            try:
                await self._upstream.manage("GET", f"/models/{self._settings.model_name}")
                break
            except UpstreamError as error:
                if error.status == 404:  # it loads before it listens: the model never comes
                    raise UpstreamError(404, "it has not loaded the model") from None
                if error.status != 503:
                    raise
                await asyncio.sleep(WATCH_SECONDS)
        await self._replicas.adopt()
        self._health.is_serving = True
        keeping = asyncio.create_task(self._replicas.keep())
        try:
            while not self._health.is_ready:
                await asyncio.sleep(WATCH_SECONDS / 2)
            self._announce()
            await self._load_fetched()
            await keeping
        finally:
            keeping.cancel()

    async def _load_fetched(self) -> None:
        """Register what MODEL_URLS names beside the service's own archive, once."""
        settings = self._settings
        for source, _ in settings.pinned_sources:
            path = settings.model_store / source.file_name
            if source.file_name == settings.model_archive:
                continue
            try:
                found = await asyncio.to_thread(read_manifest, path, settings.archive_bounds)
                if (found.model, found.version) not in self._replicas:
                    await self._replicas.register(path.name, found.model, found.version)
            except (GatewayError, UpstreamError) as error:
                logger.error("%s of MODEL_URLS is not served: %s", path.name, error.message)

    def _announce(self) -> None:
        """Say once where the service is, on standard output."""
        seconds = time.perf_counter() - self._began
        logger.info("Ready after %.1f s", seconds)
        if not self._failures and not self._settings.k_service:  # on Cloud Run nobody reads it
            port = self._listeners[0].getsockname()[1]
            host = "localhost" if self._settings.bind in ("0.0.0.0", "::") else self._settings.bind
            sys.stdout.write(f"GPT-2 is ready: http://{host}:{port}\n")
            sys.stdout.flush()

    async def _watch_stalls(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._replicas.abort_stalled(self._settings.stall_seconds)

    # The end

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._replicas.abort_all(Abort.DRAINED)
        self._stopping.set()

    async def _drain(self) -> None:
        """Take no new work, let live requests end, then end them."""
        self._health.is_draining = True
        live = self._admission.live
        logger.info("Shutting down: %d live sequences get %g s", live, self._settings.drain_seconds)
        deadline = time.monotonic() + self._settings.drain_seconds
        while self._admission.live and time.monotonic() < deadline:
            await asyncio.sleep(WATCH_SECONDS / 2)
        cut = self._replicas.abort_all(Abort.DRAINED)
        if cut:
            logger.warning("%d requests were ended early", cut)
            await asyncio.sleep(WATCH_SECONDS)


def _worker_environment(settings: Settings, secret: str) -> dict[str, str]:
    """What the handler is told: settings of ours that it judges by, and the sideband's secret."""
    environment = {
        "N_TOKENS": str(settings.n_tokens),
        "MAX_LOGPROBS_PER_REQUEST": str(settings.max_logprobs_per_request),
        "STREAM_INTERVAL_MS": str(settings.stream_interval_ms),
        "STRICT_FIELDS": str(int(settings.strict_fields)),
        sideband.SECRET_VARIABLE: secret,
    }
    if settings.threads_per_replica:
        environment["ENGINE_THREADS"] = str(settings.threads_per_replica)
    return environment


def _free_ports(*wanted: int) -> list[int]:
    """Return the ports, with a free one of the loopback interface for each 0."""
    with contextlib.ExitStack() as stack:
        ports = []
        for port in wanted:
            if not port:
                probe = stack.enter_context(socket.socket())
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            ports.append(port)
        return ports


def _reap_orphans(own: int) -> None:
    """As PID 1 of a container, collect processes whose parents are gone."""
    if os.getpid() != 1:
        return
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == own:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, 0)
