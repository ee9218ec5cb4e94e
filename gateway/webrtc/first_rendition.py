"""With which rendition of a camera a viewer begins: the first that starts, and that the viewer can decode.

A viewer that can decode none of them gets the transcoded stream, if its offer has H.264.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.camera import Camera
from gateway.camera_settings import TranscodeMode
from gateway.errors import NegotiationError, NotLiveError, UnavailableError
from gateway.media import StreamInfo, VideoInfo
from gateway.rendition import Hold, Rendition
from gateway.transcode.transcode import Transcode
from gateway.webrtc.fanouts import Source
from gateway.webrtc.rendition_switch import KIND, TRANSCODED, reorders, videos
from gateway.webrtc.sdp.negotiation import NegotiatedSession, check_video, negotiate, refuse_b_frames
from gateway.webrtc.sdp.offer import Offer

KEYFRAME_WAIT_S = 8.0
"""How long an offer waits for a camera that is starting: for its connection, and the usual keyframe interval."""


@dataclass(frozen=True, slots=True)
class FirstRendition:
    """A rendition that is held and has a keyframe, and what offer and rendition have in common, or why that is nothing.

    Release the hold when the rendition has another one.
    """

    hold: Hold[Rendition] | Hold[Transcode]
    info: StreamInfo
    negotiated: NegotiatedSession | None
    refusal: NegotiationError | None


async def first_rendition(
    camera: Camera,
    renditions: Sequence[Rendition],
    offer: Offer,
    *,
    may_counter: bool,
    wait_s: float = KEYFRAME_WAIT_S,
) -> FirstRendition:
    """The first of ``renditions`` that starts and that the viewer can decode; else the transcode, if ``camera`` has it.

    Each has ``wait_s`` to start.

    With ``may_counter`` it is the first that starts, if the viewer can decode nothing. Raises ``BadRequestError``, and
    what was wrong with the first of them: ``NotLiveError`` or ``NegotiationError``.
    """
    failure: NotLiveError | NegotiationError | None = None
    undecodable: FirstRendition | None = None
    transcode = camera.transcode if camera.settings.transcode is TranscodeMode.AUTO else None
    try:
        for rendition in renditions:
            try:
                found = await _start(camera, rendition, offer, wait_s)
            except (NotLiveError, NegotiationError) as error:
                failure = failure or error
                continue
            if found.negotiated is not None:
                return found
            failure = failure or found.refusal
            if may_counter and undecodable is None:
                undecodable = found
            else:
                found.hold.release()
        if isinstance(failure, NegotiationError) and transcode is not None and _has_h264(offer, transcode):
            try:
                return await _start(camera, transcode, offer, wait_s)
            except UnavailableError as error:
                if isinstance(error, NotLiveError):
                    raise
                failure = NegotiationError(f"{failure}. It cannot be transcoded now: {error}", failure.transports)
        if undecodable is not None:
            found, undecodable = undecodable, None
            return replace(found, refusal=failure) if isinstance(failure, NegotiationError) else found
    finally:
        if undecodable is not None:
            undecodable.hold.release()
    assert failure is not None
    raise failure


async def _start(camera: Camera, rendition: Source, offer: Offer, wait_s: float) -> FirstRendition:
    hold = rendition.hold(KIND)
    try:
        info = await _wait_for_stream(rendition, wait_s)
        negotiated, refusal = try_negotiate(offer, info, camera.id, videos(camera))
    except BaseException:
        hold.release()
        raise
    return FirstRendition(hold, info, negotiated, refusal)


async def _wait_for_stream(rendition: Source, wait_s: float) -> StreamInfo:
    """What the stream has. Raises ``NotLiveError``, and ``NegotiationError`` if WebRTC cannot carry it."""
    try:
        await rendition.wait_for_keyframe(wait_s)
    except UnavailableError as error:
        raise NotLiveError(str(error), error.retry_after_s) from None
    info = rendition.hub.info
    assert info is not None
    check_video(info.video, rendition.camera_id)
    if reorders(rendition.hub.gop):
        raise refuse_b_frames(rendition.camera_id)
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
