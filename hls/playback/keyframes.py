"""I-frame playlists of a recording (RFC 8216 §4.3.3.6), and the media that they refer to: for players above real time.

Rules:

1. An entry is one keyframe alone. The fragment with it is made when it is requested (:func:`keyframe_fragment`), so
   that a playlist reads the index and no file.
2. An entry lasts until the next one, and the last one of a file until the file ends. So does its sample: a player
   without a mode for I-frames plays the playlist as a video of few frames.
3. With an interval, entries are at least so far apart. A file begins with one.
4. Where both streams of a camera were recorded, entries are of one of them, and of the other one where that has
   nothing.
5. A playlist has an end. It is of what was recorded until then.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, Clock, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError, StorageError
from hls.archive.disk_error import read_error
from hls.archive.fragment import Fragment
from hls.archive.segment import Segment
from hls.archive.segment_files import OpenFile, SegmentFiles, read_all
from hls.archive.service import Archive
from hls.mp4.fragments import FragmentTrack, Sample, fragment
from hls.mp4.moof import VIDEO_TRACK_ID, Run, parse_runs

PLAYLIST_MAX_S = 24 * 3600
"""As of the playlist of all frames. Of a keyframe each second that is 86,400 entries: 8 MB before gzip."""

READ_90K = 2 * 3600 * CLOCK_RATE
"""So much is read of the index at a time, so that its other callers wait no longer: 12 files, some 20 ms."""

FILES_MAX = 5000
"""Files of so much: a file of 1.5 s."""

LASTS_MAX_90K = 86_400 * CLOCK_RATE
"""No file of a recording is longer."""

_MOOF_READ_BYTES = 4096
"""A moof of half a second has about 1 kB, so one read contains it."""


@dataclass(frozen=True, slots=True)
class Keyframe:
    """An entry of a playlist. ``offset`` is that of its fragment in the file of ``segment``; times in 90 kHz."""

    segment: Segment
    offset: int
    media_90k: int
    lasts_90k: int

    @property
    def start_90k(self) -> int:
        """Its date."""
        return self.segment.start_90k + self.media_90k


def keyframes_of(segment: Segment, fragments: Sequence[Fragment], interval_90k: int) -> list[Keyframe]:
    """The keyframes of a file, at least ``interval_90k`` apart; rules 2 and 3."""
    chosen: list[Fragment] = []
    for each in fragments:
        if each.is_keyframe and (not chosen or each.start_90k - chosen[-1].start_90k >= interval_90k):
            chosen.append(each)
    if not chosen:
        return []
    starts = [each.start_90k for each in chosen] + [fragments[-1].end_90k]
    return [
        Keyframe(segment, each.offset, start_90k, max(1, end_90k - start_90k))
        for each, (start_90k, end_90k) in zip(chosen, pairwise(starts), strict=True)
    ]


def in_span(keyframes: Sequence[Keyframe], start_90k: int, end_90k: int) -> list[Keyframe]:
    """Those that are shown in [start, end)."""
    return [each for each in keyframes if each.start_90k < end_90k and each.start_90k + each.lasts_90k > start_90k]


def filled(own: Sequence[Keyframe], other: Sequence[Keyframe]) -> list[Keyframe]:
    """Rule 4: ``own``, and what of ``other`` begins where ``own`` shows nothing, by their dates."""
    spans = sorted({(each.segment.start_90k, each.segment.end_90k) for each in own})
    gaps = [each for each in other if not any(start <= each.start_90k < end for start, end in spans)]
    return sorted([*own, *gaps], key=lambda each: (each.start_90k, each.segment.name))


def playlist(keyframes: Sequence[Keyframe], base: str) -> str | None:
    """The playlist of these keyframes, in order; ``None`` without any. ``base`` goes before the addresses."""
    if not keyframes:
        return None
    target_s = max(1, -(-max(each.lasts_90k for each in keyframes) // CLOCK_RATE))
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-I-FRAMES-ONLY",
        f"#EXT-X-TARGETDURATION:{target_s}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
    ]
    before: Segment | None = None
    for each in keyframes:
        segment = each.segment
        url = f"{base}{segment.camera_id}/"
        if before is None or segment.name != before.name:
            lines += ["#EXT-X-DISCONTINUITY"] if before is not None else []
            if before is None or before.init_id != segment.init_id:
                lines.append(f'#EXT-X-MAP:URI="{url}init-{segment.init_id}.mp4?tracks=video"')
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{to_rfc3339(each.start_90k)}")
            before = segment
        lines.append(f"#EXTINF:{each.lasts_90k / CLOCK_RATE:.5f},")
        lines.append(f"{url}{segment.name}.mp4?keyframe={each.offset}-{each.lasts_90k}")
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def keyframe_fragment(
    files: SegmentFiles, segment: Segment, fragments: Sequence[Fragment], offset: int, lasts_90k: int
) -> bytes:
    """``moof`` and ``mdat`` of the keyframe with which the fragment at ``offset`` begins, without sound; rule 1.

    Blocking. Raises :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.StorageError`.
    """
    found = next((each for each in fragments if each.offset == offset and each.is_keyframe), None)
    if found is None or not 1 <= lasts_90k <= LASTS_MAX_90K:
        raise NotFoundError(f"{segment.name} has no keyframe at {offset}: take the URL from the playlist, as it is")
    path = segment.path(files.data_dir)
    try:
        with contextlib.closing(files.open(path)) as file:
            run = next((run for run in _runs(file, found) if run.track_id == VIDEO_TRACK_ID and run.samples), None)
            if run is None:
                raise StorageError(f"the fragment at {offset} of {segment.name} has no video")
            _, size, _, shift_90k = run.samples[0]
            data = read_all(file, size, found.offset + run.data_offset)
    except OSError as error:
        raise read_error(path, error) from None
    at_90k = run.decode_time
    sample = Sample(data, at_90k, at_90k + shift_90k, lasts_90k)
    return fragment([FragmentTrack(VIDEO_TRACK_ID, [sample], [data])], 0)


def _runs(file: OpenFile, found: Fragment) -> list[Run]:
    data = read_all(file, min(_MOOF_READ_BYTES, found.size), found.offset)
    size = int.from_bytes(data[:4], "big")
    if size > len(data):
        data = read_all(file, min(size, found.size), found.offset)
    return parse_runs(data[:size])


class KeyframePlaylists:
    """The I-frame playlists of an archive. Lives on the event loop."""

    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock

    async def playlist(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        interval_90k: int,
        rendition: RenditionName | None,
        prefer: RenditionName,
        base: str,
    ) -> str:
        """The playlist of [start, end); without a start of the hour before its end, which is now where none is given.

        With ``rendition`` of that stream alone, else by rule 4. Raises :class:`~gateway.errors.BadRequestError` for a
        span that is too long, and :class:`~gateway.errors.NotFoundError` if nothing of it is recorded.
        """
        now_90k = self._clock.wall_90k()
        end_90k = now_90k if end_90k is None else end_90k
        start_90k = max(0, end_90k - 3600 * CLOCK_RATE) if start_90k is None else start_90k
        if end_90k - start_90k > PLAYLIST_MAX_S * CLOCK_RATE:
            raise BadRequestError(
                f"a playlist has {PLAYLIST_MAX_S // 3600} hours at most: take a later start, or an end nearer to it"
            )
        names = [prefer, *(name for name in RenditionName if name is not prefer)] if rendition is None else [rendition]
        own, *others = [await self._keyframes(camera_id, name, start_90k, end_90k, interval_90k) for name in names]
        text = await asyncio.to_thread(lambda: playlist(filled(own, others[0]) if others else own, base))
        if text is None:
            raise NotFoundError(f"camera {camera_id} has no recording in that time").because(
                "nothing_recorded", cameras=camera_id
            )
        return text

    async def _keyframes(
        self, camera_id: str, name: RenditionName, start_90k: int, end_90k: int, interval_90k: int
    ) -> list[Keyframe]:
        found: dict[str, list[Keyframe]] = {}
        for from_90k in range(start_90k, end_90k, READ_90K):
            to_90k = min(end_90k, from_90k + READ_90K)
            for segment, fragments in await self._archive.index.span(camera_id, from_90k, to_90k, FILES_MAX, name):
                if segment.name not in found:
                    chosen = await asyncio.to_thread(keyframes_of, segment, fragments, interval_90k)
                    found[segment.name] = chosen
        for segment, fragments in self._archive.unindexed(camera_id, name):
            if segment.overlaps(start_90k, end_90k):
                found[segment.name] = keyframes_of(segment, fragments, interval_90k)
        keyframes = in_span([each for of_file in found.values() for each in of_file], start_90k, end_90k)
        return sorted(keyframes, key=lambda each: (each.start_90k, each.segment.name))
