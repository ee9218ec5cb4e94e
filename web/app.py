"""``create_app``: the gateway as an aiohttp application. ``serve``: the process that runs it."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.cluster.model import KeyName
from gateway.compiled import pure_reason
from gateway.errors import SettingsError
from web.announcement import announcement, url_host
from web.api.routes import add_routes
from web.api.shared_answers import SHARED_ANSWERS, SharedAnswers
from web.auth.access_file import AccessFile
from web.auth.access_index import FileIndex, SharedIndex
from web.auth.authenticator import AUTHENTICATOR, Authenticator
from web.auth.camera_marks import CameraMarks, Marks
from web.auth.issued import IssuedAccess
from web.auth.revocation import note_response_started
from web.auth.rtsp_access import RtspAccess
from web.auth.shared_access import SharedAccess
from web.auth.viewer_ownership import VIEWER_OWNERSHIP, ViewerOwnership
from web.descriptors import raise_limit
from web.gateway import GATEWAY, Gateway
from web.heap import keep_trimmed
from web.http_runner import http_runner
from web.listen_error import listen_error
from web.middleware.admission import Admission
from web.middleware.listener import Listener
from web.middleware.security_headers import SecurityHeaders
from web.mqtt.service import MQTT, Mqtt
from web.observability.logs import set_up_logging
from web.observability.metrics import METRICS, Metrics
from web.observability.metrics.http import HttpMetrics
from web.onvif.service import ONVIF, Onvif
from web.push.service import PUSH, Push
from web.reload import SettingsWatch
from web.settings import Settings, load_settings
from web.socket_activation import inherited_sockets
from web.webhooks.service import WEBHOOKS, Webhooks
from web.workers.worker import Worker

log = logging.getLogger("liveedge")

BODY_MAX_BYTES = 256 * 1024
"""The largest legitimate request body is an SDP offer of a few kilobytes."""

COLLECT_AFTER_OBJECTS = 10_000
"""Objects more than at the last garbage collection that begin the next. With the default of 700, 20 cameras began one
each second, which visited all packets of their live windows and stopped the event loop for 2 ms. It found nothing:
packets are freed by their reference counts. So much more garbage in cycles is a few megabytes."""

SWITCH_INTERVAL_S = 0.0005
"""How long a worker thread may keep the interpreter's lock while the event loop waits for it. The loop gives it away
with each ``sendmsg``, and so may wait once for each viewer of a frame. With the default of 5 ms, the threads that write
20 recordings delayed one frame of a hundred by 2 ms."""


def create_app(settings: Settings, clock: Clock = SYSTEM_CLOCK, worker: Worker | None = None) -> web.Application:
    """The gateway as an aiohttp application. Raises :class:`~gateway.errors.SettingsError`."""
    gateway = Gateway(settings, clock, worker)
    signing_key = gateway.cluster.keys[KeyName.URLS] if gateway.cluster is not None else None
    access, issued, marks = _access(gateway, clock)
    authenticator = Authenticator(settings, clock, gateway.service.cameras, signing_key, issued, access, marks)
    http_metrics = HttpMetrics()
    admission = Admission(settings, authenticator, http_metrics.requests_refused, http_metrics.record)
    headers = SecurityHeaders(settings)
    if (node := gateway.node) is not None:
        authenticator.verify_node = node.links.tokens.verify
        admission.nodes = node.routing
        node.redirects.sign = authenticator.sign_offer
        admission.cors.node_origins = node.redirects.origins
        headers.node_origins = node.redirects.targets
        admission.cors.is_signed = authenticator.is_offer_signed
    app = web.Application(middlewares=[admission.middleware], client_max_size=BODY_MAX_BYTES)
    app.on_response_prepare.extend([headers.on_prepare, admission.cors.on_prepare, note_response_started])
    app[AUTHENTICATOR], app[VIEWER_OWNERSHIP] = authenticator, ViewerOwnership()
    app[GATEWAY] = gateway
    app[SHARED_ANSWERS] = shared = SharedAnswers()
    app[ONVIF] = onvif = Onvif(gateway)
    app[WEBHOOKS] = webhooks = Webhooks(gateway)
    app[PUSH] = push = Push(gateway, authenticator, access)
    app[MQTT] = mqtt = Mqtt(gateway)
    app[METRICS] = Metrics(gateway, authenticator, http_metrics, webhooks, push, mqtt, onvif)
    gateway.browser.attach(app, authenticator.authenticate_socket)
    # The authenticator is first because it may refuse the settings.
    gateway.on_reload[:0] = [authenticator.reload, admission.reload, headers.reload]
    gateway.on_reload.append(shared.reload)
    gateway.changes.on_changed.append(authenticator.cameras_changed)
    add_routes(app)
    app.on_shutdown.append(_end_streams)
    app.cleanup_ctx.append(_lifetime)
    return app


def _access(gateway: Gateway, clock: Clock) -> tuple[SharedAccess | None, IssuedAccess, Marks | None]:
    """What this process shares of access, the tokens and links that it knows, and the marks of cameras."""
    worker, cluster, index = gateway.worker, gateway.cluster, gateway.archive.index
    on_repaired = gateway.archive.index_sync.on_repaired
    if cluster is not None and cluster.shared is not None:
        # Here, as the dialect of PostgreSQL.
        from web.cluster.marks import ClusterMarks
        from web.cluster.shared import ClusterIndex

        access = SharedAccess(cluster.shared, clock)
        cluster.on_shared = access.wake
        access.on_changed.append(gateway.walls.refresh)
        return access, IssuedAccess(ClusterIndex(cluster.shared), clock, access), ClusterMarks(cluster.shared)
    if worker is None:
        issued = IssuedAccess(index, clock)
        on_repaired.append(issued.index_repaired)
        return None, issued, None
    data_dir = Path(worker.data_dir)
    access = SharedAccess(AccessFile(worker.access_file, clock), clock)
    issued = IssuedAccess(SharedIndex(index if worker.number == 1 else FileIndex(data_dir), access), clock, access)
    if worker.number == 1:
        on_repaired.append(issued.index_repaired)
    is_kept = gateway.settings.has_auth
    return access, issued, CameraMarks(data_dir, gateway.service.cameras, is_kept=is_kept, shared=access)


async def _lifetime(app: web.Application) -> AsyncIterator[None]:
    gateway = app[GATEWAY]
    try:
        app[METRICS].lag.start()
        app[AUTHENTICATOR].start()
        await gateway.start()
        await app[AUTHENTICATOR].issued.start()
        await app[WEBHOOKS].start()
        await app[PUSH].start()
        await app[MQTT].start()
        await app[ONVIF].start()
        yield
    finally:
        await app[ONVIF].close()
        await app[MQTT].close()
        await app[PUSH].close()
        await app[WEBHOOKS].close()
        await app[AUTHENTICATOR].issued.close()
        await gateway.close()
        await app[AUTHENTICATOR].close()
        await app[METRICS].lag.close()


async def _end_streams(app: web.Application) -> None:
    app[GATEWAY].events.end_streams()


async def serve(settings: Settings, load: Callable[[], Settings] = load_settings, worker: Worker | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. ``load`` reads settings that changed. Raises a ``LiveedgeError``."""
    if worker is not None:
        settings, load = worker.settings(settings), lambda: worker.settings(load_settings())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    raise_limit()
    app = create_app(settings, worker=worker)
    app[GATEWAY].on_reload.append(set_up_logging)
    watch = SettingsWatch(app[GATEWAY], load)
    loop.add_signal_handler(signal.SIGHUP, watch.request)
    trimming = asyncio.create_task(keep_trimmed(), name="heap")
    runner = http_runner(app, app[METRICS].http.requests_refused)
    listener: Listener | None = None
    try:
        await runner.setup()
        refused = app[METRICS].http.connections_refused
        listener = Listener(runner, settings, refused, cameras=app[GATEWAY].service.cameras)
        app[METRICS].http.listener = listener
        await _listen(listener, settings, worker)
        app[GATEWAY].on_reload.append(listener.reload)
        await _serve_rtsp(app, settings, worker)
        _announce(app, listener)
        watch.start()
        # Objects that exist now live as long as the process. Freezing them keeps the garbage collector from visiting
        # them: each full collection would stop the event loop, and with it every viewer, for about 100 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER_OBJECTS)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        await stop.wait()
        log.info("stopping")
        await _drain(app[GATEWAY], stop)
    finally:
        trimming.cancel()
        await watch.close()
        if listener is not None:
            listener.close()
        await runner.cleanup()


