"""Target: what a URL shows, in a form in which two URLs can be compared.

A signed URL is compared with a request by their targets, and not by their text. So another notation of the same moment
is the same, and a request cannot show more by a notation that the signature did not foresee.

Rules:

1. Each query parameter occurs once. A second one is refused: which of the two counts would be a matter of taste.
2. ``now`` in a span is the moment of the request. A URL that is signed gets that moment instead (:func:`pinned`).
3. The playlist of a recording without a start begins an hour before its end, as :mod:`hls.playback.dvr` has it.
4. The path of an event names no camera. Its token has the event's camera, since its grant is for that camera alone. An
   event never changes its camera. The same holds for an export and its cameras, with commas between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode

from multidict import MultiMapping

from gateway.access import Scope
from gateway.clock import to_rfc3339
from gateway.errors import BadRequestError
from gateway.times import NOW, parse_span, parse_time
from hls.playback.dvr import start_of
from web.auth.grant import Span
from web.auth.policy import NO_CAMERA_IN_PATH, REFERS, Family, Rule

PARAMETER = "token"

SPAN_PARAMETERS = ("start", "end")

_LIVE = frozenset({Family.MULTIVARIANT, Family.LIVE, Family.LIVE_MEDIA, Family.MJPEG})
"""MJPEG of a moment goes on into live."""


@dataclass(frozen=True, slots=True)
class Target:
    """See the module. ``name`` is the file in its family. ``rest`` is the query, without the token and the span."""

    family: Family
    scope: Scope
    camera_id: str
    name: str = ""
    span: Span | None = None
    rest: str = ""
    has_default_span: bool = False
    """It goes on from an hour before the request: with a token, from where that begins."""

    @property
    def cameras(self) -> frozenset[str]:
        """All cameras that it shows."""
        return frozenset(self.camera_id.split(","))

    @property
    def is_live(self) -> bool:
        """Whether it shows what the camera sees later than now."""
        if self.family is Family.SNAPSHOT:
            return self.scope is Scope.VIEW
        if self.family is Family.DVR:
            return self.span is not None and self.span.end_90k is None
        return self.family in _LIVE

    def opens(self, other: "Target") -> bool:
        """Whether a token for this target is valid for a request for ``other``.

        What is in the span of a playlist is known only to the archive: see :attr:`web.auth.grant.Grant.span`.
        """
        if self.family in NO_CAMERA_IN_PATH:
            return other == replace(self, camera_id="")
        if other.camera_id != self.camera_id:
            return False
        if other.family is not self.family:
            return other.family in REFERS.get(self.family, ())
        if self.span is not None and other.span is not None and self.family is Family.DVR:
            if other.has_default_span and self.span.end_90k is None:
                return True
            return self.span.contains(other.span)
        return self.family in REFERS or other == self


def target_of(rule: Rule, match: Mapping[str, str], query: MultiMapping[str], now_90k: int) -> Target:
    """The target of a request for a route that accepts signed URLs.

    That of an event's route has no camera (rule 4). Raises :class:`~gateway.errors.BadRequestError` for a query that
    the route cannot have been signed with.
    """
    assert rule.family is not None
    if twice := next((name for name in query if len(query.getall(name)) > 1), None):
        raise BadRequestError(f"{twice[:40]!r} occurs twice in the query of this signed URL")
    left = {name: value for name, value in query.items() if name != PARAMETER}
    span = _span(rule.family, left, now_90k)
    if span is not None:
        left = {name: value for name, value in left.items() if name not in SPAN_PARAMETERS}
    moment = left.get(rule.archive_parameter or "", NOW)
    if rule.archive_parameter is not None and moment != NOW:
        left[rule.archive_parameter] = str(parse_time(moment, rule.archive_parameter))
    return Target(
        rule.family,
        rule.scope_of(query) or Scope.ADMIN,
        match.get("camera", ""),
        next((match[name] for name in ("name", "init", "segment", "event", "export") if name in match), ""),
        span,
        urlencode(sorted(left.items())),
        span is not None and not any(name in query for name in SPAN_PARAMETERS),
    )


def _span(family: Family, query: Mapping[str, str], now_90k: int) -> Span | None:
    if family not in (Family.DVR, Family.CLIP):
        return None
    start_90k, end_90k = parse_span(query, now_90k)
    if family is Family.DVR:
        return Span(start_of(start_90k, end_90k, now_90k), end_90k)
    if start_90k is None or end_90k is None:
        raise BadRequestError("a clip needs start and end: give both")
    return Span(start_90k, end_90k)


def pinned(rule: Rule, url: str, now_90k: int) -> str:
    """A URL to sign: without a token, its query sorted, and ``now`` in its span replaced; see rule 2."""
    path, _, query = url.partition("?")
    has_span = rule.family in (Family.DVR, Family.CLIP)
    pairs = [
        (name, to_rfc3339(now_90k) if has_span and name in SPAN_PARAMETERS and value == NOW else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name != PARAMETER
    ]
    return f"{path}?{urlencode(sorted(pairs))}" if pairs else path
