"""Playlists of a camera's recordings, from the index and what is not in it yet; :mod:`hls.playback.dvr` has the text.

Rules:

1. ``rendition`` is one stream alone. ``prefer`` is one stream where it was recorded, and the other one elsewhere.
2. Without either, a camera of which only one stream is recorded has the media playlist of that one. Where both are, it
   has a multivariant playlist, which refers to the two of ``prefer``. Its start is fixed in them, so that the beginning
   of an open playlist stays where it is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import BadRequestError, NotFoundError, UnavailableError
from hls.archive.hls_segments import hls_segments
from hls.archive.service import Archive
from hls.playback import dvr
from hls.playback.rendition_merge import Piece, merge

DVR_MAX_S = 24 * 3600
"""The longest playlist: 20,000 lines of HLS segments, some 2 MB before gzip."""

AHEAD_MAX_S = 60
"""A recording that begins later than this from now has the date of a clock that was wrong."""

SPAN_MAX = 5000
"""Segments of one playlist or clip: a day of files of 17 s."""

NAME = "dvr.m3u8"


@dataclass(frozen=True, slots=True)
class PlaylistRequest:
    """What to play, see the module. Without ``end_90k`` the playlist goes on into live."""

    camera_id: str
    start_90k: int | None = None
    end_90k: int | None = None
    rendition: RenditionName | None = None
    prefer: RenditionName | None = None


@dataclass(frozen=True, slots=True)
class _Span:
    start_90k: int
    end_90k: int | None
    now_90k: int

    @property
    def is_open(self) -> bool:
        return self.end_90k is None or self.end_90k > self.now_90k

    @property
    def until_90k(self) -> int:
        return self.now_90k if self.end_90k is None else min(self.end_90k, self.now_90k)


class Playlists:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock

    async def playlist(self, request: PlaylistRequest, base: str) -> str:
        """The playlist; ``base`` as for :func:`hls.playback.dvr.playlist`.

        Raises :class:`~gateway.errors.BadRequestError` for a span that is too long, and
        :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.UnavailableError` if there is nothing
        (yet).
        """
        span = self._span(request)
        names = RenditionName if request.rendition is None else (request.rendition,)
        recorded = {name: await self._recorded(request.camera_id, name, span) for name in names}
        text = await asyncio.to_thread(self._text, request, recorded, span, base)
        if text is not None:
            return text
        what = " of its sub stream" if request.rendition is RenditionName.SUB else ""
        if request.end_90k is None and self._archive.is_recorded(request.camera_id, request.rendition):
            why = f"camera {request.camera_id} has recorded nothing{what} in that time yet"
            raise UnavailableError(why, retry_after_s=2)
        raise NotFoundError(f"camera {request.camera_id} has no recording{what} in that time")

    def _span(self, request: PlaylistRequest) -> _Span:
        now_90k = self._clock.wall_90k()
        start_90k = dvr.start_of(request.start_90k, request.end_90k, now_90k)
        until_90k = now_90k if request.end_90k is None else request.end_90k
        if until_90k - start_90k > DVR_MAX_S * CLOCK_RATE:
            raise BadRequestError(
                f"a playlist contains {DVR_MAX_S // 3600} hours at most: take a later start, or an end nearer to it"
            )
        return _Span(start_90k, request.end_90k, now_90k)

    async def _recorded(self, camera_id: str, rendition: RenditionName, span: _Span) -> list[Piece]:
        """What was recorded of a stream, in the order of recording: a clock that was set back made some dates twice."""
        is_ended = self._is_ended(camera_id, rendition, span)
        found = await self._archive.index.hls_span(camera_id, span.start_90k, span.end_90k, SPAN_MAX, rendition)
        pieces = {segment.name: Piece(segment, listed) for segment, listed in found}
        for segment, fragments in self._archive.unindexed(camera_id, rendition):
            is_complete = is_ended or segment.end_reason is not None
            if segment.overlaps(span.start_90k, span.end_90k):
                pieces[segment.name] = Piece(segment, hls_segments(fragments, is_complete=is_complete))
        listed = list(pieces.values())
        if span.end_90k is None:
            # What a clock recorded that was ahead comes after everything that is still to be recorded.
            latest_90k = span.now_90k + AHEAD_MAX_S * CLOCK_RATE
            listed = [piece for piece in listed if piece.segment.start_90k <= latest_90k]
        return sorted(listed, key=lambda piece: (piece.segment.sequence, piece.segment.start_90k, piece.segment.name))

    def _is_ended(self, camera_id: str, rendition: RenditionName | None, span: _Span) -> bool:
        return not self._archive.is_recorded(camera_id, rendition) if span.end_90k is None else not span.is_open

    def _text(
        self, request: PlaylistRequest, recorded: Mapping[RenditionName, list[Piece]], span: _Span, base: str
    ) -> str | None:
        is_ended = self._is_ended(request.camera_id, request.rendition, span)

        def media(pieces: list[Piece], first_discontinuity: int = 0) -> str | None:
            return dvr.playlist(
                pieces,
                span.start_90k,
                span.end_90k,
                is_ended=is_ended,
                base=base,
                first_discontinuity=first_discontinuity,
            )

        if request.rendition is not None:
            return media(recorded[request.rendition])
        merged = {
            name: merge(pieces, recorded[other], span.start_90k, span.until_90k, is_open=span.is_open)
            for name, other, pieces in (
                (RenditionName.MAIN, RenditionName.SUB, recorded[RenditionName.MAIN]),
                (RenditionName.SUB, RenditionName.MAIN, recorded[RenditionName.SUB]),
            )
        }
        if request.prefer is not None:
            is_sub = request.prefer is RenditionName.SUB
            return media(merged[request.prefer], dvr.SUB_DISCONTINUITIES if is_sub else 0)
        has = [name for name in RenditionName if recorded[name] or self._will_have(request.camera_id, name, span)]
        if len(has) == 1:
            return media(recorded[has[0]])
        end = f"&end={_seconds(span.end_90k)}" if span.end_90k is not None else ""
        variants = [
            dvr.variant(
                recorded[name],
                merged[name],
                span.start_90k,
                span.end_90k,
                f"{NAME}?start={_seconds(span.start_90k)}{end}&prefer={name.value}",
            )
            for name in has
        ]
        lines = [each for each in variants if each is not None]
        return "#EXTM3U\n" + "".join(lines) if lines else None

    def _will_have(self, camera_id: str, rendition: RenditionName, span: _Span) -> bool:
        return span.is_open and self._archive.is_recorded(camera_id, rendition)


def _seconds(ticks_90k: int) -> str:
    """A time of which :func:`gateway.times.parse_time` makes the same tick."""
    return f"{ticks_90k / CLOCK_RATE:.6f}"
