"""RenditionSwitch: which rendition of its camera a viewer gets, and the change from one to the other.

Theory of operation. The choice is made by :class:`~gateway.webrtc.bandwidth.rendition_choice.RenditionChooser`. A
switch captures the chosen rendition and waits for its next keyframe. Until that has come, the viewer is sent the old
one, and so never sees a pause. The video goes on with the same SSRC, sequence numbers and clock.

Rules:

1. A viewer that has pinned a rendition gets that one, as long as it can be sent.
2. Only what the viewer can decode is chosen: the codecs that were negotiated, without B-frames.
3. A rendition that is lost, or that has sent nothing for :data:`PATIENCE_S`, is left for one that is there. It is
   tried again :data:`AVOID_S` later.
4. The switch comes with the next keyframe. It comes at once, with a replay of the GOP, where the GOP has just begun
   (:data:`REPLAY_MAX_90K`), where the network is too narrow for the present rendition, and where that one is lost.
5. The transcoded stream takes their place while no rendition can be sent: the main stream has a codec that was not
   negotiated or B-frames, and the sub stream is lost or not there. It is left for a rendition that can be sent again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.camera import Camera
from gateway.camera_settings import RenditionName, TranscodeMode
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import BadRequestError, UnavailableError
from gateway.media import Packet, VideoInfo
from gateway.rendition import Hold, Rendition
from gateway.session import SessionState
from gateway.transcode.transcode import Transcode
from gateway.webrtc.bandwidth import rendition_choice
from gateway.webrtc.bandwidth.rendition_choice import RenditionChooser
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.fanouts import Fanouts, Source

log = logging.getLogger(__name__)

KIND = "webrtc"
"""The transport of these viewers in a camera's status."""

PATIENCE_S = 10.0
"""How long a chosen rendition may take to its first keyframe: for its connection, and the usual keyframe interval."""

AVOID_S = 30.0

SURE_PACKETS = 25
"""A stream that had B-frames has none any more if there is none among so many packets, of one GOP or of several."""

REPLAY_MAX_90K = CLOCK_RATE * 3 // 10
"""A receiver decodes so much of a GOP without a visible pause."""

TILE_MAX = 16_384
"""Device pixels; more than any screen has."""

ASSUMED_SUB = rendition_choice.Rendition(RenditionName.SUB, 500_000, 640, 360)
"""A sub stream that was never captured, until it is: what most of them are."""


@dataclass(frozen=True, slots=True)
class RenditionRequest:
    """What a viewer asks for. ``pinned``: this one and no other. ``tile``: at how many device pixels it is shown."""

    pinned: RenditionName | None = None
    tile: tuple[int, int] | None = None

    @classmethod
    def parse(cls, rendition: str | None, width: int | None, height: int | None) -> "RenditionRequest":
        """Of a request's parameters, where ``auto`` is no pin. Raises :class:`~gateway.errors.BadRequestError`."""
        if rendition not in (None, "auto", *RenditionName):
            raise BadRequestError("rendition: it is auto, main or sub")
        pinned = None if rendition in (None, "auto") else RenditionName(rendition)
        if (width is None) is not (height is None):
            raise BadRequestError("width and height: give both, or none")
        if width is None or height is None:
            return cls(pinned)
        if not (1 <= width <= TILE_MAX and 1 <= height <= TILE_MAX):
            raise BadRequestError(f"width and height: they are device pixels, from 1 to {TILE_MAX}")
        return cls(pinned, (width, height))


AUTO = RenditionRequest()


def preferred(camera: Camera, request: RenditionRequest) -> list[Rendition]:
    """The renditions with which a viewer may begin, the best one first.

    Those that are there come before the others: the first picture has priority, and a switch follows. Raises
    :class:`~gateway.errors.NotFoundError` for a pinned one that the camera does not have.
    """
    if request.pinned is not None:
        return [camera.rendition(request.pinned)]
    candidates = {each.name: each for each in camera.renditions.values()}
    chosen = RenditionChooser().choose(0.0, describe(candidates), estimate_bps=None, tile=request.tile)
    ordered = sorted(candidates.values(), key=lambda each: each.name != chosen.rendition.name)
    return sorted(ordered, key=lambda each: not each.hub.gop)


