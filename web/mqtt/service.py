"""Mqtt: the connection to the broker, supervised.

Rules:

1. The broker may be absent, slow or faulty: the gateway goes on. A connection that ends, or that does not take a
   message within :data:`TIMEOUT_S`, is followed by another after a growing wait (:mod:`gateway.backoff`).
2. The client has the same identifier in each connection. The broker ends an old one then, and publishes its last will,
   before the new one says that the gateway is there.
3. Commands that the broker has retained are ignored: they would be executed again at each connect.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator

import aiomqtt
from aiohttp import web

from gateway.backoff import Backoff
from gateway.camera_settings import RecordMode
from gateway.errors import BadRequestError, LiveedgeError, redact
from gateway.event import PAGE_MAX, EventFilter, EventOrder
from signaling.ems_address import tls_context
from web.gateway import Gateway
from web.mqtt.discovery import OFF, OFFLINE, ON, ONLINE, Topics
from web.mqtt.motion import Motion
from web.mqtt.publisher import Publisher
from web.mqtt.settings import identifier, parse_broker
from web.observability.health import Finding

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
KEEP_ALIVE_S = 30
CLOSE_S = 1.0

INCOMING_MAX = 1024
"""Messages from the broker that wait: at a connect, one for each camera that it knows."""

RETRIES, DELAY_S = 3, 2.0


class Mqtt:
    """See the module. Lives on the event loop. Without ``MQTT_URL`` it does nothing."""

    def __init__(self, gateway: Gateway) -> None:
        settings = gateway.settings
        url = settings.mqtt_url
        self._gateway = gateway
        self._broker = parse_broker(url.get_secret_value()) if url is not None else None
        self._tls: ssl.SSLContext | None = None
        if self._broker is not None and self._broker.is_tls:
            self._tls = tls_context(settings.mqtt_ca_file, "MQTT_CA_FILE")
        self._topics = Topics(settings.mqtt_topic, settings.mqtt_discovery_prefix)
        self._motion = Motion(settings.mqtt_motion_labels)
        self.publisher = Publisher(gateway, self._topics, self._motion)
        self.is_connected = False
        self.connects = 0
        self.published = 0
        self.error: str | None = None
        """Why there is no connection."""
        self._backoff = Backoff(RETRIES, DELAY_S)
        self._recorded: dict[str, RecordMode] = {}
        """How cameras were recorded before they were switched off."""
        self._detach = contextlib.ExitStack()
        self._task: asyncio.Task[None] | None = None
        gateway.problem_sources.append(self.problems)

    @property
    def is_configured(self) -> bool:
        """Whether there is a broker."""
        return self._broker is not None

    async def start(self) -> None:
        """Begin to connect, after the gateway has started."""
        if self._broker is None:
            return
        events, service = self._gateway.events, self._gateway.service
        self._detach.callback(service.on_status(self.publisher.on_status))
        self._detach.callback(events.on_change(self.publisher.on_event))
        await self._restore_motion()
        self._task = asyncio.create_task(self._supervise(), name="mqtt")

    async def close(self) -> None:
        """Say that the gateway goes, and disconnect."""
        self._detach.close()
        task, self._task = self._task, None
        if task is not None:
            await _end([task], again_s=2 * CLOSE_S)

    def problems(self) -> Iterator[Finding]:
        """What is wrong, for ``GET /api/status``."""
        if self._broker is not None and not self.is_connected and self.error is not None:
            yield ("mqtt", "broker_away", None, f"the MQTT broker is not connected: {self.error}")

    async def _restore_motion(self) -> None:
        now_90k = self._gateway.clock.wall_90k()
        wanted = EventFilter(start_90k=now_90k, labels=tuple(sorted(self._motion.labels)))
        try:
            page = await self._gateway.events.page(wanted, EventOrder.NEWEST, PAGE_MAX)
        except LiveedgeError as error:
            log.warning("MQTT: the open events cannot be read: %s", error)
            return
        self._motion.restore(page.events)

    # --- rule 1

    async def _supervise(self) -> None:
        assert self._broker is not None
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                await self._connection()
                why = "it closed the connection"
            except aiomqtt.MqttError as error:
                why = redact(error)
            except Exception:
                log.exception("MQTT: the connection failed with an unexpected error; trying again")
                why = "an internal error; the log has the reason"
            was_connected, self.is_connected = self.is_connected, False
            wait_s = self._backoff.ended(loop.time() - began_s) if was_connected else self._backoff.failed()
            if was_connected or self.error != why:
                log.warning("MQTT broker %s: %s; trying again", self._broker.public, why)
            self.error = why
            await asyncio.sleep(wait_s)

    async def _connection(self) -> None:
        assert self._broker is not None
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.user,
            password=self._broker.password,
            identifier=f"liveedge_{identifier(self._topics.base)}",
            will=aiomqtt.Will(self._topics.status, OFFLINE, qos=1, retain=True),
            clean_session=True,
            timeout=TIMEOUT_S,
            keepalive=KEEP_ALIVE_S,
            max_queued_incoming_messages=INCOMING_MAX,
            tls_context=self._tls,
            logger=logging.getLogger("liveedge.mqtt"),
        )
        async with _connected(client):
            await self._serve(client)

    async def _serve(self, client: aiomqtt.Client) -> None:
        topics = self._topics
        filters = [topics.status, topics.state("+"), topics.record("+"), *([topics.birth] if topics.prefix else [])]
        await client.subscribe([(each, 1) for each in filters])
        assert self._broker is not None
        log.info("MQTT broker %s: connected", self._broker.public)
        self.is_connected, self.error = True, None
        self.connects += 1

        async def publish(topic: str, payload: str | bytes, retain: bool) -> None:
            await client.publish(topic, payload, qos=1, retain=retain)
            self.published += 1

        tasks = [
            asyncio.create_task(self._receive(client), name="mqtt-receive"),
            asyncio.create_task(self.publisher.run(publish), name="mqtt-publish"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            await _end(tasks)
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(topics.status, OFFLINE, qos=1, retain=True, timeout=CLOSE_S)
            raise
        finally:
            await _end(tasks)

    # --- messages

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic = str(message.topic)
            payload = message.payload if isinstance(message.payload, bytes) else b""
            text = payload[:64].decode(errors="replace").strip()
            if topic == self._topics.status:
                self.publisher.note_status(text)
            elif self._topics.prefix and topic == self._topics.birth:
                if text == ONLINE:
                    self.publisher.announce()
            elif message.retain and payload and (camera_id := self._topics.camera_of(topic, "state")):
                self.publisher.note_retained(camera_id)
            elif not message.retain and (camera_id := self._topics.camera_of(topic, "recording/set")):
                await self._record(camera_id, text.upper())

    async def _record(self, camera_id: str, command: str) -> None:
        camera = self._gateway.service.cameras.get(camera_id)
        if camera is None or command not in (ON, OFF):
            log.warning("MQTT: the command for camera %s is ignored: it must be ON or OFF", camera_id[:64])
            return
        is_recorded = camera.settings.record is not RecordMode.NEVER
        try:
            if command == OFF and is_recorded:
                self._recorded[camera_id] = camera.settings.record
                await self._gateway.changes.change(camera_id, {"record": RecordMode.NEVER.value})
            elif command == ON and not is_recorded:
                await self._switch_on(camera_id)
        except LiveedgeError as error:
            log.warning("MQTT: camera %s: the recording was not switched: %s", camera_id, error)
        self.publisher.note_command(camera_id)

    async def _switch_on(self, camera_id: str) -> None:
        """As it was before, else as it is configured; one that is configured to be never recorded, all the time."""
        before = self._recorded.pop(camera_id, None)
        camera = await self._gateway.changes.change(camera_id, {"record": before.value if before else None})
        if camera.settings.record is not RecordMode.NEVER:
            return
        try:
            await self._gateway.changes.change(camera_id, {"record": RecordMode.ALWAYS.value})
        except BadRequestError:  # with start = on-demand
            await self._gateway.changes.change(camera_id, {"record": RecordMode.CAPTURE.value})


class _connected:  # noqa: N801
    """A connection of a client, closed within :data:`CLOSE_S` whatever the broker does.

    aiomqtt connects in a thread: a cancelled connect is waited for, and undone. It leaves the socket open of a broker
    that does not answer.
    """

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        # The library does not read how a refused connection ended, and asyncio would log that.
        client._disconnected.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def __aenter__(self) -> None:
        connecting = asyncio.ensure_future(self._client.__aenter__())
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await asyncio.wait([connecting], timeout=CLOSE_S)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            self._abandon()
            raise
        except aiomqtt.MqttError:
            self._abandon()
            raise

    async def __aexit__(self, *_: object) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._client.__aexit__(None, None, None)
        except (TimeoutError, aiomqtt.MqttError):
            pass
        finally:
            self._abandon()

    def _abandon(self) -> None:
        client = self._client._client
        client.disconnect()
        # Its disconnect waits behind what the broker does not read. The end of the socket ends it in any case.
        left = client.socket()
        if isinstance(left, socket.socket):
            with contextlib.suppress(OSError):
                left.shutdown(socket.SHUT_RDWR)


async def _end(tasks: list[asyncio.Task[None]], again_s: float = 0.1) -> None:
    """Cancel tasks, and again: ``asyncio.wait_for`` of Python 3.11, in the library, can swallow a cancellation."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again_s)
    for task in tasks:
        if not task.cancelled():
            task.exception()


MQTT: web.AppKey[Mqtt] = web.AppKey("mqtt", Mqtt)
"""The application key of the connection to the broker."""
