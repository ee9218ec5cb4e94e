"""CounterOffer: what a viewer is offered whose own offer was of no use (draft-ietf-wish-whep).

The viewer begins with its answer, as with any other offer (:mod:`gateway.webrtc.first_rendition`). Until then the
camera is held for it, so that it need not start again, and nothing is transcoded for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.camera import Camera
from gateway.camera_settings import TranscodeMode
from gateway.hold import Hold
from gateway.media import VideoInfo
from gateway.rendition import Rendition
from gateway.transcode.transcode import Transcode
from gateway.webrtc.rendition_request import TRANSCODED, RenditionRequest
from gateway.webrtc.sdp.negotiation import VIDEO_NAMES
from gateway.webrtc.sendable import reorders


@dataclass(frozen=True, slots=True)
class CounterOffer:
    """Our offer to a viewer, what it has asked for, and what is held until it has answered."""

    sdp: str
    request: RenditionRequest
    hold: Hold[Rendition] | Hold[Transcode]


def videos_to_offer(camera: Camera, first: VideoInfo) -> Sequence[VideoInfo]:
    """``first``, what else the camera can send, as far as known, and what is made of it if all of that is H.265."""
    hubs = [each.hub for each in camera.renditions.values()]
    known = [hub.info.video for hub in hubs if hub.info is not None and not reorders(hub.gop)]
    found = list(dict.fromkeys(each for each in (first, *known) if each.codec in VIDEO_NAMES))
    if camera.settings.transcode is TranscodeMode.AUTO and all(each.codec != "h264" for each in found):
        found.append(TRANSCODED)
    return found
