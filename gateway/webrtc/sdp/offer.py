"""Reads SDP offers (RFC 8866, 8829). aiortc parses; this module checks limits and turns every failure into one
error."""

from aiortc.sdp import SessionDescription

from gateway.errors import BadRequestError

OFFER_MAX_BYTES = 64 * 1024
"""Chromium's offers are 3 to 7 KB."""

MEDIA_MAX = 16
"""Media sections; a viewer needs two."""


def parse_offer(text: str) -> SessionDescription:
    """Read an offer. Raises :class:`~gateway.errors.BadRequestError` for anything else."""
    if len(text) > OFFER_MAX_BYTES:
        raise BadRequestError(f"the offer is longer than {OFFER_MAX_BYTES} characters")
    if not text.lstrip().startswith("v=0"):
        raise BadRequestError("the body is not SDP: it does not begin with v=0")
    try:
        offer = SessionDescription.parse(text)
    except Exception:  # aiortc's parser raises many types for invalid SDP
        raise BadRequestError("the offer is not valid SDP") from None
    if not offer.media:
        raise BadRequestError("the offer has no media section")
    if len(offer.media) > MEDIA_MAX:
        raise BadRequestError(f"the offer has more than {MEDIA_MAX} media sections")
    return offer
