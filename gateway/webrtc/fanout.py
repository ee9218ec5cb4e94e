"""CameraFanout: one rendition's packets to all of its WebRTC viewers.

Theory of operation. A :class:`CameraFanout` is a sink of the rendition's hub while there are viewers. Each video packet
is made into a :class:`~gateway.webrtc.rtp.packets.Frame` once. Viewers at the live edge are sent it at once, in the
same call. A pacer sends viewers that are behind what they are missing; it runs only while there are any. An error of
one viewer affects only that viewer.
"""

import asyncio
import logging
from collections.abc import Callable

from gateway.clock import CLOCK_RATE, Clock
from gateway.hub import PacketHub
from gateway.media import Packet
from gateway.rtsp.packetize.video import PAYLOADERS
from gateway.run_timeline import RunTimeline
from gateway.webrtc.audio import AudioSource
from gateway.webrtc.bandwidth.probing import Probe
from gateway.webrtc.rtp.audio_sender import AudioSender
from gateway.webrtc.rtp.packets import MAX_PAYLOAD_BYTES, Frame, PacketHistory
from gateway.webrtc.rtp.retransmitter import RETRANSMIT_BYTES_PER_S
from gateway.webrtc.rtp.send_pace import PACE_BYTES_PER_S
from gateway.webrtc.rtp.video_sender import VideoSender
from gateway.webrtc.sdp.codecs import AudioCodec

log = logging.getLogger(__name__)

PACER_TICK_S = 0.005
"""One batch of 31 KB each makes the pace of 50 Mbit/s."""

UnsupportedListener = Callable[[str], None]


