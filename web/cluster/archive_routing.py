"""ArchiveRouting: which node has the recording that a request is about.

Rules:

1. The parameter ``node`` names the node. All addresses in playlists and lists have it, so that they mean the same at
   every node, also where two nodes recorded a camera at once and gave their files the same names.
2. Without it, a file is looked for here, then in the index of all recordings. A picture is of the node whose file
   counts for its time. A clip that one node alone has is made there, and one of several nodes here
   (:mod:`web.cluster.joined_clips`).
3. A playlist of a span that several nodes have recorded is merged of theirs (:mod:`web.cluster.playlist_merge`): of one
   stream, the one that is asked for, or else the main stream. A multivariant one refers to merged ones. A playlist
   without a start is that of the owner.
4. While the database is away, this node answers from what it has.
5. For a node that is away, this one answers with what can be read of its recordings
   (:mod:`web.cluster.away_recordings`). Where that is what it had uploaded, a playlist that was listed before stays as
   it was. Where it is all, that node has what is read there, whatever the index of all recordings knows of it yet.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from multidict import MultiDict

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, Clock
from gateway.cluster.model import Node
from gateway.errors import LiveedgeError, NodeAwayError, NotFoundError, UnavailableError
from gateway.times import NOW, parse_span, parse_time
from hls.archive.segment import Segment, parse_name
from hls.live.playlist import CONTENT_TYPE
from hls.playback.segment_finder import SegmentFinder
from web.cluster.away_recordings import ROWS_MAX, AwayNode, AwayRecordings, reading
from web.cluster.counting import counting, most
from web.cluster.forwarding import Forwarding
from web.cluster.playlist_merge import merge_playlists, merge_variants, without_end
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster

if TYPE_CHECKING:
    from hls.cluster.recordings import FoundFile

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NODE = "node"
"""The parameter of rule 1."""

OF_FILE = frozenset(
    {
        *("/archive/{camera}/{segment}.mp4", "/archive/{camera}/{segment}.jpg"),
        "/api/cameras/{camera}/segments/{segment}/protect",
        "/api/cameras/{camera}/segments/{segment}/evidence",
    }
)

OF_SPAN = frozenset({"/api/cameras/{camera}/clip.mp4"})

OF_MOMENT = frozenset({"/snapshot/{camera}.jpg", "/mjpeg/{camera}"})

PLAYLISTS = frozenset({"/hls/{camera}/dvr.m3u8", "/hls/{camera}/iframes.m3u8"})

NAMED_ONLY = frozenset({"/archive/{camera}/init-{init}.mp4", "/api/cameras/{camera}/evidence"})
"""They go to another node by rule 1 alone."""

WHILE_AWAY = (
    {"/archive/{camera}/{segment}.mp4", "/archive/{camera}/{segment}.jpg", "/archive/{camera}/init-{init}.mp4"}
    | OF_SPAN
    | OF_MOMENT
    | PLAYLISTS
)
"""What is answered for a node that is away; the rest changes what it has, or needs its key."""

ROUTES = OF_FILE | OF_SPAN | OF_MOMENT | PLAYLISTS | NAMED_ONLY

KEPT_MAX = 64
"""Playlists of nodes that are kept, in case they go away; the one that was used longest ago is dropped."""


class ArchiveRouting:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        forwarding: Forwarding,
        index: SharedIndex,
        own: SegmentFinder,
        clock: Clock,
        stored: AwayRecordings | None = None,
    ) -> None:
        self._stored = stored
        self._cluster = cluster
        self._forwarding = forwarding
        self._index = index
        self._own = own
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def answer(self, request: web.Request, route: str, handler: Handler) -> Awaitable[web.StreamResponse] | None:
        """The answer to a request for a recording; ``None``: it is this node's alone."""
        if route not in ROUTES or (route in OF_MOMENT and request.query.get("at", NOW) == NOW):
            return None
        name = request.query.get(NODE)
        if name is not None:
            return None if name == self._own_name else self._at(request, route, name, handler)
        if route in NAMED_ONLY or "past" in request.query:
            return None
        return self._answer(request, route, handler)

    @property
    def _own_name(self) -> str:
        return self._cluster.coordinator.node.name

    def _named(self, name: str) -> Node:
        node = self._forwarding.named(name)
        if node is None:
            raise NodeAwayError(
                name[:64], f"the node {name[:64]!r} of the cluster is away: it is needed for this recording"
            )
        return node

    async def _answer(self, request: web.Request, route: str, handler: Handler) -> web.StreamResponse:
        try:
            names = await self._nodes_of(request, route)
        except LiveedgeError:  # of the database (rule 4), or the handler says what is wrong with the request
            names = [self._own_name]
        if len(names) > 1 and route in PLAYLISTS:
            return await self._merged(request, names, handler)
        if len(names) != 1 or names[0] == self._own_name:
            return await handler(request)
        return await self._at(request, route, names[0], handler)

    async def _at(self, request: web.Request, route: str, name: str, handler: Handler) -> web.StreamResponse:
        """The answer of another node, or from what can be read of its recordings."""
        node = await self._stored_node(request, route, name)
        if node is None:
            try:
                return await self._forwarding.forward(request, self._named(name))
            except NodeAwayError:
                # It was lost a moment ago.
                node = await self._stored_node(request, route, name)
                if node is None:
                    raise
        with reading(node):
            return await handler(request)

    async def _stored_node(self, request: web.Request, route: str, name: str) -> AwayNode | None:
        """Rule 5; ``None``: the node is alive, or nothing of it can be read."""
        if self._stored is None or route not in WHILE_AWAY or not self._stored.is_away(name):
            return None
        camera_id = request.match_info["camera"]
        if route in OF_FILE:
            return await self._stored.of_file(name, camera_id, request.match_info["segment"])
        if route in NAMED_ONLY:
            return await self._stored.of_init(name, camera_id, request.match_info["init"])
        if route in OF_MOMENT:
            start_90k: int | None = parse_time(request.query["at"], "at")
            end_90k: int | None = (start_90k or 0) + CLOCK_RATE
        else:
            start_90k, end_90k = parse_span(request.query, self._clock.wall_90k())
        node = await self._stored.of_span(name, camera_id, start_90k, end_90k)
        if node is None or self._stored.is_complete:
            return node
        return node if await node.archive.index.page(camera_id, start_90k, end_90k, 1) else None

    # --- who has it

    async def _nodes_of(self, request: web.Request, route: str) -> list[str]:
        """The names of the nodes that have it; more than one for a playlist or a clip alone."""
        camera_id, query = request.match_info["camera"], request.query
        if route in OF_FILE:
            return await self._node_of_file(camera_id, request.match_info["segment"])
        now_90k = self._clock.wall_90k()
        rendition = query.get("rendition")  # what is preferred may not be recorded
        stream = RenditionName(rendition) if rendition in ("main", "sub") else None
        if route in OF_MOMENT:
            at_90k = parse_time(query["at"], "at")
            rows = await self._rows(camera_id, at_90k, at_90k + CLOCK_RATE, stream)
            read = await self._read(camera_id, at_90k, at_90k + CLOCK_RATE, stream)
            name = most(rows, read, self._own_name, at_90k, at_90k + 1)
            return [] if name == self._own_name else [name]
        start_90k, end_90k = parse_span(query, now_90k)
        if start_90k is None:
            owner = self._owner_name(camera_id)
            return [owner] if owner is not None else []
        until_90k = end_90k if end_90k is not None else now_90k
        rows = await self._rows(camera_id, start_90k, until_90k, stream)
        names = {row.file.node_name for row in rows} | {*await self._read(camera_id, start_90k, until_90k, stream)}
        if route in OF_SPAN:
            return sorted(names | ({owner} if (owner := self._owner_name(camera_id)) is not None else set()))
        if end_90k is None or end_90k > now_90k or not names:  # the index is a little late
            names |= {owner} if (owner := self._owner_name(camera_id)) is not None else set()
        return sorted(names)

    async def _node_of_file(self, camera_id: str, name: str) -> list[str]:
        try:
            await self._own.find(camera_id, name)
        except NotFoundError:
            start_90k = parse_name(name)
            if start_90k is None:
                return []
            rows = await self._rows(camera_id, start_90k, start_90k + CLOCK_RATE, None)
            names = [row.file.node_name for row in rows if row.file.name == name]
            return (names or [*await self._read(camera_id, start_90k, start_90k + CLOCK_RATE, None, name)])[:1]
        return []

    async def _read(
        self, camera_id: str, start_90k: int, end_90k: int, stream: RenditionName | None, name: str | None = None
    ) -> Mapping[str, Sequence[Segment]]:
        """Rule 5: what each node has recorded that is away and of which all is read. ``name``: that segment alone."""
        found: dict[str, Sequence[Segment]] = {}
        if self._stored is None or not self._stored.is_complete:
            return found
        for node_name in self._stored.away():
            with contextlib.suppress(LiveedgeError):
                node = await self._stored.of_span(node_name, camera_id, start_90k, end_90k)
                if node is not None:
                    page = await node.reader.segments.page(camera_id, start_90k, end_90k, ROWS_MAX, None, stream)
                    if kept := [each for each in page if name in (None, each.name)]:
                        found[node_name] = kept
        return found

    async def _rows(
        self, camera_id: str, start_90k: int, end_90k: int, stream: RenditionName | None
    ) -> "list[FoundFile]":
        return list(await self._index.find(camera_id, start_90k, end_90k, ROWS_MAX, stream))

    def _owner_name(self, camera_id: str) -> str | None:
        if self._cluster.captures(camera_id):
            return self._own_name
        owner = self._forwarding.node(self._cluster.coordinator.view.owner(camera_id).node_id)
        return owner.name if owner is not None else None

    # --- rule 3

    async def _merged(self, request: web.Request, names: list[str], handler: Handler) -> web.StreamResponse:
        if request.path.endswith("/dvr.m3u8") and not {"rendition", "prefer"} & request.query.keys():
            texts_of_all = await asyncio.gather(*(self._text(request, each, handler) for each in names))
            if (variants := merge_variants(text for text in texts_of_all if text)) is not None:
                return _playlist(variants)
        for stream in self._streams(request):
            query = MultiDict(request.query)
            query.pop("prefer", None)
            query["rendition"] = stream
            asked = request.clone(rel_url=request.rel_url.with_query(query))
            texts = dict(
                zip(names, await asyncio.gather(*(self._text(asked, each, handler) for each in names)), strict=True)
            )
            found = {name: text for name, text in texts.items() if text}
            goes_on = "" in texts.values() and self._is_open(request)
            if len(found) == 1 and stream == (request.query.get("rendition") or stream):
                (text,) = found.values()
                return _playlist(without_end(text) if goes_on else text)
            counts = await self._counts(asked)
            if found and (merged := await asyncio.to_thread(merge_playlists, found, counts)) is not None:
                return _playlist(without_end(merged) if goes_on else merged)
        return await handler(request)

    def _is_open(self, request: web.Request) -> bool:
        now_90k = self._clock.wall_90k()
        end_90k = parse_span(request.query, now_90k)[1]
        return end_90k is None or end_90k > now_90k

    def _streams(self, request: web.Request) -> list[str]:
        if (only := request.query.get("rendition")) in ("main", "sub"):
            return [only]
        return ["sub", "main"] if request.query.get("prefer") == "sub" else ["main", "sub"]

    async def _text(self, request: web.Request, name: str, handler: Handler) -> str | None:
        """The playlist of one node, empty if it may have one later; ``None``: it has none."""
        if name == self._own_name:
            try:
                answer = await handler(request)
            except UnavailableError:
                return ""
            except LiveedgeError:
                return None
            return answer.text if isinstance(answer, web.Response) else None
        key = name, request.path_qs
        try:
            if (stored := await self._stored_text(request, name, handler)) is not None:
                return stored if self._is_read_whole else self._kept.get(key) or stored
            text = await self._forwarding.text(request, self._named(name))
        except NodeAwayError:
            if self._is_read_whole and (stored := await self._stored_text(request, name, handler)) is not None:
                return stored
            return self._kept.get(key, "")
        if text:
            self._kept.pop(key, None)
            self._kept[key] = text
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return text

    @property
    def _is_read_whole(self) -> bool:
        return self._stored is not None and self._stored.is_complete

    async def _stored_text(self, request: web.Request, name: str, handler: Handler) -> str | None:
        """Rule 5."""
        try:
            resource = request.match_info.route.resource
            node = await self._stored_node(request, resource.canonical if resource is not None else "", name)
            if node is None:
                return None
            with reading(node):
                answer = await handler(request)
        except LiveedgeError:
            return None
        return answer.text if isinstance(answer, web.Response) else None

    async def _counts(self, request: web.Request) -> Callable[[str, str, int], bool]:
        start_90k, end_90k = parse_span(request.query, self._clock.wall_90k())
        try:
            rows = await self._index.find(request.match_info["camera"], start_90k, end_90k, ROWS_MAX, None)
        except LiveedgeError:
            rows = ()
        return counting(rows)


def _playlist(text: str) -> web.Response:
    response = web.Response(text=text, content_type=CONTENT_TYPE, headers={hdrs.CACHE_CONTROL: "no-cache"})
    response.enable_compression()
    return response