def describe(renditions: Mapping[RenditionName, Rendition]) -> list[rendition_choice.Rendition]:
    """Size and bitrate of renditions, as far as known."""
    described = []
    for name, rendition in renditions.items():
        info = rendition.hub.info
        if info is None:
            main = rendition_choice.Rendition(name, 0, 1920, 1080)
            described.append(ASSUMED_SUB if name is RenditionName.SUB else main)
        else:
            bits_per_s = rendition.bitrate_bps or 0
            described.append(rendition_choice.Rendition(name, bits_per_s, info.video.width, info.video.height))
    return described


TRANSCODED_REASON = "it decodes nothing that the camera sends, so that is transcoded"

TRANSCODED = VideoInfo("h264", "avc1.42c01f", 1280, 720, b"")
"""What a transcode makes, and what many sub streams are."""

ASSUMED_HEVC = VideoInfo("hevc", "hvc1.1.6.L93.b0", 640, 360, b"")


def videos(camera: Camera) -> list[VideoInfo]:
    """What the camera may send to a viewer during its time, as far as known, to be negotiated."""
    infos = [each.hub.info for each in camera.renditions.values()]
    found = [info.video for info in infos if info is not None]
    if None in infos:
        found += [TRANSCODED, ASSUMED_HEVC]
    if camera.settings.transcode is TranscodeMode.AUTO:
        found.append(TRANSCODED)
    return found


