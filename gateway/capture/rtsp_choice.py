"""Which tracks of an RTSP camera are captured."""

from itertools import pairwise

from gateway.capture import camera_errors
from gateway.capture.camera_errors import UnknownCodecError
from gateway.capture.packets import VIDEO_CODECS
from gateway.capture.url import CameraUrl
from gateway.rtsp.formats import VideoFormat, audio_format, is_known_video, metadata_format, video_format
from gateway.rtsp.sdp import SessionDescription
from gateway.rtsp.track import Track

MP4_CODECS = frozenset({"h264", "hevc"})
"""Video that can be recorded."""


def choose_tracks(description: SessionDescription, url: CameraUrl, *, wants_metadata: bool) -> list[Track]:
    """The first video track that is known, of H.264 and H.265 if there is one, the first audio track that is known,
    and metadata where it is wanted.

    Raises a :class:`~gateway.errors.CaptureError` if no video is known.
    """
    videos: list[Track] = []
    names: list[str] = []
    for media in description.media:
        if media.kind == "video" and not media.is_back_channel:
            video = video_format(media)
            if video is not None and video.codec in VIDEO_CODECS:
                videos.append(Track(media, is_required=True, format=video))
            else:
                names += [each.encoding for each in media.formats]
    if not videos:
        fault = camera_errors.unusable_codec(url, ", ".join(names))
        is_unknown = bool(names) and not any(map(is_known_video, names))
        raise UnknownCodecError(str(fault)) if is_unknown else fault
    # Those that every output can have, first.
    videos.sort(key=lambda track: isinstance(track.format, VideoFormat) and track.format.codec not in MP4_CODECS)
    for track, following in pairwise(videos):
        track.otherwise = following
    chosen = videos[:1]
    for read, is_wanted in ((audio_format, True), (metadata_format, wants_metadata)):
        for media in description.media if is_wanted else ():
            is_kind = (media.kind == "audio") == (read is audio_format)
            found = read(media) if is_kind and not media.is_back_channel else None
            if found is not None:
                chosen.append(Track(media, format=found))
                break
    return chosen
