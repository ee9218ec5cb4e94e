"""The sound of a camera's recordings, and what a playlist has where there is none.

Rules:

1. A playlist that has sound somewhere has it everywhere: :class:`~hls.mp4.silence.Silence` of the same rate elsewhere.
2. In one to which nothing comes any more, its files decide. One that goes on is loaded again and again, and its entries
   must not change (RFC 8216 §6.2.1), so there the camera decides: whether any recording of it has sound.
3. Both variants of a multivariant playlist have the same tracks.
"""

import asyncio
from collections.abc import Iterable, Mapping

from gateway.camera_settings import RenditionName
from gateway.errors import LiveedgeError
from hls.archive.segment import Segment
from hls.archive.segment_files import SegmentFiles, read_init
from hls.archive.service import Archive
from hls.mp4.fragments import AUDIO_TRACK_ID
from hls.mp4.init_segment import read_tracks
from hls.mp4.silence import Silence, silence_like
from hls.playback.recording_order import Piece

DEFAULT = Silence(48_000, 1)
"""Where the file with the sound cannot be read: decoders take another rate from one init segment to the next."""

# ISO/IEC 14496-12 §12.2.3: channelcount in an AudioSampleEntry.
_CHANNEL_COUNT = slice(24, 26)

Recorded = Mapping[RenditionName, list[Piece]]


class RecordedSound:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._cameras: dict[tuple[str, RenditionName | None], Silence | None] = {}
        """What was found, by camera and rendition, of those with recordings. Sound that was found stays."""

    async def in_range(self, recorded: Recorded) -> Silence | None:
        """What the pieces without sound need in a playlist that does not go on."""
        segments = [piece.segment for pieces in recorded.values() for piece in pieces]
        loud = [segment for segment in segments if segment.audio_codec is not None]
        if not loud or len(loud) == len(segments):
            return None
        return await self._like(loud)

    async def of_camera(self, camera_id: str, rendition: RenditionName | None, recorded: Recorded) -> Silence | None:
        """What the pieces without sound need in a playlist that goes on: of one stream, or of both."""
        key = camera_id, rendition
        if found := self._cameras.get(key):
            return found
        known = [segment for segment, _ in self._archive.unindexed(camera_id, rendition)]
        known += [piece.segment for pieces in recorded.values() for piece in pieces]
        loud = [segment for segment in known if segment.audio_codec is not None]
        if not loud and key not in self._cameras:
            newest = await self._archive.index.newest_with_sound(camera_id, rendition)
            loud = [newest] if newest is not None else []
        self._cameras[key] = await self._like(loud) if loud else None
        return self._cameras[key]

    async def _like(self, loud: Iterable[Segment]) -> Silence:
        segment = max(loud, key=lambda segment: segment.start_90k)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._archive.files.executor, _silence_like, self._archive.files, segment)


def _silence_like(files: SegmentFiles, segment: Segment) -> Silence:
    """Silence with the rate of a segment's sound. Blocking."""
    try:
        track = read_tracks(read_init(files.open, segment.path(files.data_dir), segment)).get(AUDIO_TRACK_ID)
    except LiveedgeError:
        track = None
    if track is None:
        return DEFAULT
    return silence_like(track.timescale, int.from_bytes(track.entry[_CHANNEL_COUNT], "big")) or DEFAULT