class RenditionSwitch:
    """The rendition of one viewer; see the module. Holds it, and its fan-out, until it is closed.

    ``current`` is held and has a keyframe already. ``move`` is called when the viewer has to be sent another fan-out.
    """

    def __init__(
        self,
        camera: Camera,
        current: Source,
        request: RenditionRequest,
        fanouts: Fanouts,
        clock: Clock,
        move: Callable[[CameraFanout], None],
    ) -> None:
        assert current.hub.info is not None
        self.camera = camera
        self.current: Source = current
        self.request = request
        self.fanout = fanouts.take(current)
        first = current.hub.info.video.codec
        self.can_decode: Callable[[VideoInfo], bool] = lambda video: video.codec == first
        """Whether the viewer decodes this. To be set once that is negotiated."""
        self.reason = ""
        """Why it gets this rendition, as a clause."""
        self.wanted_bps: float | None = None
        """The bandwidth with which it would get a better one; ``None``: there is none."""
        self.switches = 0
        self.viewer_id = ""
        """For the log."""
        self._fanouts = fanouts
        self._clock = clock
        self._move = move
        self._chooser = RenditionChooser()
        self._hold: Hold[Rendition] | Hold[Transcode] = current.hold(KIND)
        self._pending: Source | None = None
        self._pending_hold: Hold[Rendition] | Hold[Transcode] | None = None
        self._pending_since_s = 0.0
        self._cancel: Callable[[], None] = lambda: None
        self._avoid_until_s: dict[Source, float] = {}
        self._reordering: dict[Source, VideoInfo | None] = {}
        """Streams that had B-frames, and what they were then."""
        self._clean_packets = 0
        """Packets of the pending stream without B-frames, in its GOPs before the last one that was seen."""
        self._seen_gop: tuple[Packet, int] | None = None
        """The first packet of that last one, and how many it had."""
        """Those that had B-frames when they were last captured."""
        self._closed = False

    @property
    def codec(self) -> str:
        """FFmpeg's name of what it is sent."""
        info = self.current.hub.info
        assert info is not None
        return info.video.codec

    @property
    def requested(self) -> Literal["auto", "main", "sub"]:
        """What the viewer has asked for."""
        pinned = self.request.pinned
        return "auto" if pinned is None else "main" if pinned is RenditionName.MAIN else "sub"

    @property
    def pending(self) -> Source | None:
        """The rendition whose keyframe is awaited."""
        return self._pending

    def ask(self, request: RenditionRequest) -> None:
        """The viewer asks for something else. Raises ``NotFoundError`` for a rendition that the camera does not have.

        Follow it with :meth:`update`.
        """
        if request.pinned is not None:
            self.camera.rendition(request.pinned)
        self.request = replace(request, tile=request.tile or self.request.tile)

    def update(self, estimate_bps: float | None) -> None:
        """Choose again. Call it when anything has changed, and at least twice a second."""
        if self._closed:
            return
        now = self._clock.monotonic()
        self._give_up_pending(now)
        candidates = self._candidates(now)
        if not candidates:
            self._stay_with_transcode(now)
            return
        pinned = candidates.get(self.request.pinned) if self.request.pinned is not None else None
        is_narrow = False
        target: Source
        if pinned is not None:
            target, self.reason, self.wanted_bps = pinned, "it was asked for", None
        elif self.camera.sub is None and self.current is self.camera.main:
            target, self.reason, self.wanted_bps = self.current, "it is the only one", None
        else:
            described = describe(candidates)
            choice = self._chooser.choose(now, described, estimate_bps=estimate_bps, tile=self.request.tile)
            target = candidates[RenditionName(choice.rendition.name)]
            self.reason, self.wanted_bps = choice.reason, choice.wanted_bps
            present = next((each for each in described if each.name == self.current.name), None)
            is_narrow = estimate_bps is not None and present is not None and estimate_bps < present.needed_bps
        if target is self.current:
            self._drop_pending()
            return
        if target is not self._pending and not self._await(target, now):
            return
        gop = target.hub.gop
        is_short = bool(gop) and gop[-1].dts_90k - gop[0].dts_90k <= REPLAY_MAX_90K
        if gop and (is_short or is_narrow or not self.current.hub.gop or target in self._reordering):
            self._switch(target)
        if isinstance(self.current, Transcode):
            self.reason, self.wanted_bps = TRANSCODED_REASON, None

    def leave(self, rendition: Source) -> bool:
        """This rendition cannot be sent any more. Returns whether the viewer has another one, or waits for it."""
        self._avoid(rendition)
        if rendition is self._pending:
            self._drop_pending()
        if rendition is not self.current:
            return True
        info = rendition.hub.info
        has_changed = info is not None and self.fanout.codec not in (None, info.video.codec)
        if info is not None and has_changed and self.can_decode(info.video) and not reorders(rendition.hub.gop):
            # To another codec that was negotiated: it has another fan-out now.
            del self._avoid_until_s[rendition]
            self.fanout = self._fanouts.take(rendition)
            self._move(self.fanout)
            self._fanouts.release(rendition)
            return True
        self.update(None)
        return self.current is not rendition or self._pending is not None

    def close(self) -> None:
        """Release everything. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._drop_pending()
        self._hold.release()
        self._fanouts.release(self.current)

    def _candidates(self, now: float) -> Mapping[RenditionName, Rendition]:
        """What may be sent (rules 2 and 3): those that are there, else those that may come. Empty: rule 5."""
        usable = {
            each.name: each
            for each in self.camera.renditions.values()
            if self._can_decode(each) and self._avoid_until_s.get(each, now) <= now
        }
        alive = {name: each for name, each in usable.items() if each.hub.gop or not _is_lost(each)}
        if alive or self._may_transcode():
            return alive
        present = {} if isinstance(self.current, Transcode) else {self.current.name: self.current}
        return usable or present

    def _may_transcode(self) -> bool:
        """Rule 5. A main stream that is away has nothing to transcode, but may come back."""
        main = self.camera.main
        is_sendable = self._can_decode(main) and main not in self._reordering
        is_possible = self.camera.settings.transcode is TranscodeMode.AUTO and self.can_decode(TRANSCODED)
        return isinstance(self.current, Transcode) or (is_possible and not is_sendable and not _is_lost(main))

    def _stay_with_transcode(self, now: float) -> None:
        """Send the transcoded stream, rule 5."""
        transcode = self.camera.transcode
        self.reason, self.wanted_bps = TRANSCODED_REASON, None
        if self.current is transcode:
            self._drop_pending()
        elif (self._pending is transcode or self._await(transcode, now)) and transcode.hub.gop:
            self._switch(transcode)

    def _can_decode(self, rendition: Rendition) -> bool:
        info = rendition.hub.info
        return info is None or self.can_decode(info.video)

    def _avoid(self, rendition: Source) -> None:
        """Rule 3."""
        self._avoid_until_s[rendition] = self._clock.monotonic() + AVOID_S
        if reorders(rendition.hub.gop):
            self._reordering[rendition] = _video(rendition)

    def _give_up_pending(self, now: float) -> None:
        """Rule 3."""
        pending = self._pending
        if pending is None:
            return
        is_late = not pending.hub.gop and now - self._pending_since_s > PATIENCE_S
        if isinstance(pending, Transcode):
            if is_late:
                self._drop_pending()
        elif is_late or _is_lost(pending) or not self._can_decode(pending) or reorders(pending.hub.gop):
            self._avoid(pending)
            self._drop_pending()

    def _await(self, target: Source, now: float) -> bool:
        """Capture it, and switch at its keyframe. Returns whether it can be captured: transcodes have a limit."""
        self._drop_pending()
        try:
            hold = target.hold("")
        except UnavailableError as error:
            self.reason = f"{self.reason}; but not now: {error}"
            return False
        self._pending, self._pending_hold, self._pending_since_s = target, hold, now
        self._clean_packets, self._seen_gop = 0, None
        self._cancel = self._fanouts.take(target).at_next_keyframe(lambda: self._switch(target))
        return True

    def _is_sure(self, target: Source) -> bool:
        """Whether a stream that had B-frames, and is awaited, has none any more. Call it several times a second."""
        gop = target.hub.gop
        if _video(target) != self._reordering[target]:
            return True
        if self._seen_gop is not None and (not gop or gop[0] is not self._seen_gop[0]):
            self._clean_packets += self._seen_gop[1]
        self._seen_gop = (gop[0], len(gop)) if gop else None
        return self._clean_packets + len(gop) >= SURE_PACKETS

    def _drop_pending(self) -> None:
        pending, self._pending = self._pending, None
        self._cancel()
        self._cancel = lambda: None
        if pending is not None:
            self._fanouts.release(pending)
        if self._pending_hold is not None:
            self._pending_hold.release()
            self._pending_hold = None

    def _switch(self, target: Source) -> None:
        """Its keyframe has come, or its GOP is replayed (rule 4)."""
        if reorders(target.hub.gop):
            self._avoid(target)
            self._drop_pending()
            return
        if target in self._reordering and not self._is_sure(target):
            return
        self._reordering.pop(target, None)
        before, before_hold = self.current, self._hold
        self.current, self._hold, self.fanout = target, target.hold(KIND), self._fanouts.take(target)
        self._drop_pending()
        self.switches += 1
        self._move(self.fanout)
        before_hold.release()
        self._fanouts.release(before)
        log.info(
            "camera %s: viewer %s gets the %s stream: %s",
            self.camera.id,
            self.viewer_id,
            "transcoded" if isinstance(target, Transcode) else target.name,
            self.reason,
            extra={"camera": self.camera.id, "viewer": self.viewer_id},
        )


def reorders(gop: Sequence[Packet]) -> bool:
    """Whether frames are sent in another order than they are shown."""
    return any(packet.is_video and packet.pts_90k != packet.dts_90k for packet in gop)


def _video(rendition: Source) -> VideoInfo | None:
    info = rendition.hub.info
    return None if info is None else info.video


def _is_lost(rendition: Rendition) -> bool:
    return rendition.session.state in (SessionState.RETRYING, SessionState.FAILED)
