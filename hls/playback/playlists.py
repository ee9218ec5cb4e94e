"""Playlists of a camera's recordings, from the index and what is not in it yet; :mod:`hls.playback.dvr` has the text.

Rules:

1. ``rendition`` is one stream alone. ``prefer`` is one stream where it was recorded, and the other one elsewhere.
2. Without either it is a multivariant playlist, which refers to those of ``prefer`` of the streams that were recorded,
   and to the playlists of their keyframes (:mod:`hls.playback.keyframes`), which have an end. So what goes on, or has
   an end in the future, has none of these, and of a camera with one stream it is the media playlist.
3. With an end, a playlist is of what was recorded in [start, end), by its date. Without one, it has the order of
   recording, whatever the clock said (:mod:`hls.playback.recording_order`).
4. What is merged of both streams and goes on begins with a multivariant playlist, also for ``prefer``. It fixes what
   was recorded until then, ``past`` (:class:`~hls.playback.rendition_merge.Moment`). From then on each variant has its
   own stream; one that is not being recorded then, beside one that is, has no variant.
5. What has sound somewhere has it everywhere (:mod:`hls.playback.recorded_sound`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import BadRequestError, NotFoundError, UnavailableError
from hls.archive.hls_segments import HlsSegment, hls_segments
from hls.archive.segment import Segment
from hls.archive.service import Archive
from hls.mp4.silence import Silence
from hls.playback import dvr
from hls.playback.recorded_sound import RecordedSound
from hls.playback.recording_order import Piece, RecordingOrder, in_recording_order
from hls.playback.rendition_merge import Moment, Range, format_past, merge, merge_from

DVR_MAX_S = 24 * 3600
"""The longest playlist: 20,000 lines of HLS segments, some 2 MB before gzip."""

SPAN_MAX = 5000
"""Segments of one playlist or clip: a day of files of 17 s."""

BATCH = 16
"""Segments that are read of the index at a time: more than two hours of files of ten minutes."""

READS_MAX = 5
"""Attempts to read the index while no segment is written to it."""

NAME = "dvr.m3u8"

IFRAMES_NAME = "iframes.m3u8"


@dataclass(frozen=True, slots=True)
class PlaylistRequest:
    """What to play, see the module. Without ``end_90k`` the playlist goes on into live."""

    camera_id: str
    start_90k: int | None = None
    end_90k: int | None = None
    rendition: RenditionName | None = None
    prefer: RenditionName | None = None
    past: Moment | None = None
    opens_from_90k: int | None = None
    """Nothing that was recorded before this date may be listed."""


@dataclass(frozen=True, slots=True)
class _Span:
    """``start_90k`` is that of the request, or an hour before the end."""

    start_90k: int
    end_90k: int | None
    now_90k: int

    @property
    def is_open(self) -> bool:
        return self.end_90k is None or self.end_90k > self.now_90k


class Playlists:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock
        self._sound = RecordedSound(archive)

    async def playlist(self, request: PlaylistRequest, base: str) -> str:
        """The playlist; ``base`` as for :func:`hls.playback.dvr.playlist`.

        Raises :class:`~gateway.errors.BadRequestError` for a span that is too long, and
        :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.UnavailableError` if there is nothing
        (yet).
        """
        span = self._span(request)
        if request.prefer is not None and request.past is not None:
            text = await self._from_moment(request, request.prefer, request.past, span, base)
        else:
            names = RenditionName if request.rendition is None else (request.rendition,)
            recorded = {name: await self._recorded(request, name, span) for name in names}
            if len(recorded) > 1 and span.is_open:
                text = await self._variants_from_now(request, recorded, span, base)
            else:
                silence = await self._silence(request, recorded, span)
                text = await asyncio.to_thread(self._text, request, recorded, span, base, silence)
        if text is not None:
            return text
        what = " of its sub stream" if request.rendition is RenditionName.SUB else ""
        if request.end_90k is None and self._archive.is_recorded(request.camera_id, request.rendition):
            why = f"camera {request.camera_id} has recorded nothing{what} in that time yet"
            raise UnavailableError(why, retry_after_s=2)
        raise NotFoundError(f"camera {request.camera_id} has no recording{what} in that time").because(
            "nothing_recorded", cameras=request.camera_id
        )

    async def recorded_from(self, camera_id: str, rendition: RenditionName, start_90k: int) -> list[Piece]:
        """What the open playlist of a stream from a date on has."""
        order = RecordingOrder(DVR_MAX_S * CLOCK_RATE, start_90k)
        await self._collect(camera_id, rendition, order, is_ended=False)
        return order.pieces()

    # --- what was recorded

    def _span(self, request: PlaylistRequest) -> _Span:
        now_90k = self._clock.wall_90k()
        start_90k = dvr.start_of(request.start_90k, request.end_90k, now_90k)
        if request.end_90k is not None and request.end_90k - start_90k > DVR_MAX_S * CLOCK_RATE:
            raise BadRequestError(
                f"a playlist contains {DVR_MAX_S // 3600} hours at most: take a later start, or an end nearer to it"
            )
        return _Span(start_90k, request.end_90k, now_90k)

    async def _recorded(self, request: PlaylistRequest, name: RenditionName, span: _Span) -> list[Piece]:
        """What a playlist has of a stream, in the order of recording."""
        is_ended = self._is_ended(request.camera_id, name, span)
        if span.end_90k is None:
            order = RecordingOrder(DVR_MAX_S * CLOCK_RATE, request.start_90k, dvr.DEFAULT_S * CLOCK_RATE)
            await self._collect(request.camera_id, name, order, is_ended=is_ended)
            pieces = order.pieces()
            if request.start_90k is None and pieces and _is_over(pieces[-1].segment, span.start_90k):
                return []
            return pieces

        async def read() -> list[tuple[Segment, list[HlsSegment]]]:
            index = self._archive.index
            return await index.hls_span(request.camera_id, span.start_90k, span.end_90k, SPAN_MAX, name)

        found = await self._read(request.camera_id, name, read, is_ended=is_ended)
        return dvr.in_span(in_recording_order(found), span.start_90k, span.end_90k)

    async def _collect(
        self,
        camera_id: str,
        rendition: RenditionName,
        order: RecordingOrder,
        *,
        is_ended: bool,
        before: int | None = None,
    ) -> None:
        """Add pieces, the newest first, until there are enough; of files that begin before a sequence number."""
        for _ in range(SPAN_MAX // BATCH):

            async def read(before: int | None = before) -> list[tuple[Segment, list[HlsSegment]]]:
                return await self._archive.index.hls_before(camera_id, before, BATCH, rendition)

            found = in_recording_order(await self._read(camera_id, rendition, read, is_ended=is_ended))
            older = [piece for piece in reversed(found) if before is None or piece.segment.sequence < before]
            for piece in older:
                order.add(piece)
            if order.is_complete or len(older) < BATCH:
                return
            before = older[-1].segment.sequence

    async def _read(
        self,
        camera_id: str,
        rendition: RenditionName,
        read: Callable[[], Awaitable[list[tuple[Segment, list[HlsSegment]]]]],
        *,
        is_ended: bool,
    ) -> list[Piece]:
        """What a query of the index finds, and what is not in the index yet."""
        for _ in range(READS_MAX):
            names = {segment.name for segment, _ in self._archive.unindexed(camera_id, rendition)}
            pieces = {segment.name: Piece(segment, listed) for segment, listed in await read()}
            unindexed = self._archive.unindexed(camera_id, rendition)
            if names <= {segment.name for segment, _ in unindexed}:
                break  # none was written to the index after it was read
        for segment, fragments in unindexed:
            is_complete = is_ended or segment.end_reason is not None
            pieces[segment.name] = Piece(segment, hls_segments(fragments, is_complete=is_complete))
        return list(pieces.values())

    def _is_ended(self, camera_id: str, rendition: RenditionName | None, span: _Span) -> bool:
        return not self._archive.is_recorded(camera_id, rendition) if span.end_90k is None else not span.is_open

    # --- playlists

    async def _silence(
        self, request: PlaylistRequest, recorded: Mapping[RenditionName, list[Piece]], span: _Span
    ) -> Silence | None:
        """Rule 5."""
        if not any(recorded.values()):
            return None
        if span.is_open:
            return await self._sound.of_camera(request.camera_id, request.rendition, recorded)
        return await self._sound.in_range(recorded)

    def _text(
        self,
        request: PlaylistRequest,
        recorded: Mapping[RenditionName, list[Piece]],
        span: _Span,
        base: str,
        silence: Silence | None,
    ) -> str | None:
        """Of one stream, or of both in a range to which nothing comes any more."""
        has = [name for name, pieces in recorded.items() if pieces]
        if not has:
            return None
        if len(has) == 1 and (span.is_open or request.rendition is not None or request.prefer is not None):
            is_ended = self._is_ended(request.camera_id, has[0], span)
            return dvr.playlist(recorded[has[0]], span.start_90k, is_ended=is_ended, base=base, silence=silence)
        end_90k = span.now_90k if span.end_90k is None else span.end_90k
        merged = {name: merge(recorded[name], recorded[_other(name)], span.start_90k, end_90k) for name in has}
        if request.prefer is not None:
            first = _first_discontinuity(request.prefer)
            pieces = merged[request.prefer]
            return dvr.playlist(
                pieces, span.start_90k, is_ended=True, base=base, first_discontinuity=first, silence=silence
            )
        return _multivariant(
            dvr.variant(recorded[name], merged[name], _uri(span, name), silence, _uri(span, name, IFRAMES_NAME))
            for name in has
        )

    async def _variants_from_now(
        self, request: PlaylistRequest, recorded: Mapping[RenditionName, list[Piece]], span: _Span, base: str
    ) -> str | None:
        """Of both streams, which go on; rule 4."""
        camera_id = request.camera_id
        silence = await self._silence(request, recorded, span)
        has = [name for name in RenditionName if recorded[name] or self._archive.is_recorded(camera_id, name)]
        if len(has) < 2 or not any(recorded.values()):
            return await asyncio.to_thread(self._text, request, recorded, span, base, silence)
        growing = [name for name in has if recorded[name] and recorded[name][-1].segment.end_reason is None]
        chosen = growing or has
        if request.prefer is not None:
            chosen = [request.prefer]
        ends = {name: await self._end(camera_id, name, recorded[name], span) for name in has}
        lines = []
        for name in chosen:
            other = _other(name)
            (next_, discontinuities), (other_next, _) = ends[name], ends[other]
            own_range, other_range = _range(recorded[name], next_), _range(recorded[other], other_next)
            moment = Moment(own_range, discontinuities, other_range)
            pieces, _ = merge_from(recorded[name], recorded[other], moment, span.start_90k)
            # Of the other stream, what fills gaps: the deletion of the rest has no effect.
            fills = [piece for piece in pieces if piece.segment.rendition is other]
            used = Range(min(p.first for p in fills), max(p.next for p in fills)) if fills else Range(0, 0)
            moment = replace(moment, other=used)
            uri = f"{_uri(span, name)}&past={format_past(moment)}"
            lines.append(dvr.variant(recorded[name], pieces, uri, silence))
        return _multivariant(lines)

    async def _end(self, camera_id: str, name: RenditionName, recorded: list[Piece], span: _Span) -> tuple[int, int]:
        """The sequence number of a stream's next HLS segment, and the number of the file that will have it."""
        last = recorded[-1:]
        if not last or span.end_90k is not None:
            order = RecordingOrder(1)
            await self._collect(camera_id, name, order, is_ended=self._is_ended(camera_id, name, span))
            last = order.pieces()[-1:]
        if not last:
            return 0, 0
        return last[0].next, last[0].segment.discontinuities + (last[0].segment.end_reason is not None)

    async def _from_moment(
        self, request: PlaylistRequest, prefer: RenditionName, past: Moment, span: _Span, base: str
    ) -> str | None:
        """The media playlist of one variant of :meth:`_variants_from_now`."""
        camera_id, other = request.camera_id, _other(prefer)
        is_ended = self._is_ended(camera_id, prefer, span)
        own_order = RecordingOrder(DVR_MAX_S * CLOCK_RATE, first=past.own.first)
        await self._collect(camera_id, prefer, own_order, is_ended=is_ended)
        own, fills = await self._allowed(request, prefer, span, own_order.pieces()), list[Piece]()
        if past.other.first < past.other.next:
            order = RecordingOrder(DVR_MAX_S * CLOCK_RATE, first=past.other.first)
            await self._collect(camera_id, other, order, is_ended=False, before=past.other.next)
            fills = await self._allowed(request, other, span, order.pieces())
        silence = await self._sound.of_camera(camera_id, None, {prefer: own, other: fills})

        def text() -> str | None:
            pieces, numbers = merge_from(own, fills, past, span.start_90k)
            first = _first_discontinuity(prefer)
            return dvr.playlist(
                pieces,
                span.start_90k,
                is_ended=is_ended,
                base=base,
                numbers=numbers,
                first_discontinuity=first,
                silence=silence,
            )

        return await asyncio.to_thread(text)

    async def _allowed(
        self, request: PlaylistRequest, name: RenditionName, span: _Span, pieces: list[Piece]
    ) -> list[Piece]:
        """What of the pieces may be in the playlist: anybody can change the numbers in its URL."""
        if span.end_90k is not None:
            return dvr.in_span(pieces, span.start_90k, span.end_90k)
        if request.opens_from_90k is None:
            return pieces
        recorded = await self.recorded_from(request.camera_id, name, request.opens_from_90k)
        names = {piece.segment.name for piece in recorded}
        allowed = []
        for piece in pieces:
            is_later = piece.segment.name in names
            allowed += [piece] if is_later else dvr.in_span([piece], request.opens_from_90k, None)
        return allowed


def _other(name: RenditionName) -> RenditionName:
    return RenditionName.SUB if name is RenditionName.MAIN else RenditionName.MAIN


def _range(pieces: list[Piece], next_: int) -> Range:
    return Range(pieces[0].first if pieces else next_, next_)


def _is_over(segment: Segment, before_90k: int) -> bool:
    return segment.end_reason is not None and segment.end_90k < before_90k


def _first_discontinuity(name: RenditionName) -> int:
    return dvr.SUB_DISCONTINUITIES if name is RenditionName.SUB else 0


def _multivariant(variants: Iterable[str | None]) -> str | None:
    lines = [each for each in variants if each is not None]
    return "#EXTM3U\n" + "".join(lines) if lines else None


def _uri(span: _Span, prefer: RenditionName, playlist: str = NAME) -> str:
    end = f"&end={_seconds(span.end_90k)}" if span.end_90k is not None else ""
    return f"{playlist}?start={_seconds(span.start_90k)}{end}&prefer={prefer.value}"


def _seconds(ticks_90k: int) -> str:
    """A time of which :func:`gateway.times.parse_time` makes the same tick."""
    return f"{ticks_90k / CLOCK_RATE:.6f}"