async def _drain(gateway: Gateway, stop: asyncio.Event) -> None:
    """Hand the cameras over, still serving. A second signal ends this."""
    if gateway.cluster is None:
        return
    if gateway.worker is not None:
        # The others end too, or take its cameras as soon as it has left.
        gateway.cluster.coordinator.drain()
        return
    stop.clear()
    steps = [asyncio.create_task(step) for step in (gateway.drain(), stop.wait())]
    await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
    for step in steps:
        step.cancel()


async def _listen(listener: Listener, settings: Settings, worker: Worker | None) -> None:
    try:
        if worker is not None:
            await listener.start(worker.sockets((*worker.http, worker.private)))
        else:
            await listener.start(inherited_sockets())
    except OSError as error:
        raise listen_error(settings.host, settings.port, error) from None


async def _serve_rtsp(app: web.Application, settings: Settings, worker: Worker | None) -> None:
    if not settings.rtsp_server or (worker is not None and not worker.rtsp):
        return
    gateway = app[GATEWAY]
    access = RtspAccess(app[AUTHENTICATOR], settings)
    gateway.on_reload.append(access.reload)
    try:
        inherited = worker.sockets(worker.rtsp) if worker is not None else ()
        await gateway.rtsp.start(settings.host, settings.rtsp_port, access, inherited)
    except SettingsError as error:
        if "rtsp_port" in settings.model_fields_set:
            raise
        # Nobody asked for it: another RTSP server on this machine must not keep the gateway from its work.
        log.warning("no RTSP server: %s", error)
    else:
        log.info("cameras can be read at rtsp://%s:%d/CAMERA", url_host(settings.host), gateway.rtsp.port)


def _announce(app: web.Application, listener: Listener) -> None:
    pure = pure_reason()
    if pure is None:
        log.info("its modules are compiled")
    else:
        log.info("runs as pure Python, which takes more CPU: %s", pure)
    host, port = listener.address
    cameras_by_id = app[GATEWAY].service.cameras
    for camera in cameras_by_id.values():
        for rendition in camera.renditions.values():
            source = rendition.session.rtsp_url or "what a program publishes"
            log.info("camera %s: %s", rendition.label, source, extra={"camera": camera.id})
    worker = app[GATEWAY].worker
    if worker is not None:
        worker.tell_ready()  # and the parent process tells the person
        return
    # On standard output and without a prefix: this line is for the person who started the process.
    url, hint = announcement(host, port)
    print(f"liveedge is at {url} with {len(cameras_by_id)} camera(s){hint}", flush=True)  # noqa: T201