class CameraFanout:
    """See the module. ``on_unsupported`` is called with the reason when the camera sends what WebRTC cannot carry."""

    def __init__(self, hub: PacketHub, clock: Clock, on_unsupported: UnsupportedListener) -> None:
        self.hub = hub
        self.codec: str | None = None
        """FFmpeg's name of the codec that all viewers here have negotiated; ``None`` before the first frame."""
        self.history = PacketHistory()
        self._clock = clock
        self._on_unsupported = on_unsupported
        self._senders: dict[VideoSender, Callable[[Exception], None]] = {}
        self._behind: set[VideoSender] = set()
        self._probing: dict[VideoSender, Callable[[float], None]] = {}
        """Viewers that are sent a probe, and what to call at its end."""
        self._audio: dict[AudioCodec, tuple[AudioSource, list[AudioSender]]] = {}
        self._audio_faults = 0
        """Of audio sources that are gone."""
        self._pacer: asyncio.TimerHandle | None = None
        self._frames = 0
        self._timeline = RunTimeline()
        """Of :attr:`Frame.timestamp`."""
        self._pace_bytes_per_s = PACE_BYTES_PER_S
        self._gop_bytes_per_s = 0.0
        self._at_keyframe: list[Callable[[], None]] = []
        self._detach: Callable[[], None] | None = hub.attach(self.on_packet, first=True)

    def __len__(self) -> int:
        return len(self._senders)

    @property
    def bytes_per_s(self) -> float:
        """The stream's rate over its last GOP, or over a second of the first one; 0 before there was one."""
        start, newest = self.history.gop_start, self.history.newest
        if self._gop_bytes_per_s or start is None or newest is None:
            return self._gop_bytes_per_s
        elapsed_90k = newest.timestamp - start.timestamp
        return self.history.gop_bytes * CLOCK_RATE / elapsed_90k if elapsed_90k >= CLOCK_RATE else 0.0

    @property
    def audio_faults(self) -> int:
        """Audio packets that could not be transcoded."""
        return self._audio_faults + sum(source.faults for source, _ in self._audio.values())

    def close(self) -> None:
        """Stop taking packets. May be called twice."""
        if self._detach is not None:
            self._detach()
            self._detach = None
        if self._pacer is not None:
            self._pacer.cancel()
            self._pacer = None

    def add(self, sender: VideoSender, on_fault: Callable[[Exception], None]) -> None:
        """Send a viewer the current GOP, and then the live frames. ``on_fault`` is called with an error in sending."""
        self._senders[sender] = on_fault
        self._set_pace(sender)
        # A camera that is disconnected has a history, but no live edge.
        if self.hub.gop and sender.start(self.history, self._clock.monotonic()):
            self._fall_behind(sender)
            self._advance(sender, self._clock.monotonic())

    def at_next_keyframe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` once, after the next keyframe was sent to the viewers. Returns a function that cancels."""
        self._at_keyframe.append(callback)

        def cancel() -> None:
            if callback in self._at_keyframe:
                self._at_keyframe.remove(callback)

        return cancel

    def remove(self, sender: VideoSender) -> None:
        """Remove a viewer. May be called twice."""
        self._senders.pop(sender, None)
        self._behind.discard(sender)
        self._probing.pop(sender, None)

    def request_keyframe(self, sender: VideoSender) -> bool:
        """Answer a viewer's PLI or FIR from the GOP. Returns whether it is answered."""
        if not self.hub.gop or not sender.request_keyframe(self.history, self._clock.monotonic()):
            return False
        self._fall_behind(sender)
        return True

    def set_limit(self, sender: VideoSender, bytes_per_s: int | None, *, has_lost: bool = True) -> None:
        """Limit a viewer's rate; ``None`` for no limit. ``has_lost``: see :meth:`VideoSender.set_limit`."""
        is_over = bytes_per_s is None and sender.limit_bytes_per_s is not None
        is_behind = sender.set_limit(bytes_per_s, self.history, has_lost=has_lost)
        if is_over and sender.is_waiting_for_keyframe and self.hub.gop:
            # A viewer that waits for a keyframe gets the current GOP: the next keyframe may be 20 s away.
            is_behind = sender.start(self.history, self._clock.monotonic())
        if is_behind:
            self._fall_behind(sender)

    def probe(self, sender: VideoSender, probe: Probe, on_sent: Callable[[float], None]) -> None:
        """Send a viewer a probe; ``on_sent`` is called with the time (monotonic seconds) when that is done."""
        now = self._clock.monotonic()
        if sender in self._senders and sender.begin_probe(now, probe.bps / 8, probe.seconds, probe.bytes_min):
            self._probing[sender] = on_sent
            self._run_pacer()
        else:
            on_sent(now)

    def retransmit(self, sender: VideoSender, sequences: list[int]) -> None:
        """Answer a viewer's NACK."""
        sender.retransmit(sequences, self._clock.monotonic())

    def on_packet(self, packet: Packet) -> None:
        """The hub's sink."""
        if not packet.is_video:
            self._on_audio(packet)
            return
        video = packet.info.video
        if self.codec is None:
            self.codec = video.codec
        if video.codec != self.codec or video.codec not in PAYLOADERS:
            self._on_unsupported(f"the camera now sends {video.codec}, which was not negotiated")
            return
        payloads = PAYLOADERS[video.codec](packet.data, video.parameter_sets, MAX_PAYLOAD_BYTES)
        if not payloads:
            return
        newest = self.history.newest
        timestamp = self._timeline.place(packet)
        if newest is not None and timestamp <= newest.timestamp:
            self._on_unsupported("the camera now sends B-frames, which WebRTC cannot carry")
            return
        frame = Frame(
            number=self._frames,
            first_index=self.history.end_index,
            payloads=payloads,
            timestamp=timestamp,
            captured_at_90k=packet.captured_at_90k,
            is_keyframe=packet.is_keyframe,
            size_bytes=sum(map(len, payloads)),
        )
        if packet.is_keyframe:
            self._measure_pace(frame)
        self._frames += 1
        self.history.append(frame)
        self._send_live(frame)
        if frame.is_keyframe and self._at_keyframe:
            waiting, self._at_keyframe = self._at_keyframe, []
            for callback in waiting:
                self._call(callback)

    def add_audio(self, sender: AudioSender, codec: AudioCodec) -> None:
        """Send a viewer the camera's audio from now on, as ``codec``."""
        self._audio.setdefault(codec, (AudioSource(codec), []))[1].append(sender)

    def remove_audio(self, sender: AudioSender) -> None:
        """Remove a viewer, and with the last one of a codec its encoder. May be called twice."""
        for codec, (_, senders) in tuple(self._audio.items()):
            if sender in senders:
                senders.remove(sender)
            if not senders:
                self._audio_faults += self._audio.pop(codec)[0].faults

    def timeline_at(self, wall_90k: int) -> int | None:
        """The timeline at a wall-clock time, for sender reports; ``None`` before the first frame.

        Video and audio both use the newest frame's capture time, so that they stay in sync.
        """
        return self._timeline.at(wall_90k)

    def _on_audio(self, packet: Packet) -> None:
        if packet.run != self._timeline.run:
            # Of a run without video so far: it has no place on the timeline yet.
            return
        for source, senders in tuple(self._audio.values()):
            now = self._clock.monotonic()
            for payload, timestamp in source.payloads(packet, packet.pts_90k + self._timeline.base_90k):
                for sender in tuple(senders):
                    try:
                        sender.send(payload, timestamp, now)
                    except Exception as error:
                        log.warning(
                            "camera %s: a viewer gets no more audio: %s",
                            self.hub.camera_id,
                            error,
                            extra={"camera": self.hub.camera_id},
                        )
                        self.remove_audio(sender)

    def _send_live(self, frame: Frame) -> None:
        now = self._clock.monotonic()
        behind = self._behind
        for sender in tuple(self._senders):
            try:
                if not sender.on_frame(frame, self.history, now) and sender not in behind:
                    self._fall_behind(sender)
            except Exception as error:
                self._fault(sender, error)
        # Under a limit packets are sent one by one, without batches.
        if not behind or all(sender.limit_bytes_per_s is not None for sender in behind):
            frame.gso_batches_by_template.clear()

    def _call(self, callback: Callable[[], None]) -> None:
        """One viewer's switch must not stop those of the others."""
        try:
            callback()
        except Exception:
            extra = {"camera": self.hub.camera_id}
            log.exception("camera %s: a viewer could not be switched", self.hub.camera_id, extra=extra)

    def _measure_pace(self, keyframe: Frame) -> None:
        """The pace is twice the camera's rate over the last GOP, if that is more than the default."""
        start = self.history.gop_start
        if start is None:
            return
        self._gop_bytes_per_s = self.history.gop_bytes * CLOCK_RATE / max(1, keyframe.timestamp - start.timestamp)
        self._pace_bytes_per_s = max(PACE_BYTES_PER_S, round(2 * self._gop_bytes_per_s))
        for sender in self._senders:
            self._set_pace(sender)

    def _set_pace(self, sender: VideoSender) -> None:
        sender.pace_bytes_per_s = self._pace_bytes_per_s
        sender.retransmitter.bytes_per_s = max(RETRANSMIT_BYTES_PER_S, round(self._gop_bytes_per_s))

    def _fall_behind(self, sender: VideoSender) -> None:
        self._behind.add(sender)
        self._run_pacer()

    def _run_pacer(self) -> None:
        if self._pacer is None:
            self._pacer = asyncio.get_running_loop().call_later(PACER_TICK_S, self._tick)

    def _tick(self) -> None:
        self._pacer = None
        self._pace()
        if self._behind or self._probing:
            self._pacer = asyncio.get_running_loop().call_later(PACER_TICK_S, self._tick)
        else:
            self.history.discard_gso_batches()

    def _pace(self) -> None:
        now = self._clock.monotonic()
        for sender in tuple(self._behind):
            self._advance(sender, now)
        for sender, on_sent in tuple(self._probing.items()):
            try:
                if sender.probe(self.history, now):
                    del self._probing[sender]
                    on_sent(now)
            except Exception as error:
                self._fault(sender, error)

    def _advance(self, sender: VideoSender, now: float) -> None:
        try:
            if sender.advance(self.history, now):
                self._behind.discard(sender)
        except Exception as error:
            self._fault(sender, error)

    def _fault(self, sender: VideoSender, error: Exception) -> None:
        log.warning(
            "camera %s: a viewer's packets could not be sent: %s",
            self.hub.camera_id,
            error,
            extra={"camera": self.hub.camera_id},
        )
        on_fault = self._senders.get(sender)
        self.remove(sender)
        if on_fault is not None:
            on_fault(error)
