"""RtspPublisher: a client that pushes a stream with ANNOUNCE and RECORD (RFC 2326 §10.3, §10.11).

Rules:

1. The first video section of a known format is taken, and the first of sound. The others are set up as the client asks
   and ignored.
2. Packets come over TCP, interleaved with the requests.
"""

import logging
from collections.abc import Callable

from gateway.capture.publish_point import PublishPoint
from gateway.capture.rtsp_channels import InterleavedChannels
from gateway.capture.rtsp_media import RtspMedia, TrackFormat
from gateway.errors import CaptureError
from gateway.rtsp.formats import AudioFormat, VideoFormat, audio_format, video_format
from gateway.rtsp.sdp import Media, SessionDescription
from gateway.rtsp.session import Interleaved, RefusedError

log = logging.getLogger(__name__)


class RtspPublisher:
    """See the module. Raises :class:`~gateway.rtsp.session.RefusedError` where there is no video to take."""

    is_reordered = False

    def __init__(
        self,
        point: PublishPoint,
        description: SessionDescription,
        now: Callable[[], float],
        on_end: Callable[[str], None],
    ) -> None:
        self.media: tuple[Media, ...] = description.media
        self._point = point
        self._now = now
        self._on_end = on_end
        self._taken: dict[int, VideoFormat | AudioFormat] = {}
        """By the number of the section."""
        self._formats: list[TrackFormat] = []
        self._channels = InterleavedChannels()
        self._ignored: set[int] = set()
        """Channels of sections that were torn down."""
        self._core: RtspMedia | None = None
        self.is_recording = False
        for number, section in enumerate(self.media):
            found = video_format(section) if section.kind == "video" else None
            if found is not None and not any(isinstance(each, VideoFormat) for each in self._taken.values()):
                self._taken[number] = found
            sound = audio_format(section) if section.kind == "audio" else None
            if sound is not None and not any(isinstance(each, AudioFormat) for each in self._taken.values()):
                self._taken[number] = sound
        if not any(isinstance(each, VideoFormat) for each in self._taken.values()):
            names = ", ".join(each.encoding for section in self.media for each in section.formats)
            raise RefusedError(415, f"there is no video that can be taken in {names or 'this description'}; send H.264")

    @property
    def formats(self) -> list[TrackFormat]:
        """The tracks that were set up."""
        return self._formats

    def section_of(self, uri: str) -> int:
        """The number of the section that SETUP names. Raises :class:`~gateway.rtsp.session.RefusedError`."""
        number = self.section_at(uri)
        if number is not None:
            return number
        if len(self.media) == 1:
            return 0
        raise RefusedError(404, "no section of the description has this address as its a=control")

    def section_at(self, uri: str) -> int | None:
        """The number of the section with this address; ``None``: it is of none, or of all."""
        controls = [section.control.rstrip("/") for section in self.media]
        return controls.index(uri.rstrip("/")) if uri.rstrip("/") in controls else None

    def remove(self, number: int, channels: Interleaved) -> None:
        """Take no more of a section. The others go on; without its video nothing is published any more."""
        self._ignored |= {channels.rtp, channels.rtcp}
        if isinstance(self._taken.get(number), VideoFormat):
            self.close()

    def record(self, tracks: dict[int, Interleaved]) -> None:
        """Publish what was set up, by number of the section. Raises :class:`~gateway.rtsp.session.RefusedError`."""
        if not any(isinstance(self._taken.get(number), VideoFormat) for number in tracks):
            raise RefusedError(455, "its video is not set up; SETUP comes before RECORD")
        self._channels, self._formats = InterleavedChannels(), []
        self._ignored.clear()
        for number, channels in tracks.items():
            taken = self._taken.get(number)
            if taken is not None:
                self._channels.add(len(self._formats), (channels.rtp, channels.rtcp), *taken.payload_types)
                self._formats.append(TrackFormat(taken))
        self.is_recording = True
        self._point.add(self)

    def begin(self, media: RtspMedia) -> None:
        """Give what comes to ``media`` from now on."""
        self._core = media

    def receive(self, channel: int, frame: memoryview) -> None:
        """An interleaved frame of the client; the view is valid during the call only."""
        core = self._core
        found = self._channels.find(channel, frame) if core is not None and channel not in self._ignored else None
        if core is None or found is None:
            return
        place, is_control = found
        try:
            (core.receive_control if is_control else core.receive)(place, frame, self._now())
        except CaptureError as error:
            self.end(str(error))
        except Exception:
            log.exception("RTSP: what a client publishes cannot be read")
            self.end("what it publishes cannot be read")

    def end(self, reason: str) -> None:
        """It is not wanted any more. One that pauses stays connected."""
        if self.is_recording:
            self.close()
            self._on_end(reason)

    def close(self) -> None:
        """It pauses, or the connection has ended. May be called twice."""
        self._core = None
        if self.is_recording:
            self.is_recording = False
            self._point.remove(self)
