"""The application's keys: how routes reach what :mod:`web.app` has built."""

from aiohttp import web

from gateway.clock import Clock
from gateway.service import CaptureService
from gateway.webrtc.server import WebRtcServer
from hls.archive.service import Archive
from hls.live.service import LiveService
from hls.playback.reader import ArchiveReader
from signaling.browser import BrowserSignaling
from signaling.messaging import StreamMessaging
from web.gateway import Gateway
from web.observability.metrics import Metrics
from web.settings import Settings

SETTINGS: web.AppKey[Settings] = web.AppKey("settings", Settings)
CLOCK: web.AppKey[Clock] = web.AppKey("clock", Clock)
SERVICE: web.AppKey[CaptureService] = web.AppKey("service", CaptureService)
WEBRTC: web.AppKey[WebRtcServer] = web.AppKey("webrtc", WebRtcServer)
LIVE: web.AppKey[LiveService] = web.AppKey("live", LiveService)
ARCHIVE: web.AppKey[Archive] = web.AppKey("archive", Archive)
ARCHIVE_READER: web.AppKey[ArchiveReader] = web.AppKey("archive_reader", ArchiveReader)
MESSAGING: web.AppKey[StreamMessaging] = web.AppKey("messaging", StreamMessaging)
GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
BROWSER: web.AppKey[BrowserSignaling] = web.AppKey("browser", BrowserSignaling)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
