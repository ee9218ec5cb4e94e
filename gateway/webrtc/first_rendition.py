"""With which stream of a camera a viewer begins: the first that has a keyframe, and that the viewer can decode.

Theory of operation. The best stream is captured first, and has a head start. Where it takes longer, is lost, or cannot
be sent, the next one is captured beside it, and the first to have a keyframe is taken. This is the way of RFC 8305
(Happy Eyeballs): a stream that is bad costs a viewer :data:`HEAD_START_S`, not the whole wait. A viewer that can decode
none of them gets the transcoded stream, if its offer has H.264. For a viewer that pins a stream no other one is
started. But after the head start it begins with one that is there, so it has a picture while it waits for its own.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.camera import Camera
from gateway.camera_settings import TranscodeMode
from gateway.clock import Clock
from gateway.errors import NegotiationError, NotLiveError, UnavailableError
from gateway.hold import Hold
from gateway.media import StreamInfo, VideoInfo
from gateway.rendition import Rendition
from gateway.transcode.transcode import Transcode
from gateway.webrtc.fanouts import Source
from gateway.webrtc.rendition_decision import TRANSCODE_AFTER_S
from gateway.webrtc.rendition_request import TRANSCODED, videos
from gateway.webrtc.rendition_switch import KIND
from gateway.webrtc.sdp.negotiation import NegotiatedSession, check_video, negotiate, refuse_b_frames
from gateway.webrtc.sdp.offer import Offer
from gateway.webrtc.sendable import reorders

KEYFRAME_WAIT_S = 8.0
"""How long an offer waits for a camera that is starting: for its connection, and the usual keyframe interval."""

HEAD_START_S = 1.0
"""How long the best stream may take before the next one is started beside it: most cameras connect faster."""

LOOK_S = 0.25
"""How often to look for what is not told as a change of the camera."""


@dataclass(frozen=True, slots=True)
class FirstRendition:
    """A rendition that is held and has a keyframe, and what offer and rendition have in common, or why that is nothing.

    Release the hold when the rendition has another one. ``info`` is what can be sent of it: of a rendition that cannot
    be sent to anybody, what is made of it.
    """

    hold: Hold[Rendition] | Hold[Transcode]
    info: StreamInfo
    negotiated: NegotiatedSession | None
    refusal: NegotiationError | None


async def first_rendition(
    camera: Camera,
    renditions: Sequence[Rendition],
    offer: Offer,
    clock: Clock,
    *,
    is_pinned: bool,
    may_counter: bool,
    may_have_own_transports: bool = True,
    wait_s: float = KEYFRAME_WAIT_S,
) -> FirstRendition:
    """The first of ``renditions`` that starts and that the viewer can decode; else the transcode, if ``camera`` has it.

    Each has ``wait_s`` to start. If the first one ``is_pinned``, the others are started only when it is lost; one that
    is there already is taken after :data:`HEAD_START_S`.

    With ``may_counter`` it is the first that starts, if the viewer can decode nothing, not even what is made of it.
    ``may_have_own_transports`` as for :func:`~gateway.webrtc.sdp.negotiation.negotiate`.

    Raises ``BadRequestError``, and what was wrong with the first of them: ``NotLiveError`` or ``NegotiationError``.
    Where a transcode was begun and makes nothing yet, that is a ``NotLiveError``.
    """
    race = _Race(
        camera,
        renditions,
        offer,
        clock,
        is_pinned=is_pinned,
        may_counter=may_counter,
        may_have_own_transports=may_have_own_transports,
        wait_s=wait_s,
    )
    try:
        return await race.run()
    finally:
        race.close()


class _Race:
    """One viewer's beginning; see the module."""

    def __init__(
        self,
        camera: Camera,
        renditions: Sequence[Rendition],
        offer: Offer,
        clock: Clock,
        *,
        is_pinned: bool,
        may_counter: bool,
        may_have_own_transports: bool,
        wait_s: float,
    ) -> None:
        self._camera = camera
        self._renditions = renditions
        self._offer = offer
        self._clock = clock
        self._is_pinned = is_pinned
        self._may_counter = may_counter
        self._may_have_own_transports = may_have_own_transports
        self._wait_s = wait_s
        self._began_s = clock.monotonic()
        self._started_s: dict[Source, float] = {}
        """When each was started, in that order."""
        self._holds: dict[Source, Hold[Rendition] | Hold[Transcode]] = {}
        """Of those that may still come."""
        self._failed_holds: list[Hold[Rendition] | Hold[Transcode]] = []
        """Until the end: the viewer may go on waiting for these."""
        self._failures: dict[Source, NotLiveError | NegotiationError] = {}
        self._undecodable: FirstRendition | None = None

    async def run(self) -> FirstRendition:
        changed = asyncio.Event()
        forget = self._camera.listen(changed.set)
        try:
            while True:
                changed.clear()
                self._start_due()
                for source in tuple(self._holds):
                    found = await self._look_at(source)
                    if found is not None:
                        return found
                if not self._holds and not self._next():
                    return self._end()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S if self._holds else 0.0):
                        await changed.wait()
        finally:
            forget()

    def close(self) -> None:
        """Release what was not taken."""
        for hold in (*self._holds.values(), *self._failed_holds):
            hold.release()
        if self._undecodable is not None:
            self._undecodable.hold.release()

    def _start_due(self) -> None:
        while (source := self._next()) is not None:
            self._started_s[source] = self._clock.monotonic()
            try:
                self._holds[source] = source.hold(KIND)
            except UnavailableError as error:
                # Transcodes have a limit.
                first = next(iter(self._failures))
                failure = self._failures[first]
                if isinstance(failure, NegotiationError):
                    text = f"{failure}. It cannot be transcoded now: {error}"
                    self._failures[first] = NegotiationError(text, failure.transports)

    def _next(self) -> Source | None:
        """The stream that is to be started now, or is there."""
        running = [each for each in self._holds if isinstance(each, Rendition)]
        since_s = self._clock.monotonic() - max(self._started_s.values(), default=0.0)
        is_late = since_s >= HEAD_START_S
        is_free = all(each.is_lost for each in running) or (not self._is_pinned and is_late)
        for each in self._renditions:
            is_there = is_late and bool(each.hub.gop) and each.has_pictures
            if each not in self._started_s and (is_free or is_there):
                return each
        transcode = self._camera.transcode
        is_time = is_free and self._clock.monotonic() - self._began_s >= TRANSCODE_AFTER_S
        if transcode not in self._started_s and self._may_transcode() and (is_time or all(e.is_lost for e in running)):
            return transcode
        return None

    def _may_transcode(self) -> bool:
        """Whether the main stream is there, and the viewer cannot be sent it, but what is made of it."""
        refusal = self._failures.get(self._camera.main)
        is_on = self._camera.settings.transcode is TranscodeMode.AUTO
        return is_on and isinstance(refusal, NegotiationError) and _has_h264(self._offer, self._camera.transcode)

    async def _look_at(self, source: Source) -> FirstRendition | None:
        """What the viewer begins with, if this is it; that it has failed, if it has."""
        is_late = self._clock.monotonic() - self._started_s[source] >= self._wait_s
        if not source.hub.gop and not is_late and not _is_hopeless(source):
            return None
        found = None
        try:
            found = self._negotiate(source, await _stream(source))
            if found.negotiated is not None:
                del self._holds[source]
                return found
            assert found.refusal is not None
            self._failures[source] = found.refusal
        except (NotLiveError, NegotiationError) as error:
            self._failures[source] = error
        hold = self._holds.pop(source)
        if found is not None and self._may_counter and self._undecodable is None:
            self._undecodable = found
        else:
            self._failed_holds.append(hold)
        return None

    def _negotiate(self, source: Source, info: StreamInfo) -> FirstRendition:
        """Raises ``NegotiationError`` if the stream cannot be sent to anybody, and nothing is made of it either."""
        try:
            check_video(info.video, self._camera.id)
            if reorders(source.hub.gop):
                raise refuse_b_frames(self._camera.id)
        except NegotiationError as error:
            transcode = self._camera.transcode
            is_on = self._camera.settings.transcode is TranscodeMode.AUTO
            if not is_on or source is not transcode.source or _has_h264(self._offer, transcode):
                raise
            return FirstRendition(self._holds[source], replace(info, video=TRANSCODED), None, error)
        negotiated, refusal = try_negotiate(
            self._offer,
            info,
            self._camera.id,
            videos(self._camera),
            may_have_own_transports=self._may_have_own_transports,
        )
        return FirstRendition(self._holds[source], info, negotiated, refusal)

    def _end(self) -> FirstRendition:
        """Nothing can be sent."""
        transcode = self._failures.get(self._camera.transcode)
        if isinstance(transcode, NotLiveError):
            raise transcode  # It was begun, and can be sent soon.
        first = next(
            self._failures[each] for each in (*self._renditions, self._camera.transcode) if each in self._failures
        )
        if self._undecodable is not None:
            found, self._undecodable = self._undecodable, None
            return replace(found, refusal=first) if isinstance(first, NegotiationError) else found
        raise first


def _is_hopeless(source: Source) -> bool:
    return isinstance(source, Rendition) and (source.is_hopeless or not source.is_wanted)


async def _stream(source: Source) -> StreamInfo:
    """What the stream has now. Raises ``NotLiveError``."""
    try:
        await source.wait_for_keyframe(0.0)
    except UnavailableError as error:
        raise NotLiveError(str(error), error.retry_after_s) from None
    info = source.hub.info
    assert info is not None
    return info


def _has_h264(offer: Offer, transcode: Transcode) -> bool:
    """Whether the offer can be answered with what a transcode makes."""
    audio = transcode.source.hub.info.audio if transcode.source.hub.info is not None else None
    return try_negotiate(offer, StreamInfo(TRANSCODED, audio), transcode.camera_id)[0] is not None


def try_negotiate(
    offer: Offer,
    info: StreamInfo,
    camera_id: str,
    others: Sequence[VideoInfo] = (),
    *,
    may_have_own_transports: bool = True,
) -> tuple[NegotiatedSession | None, NegotiationError | None]:
    """The result, or why there is none. Raises ``BadRequestError``."""
    try:
        return negotiate(offer, info, camera_id, others, may_have_own_transports=may_have_own_transports), None
    except NegotiationError as error:
        return None, error
