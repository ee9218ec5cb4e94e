"""Metrics of authentication."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.auth.authenticator import Authenticator
from web.observability.metrics.families import counter, single


def auth_metrics(authenticator: Authenticator) -> Iterable[Metric]:
    """The families ``liveedge_auth_…``."""
    yield counter("auth_failures", "Wrong tokens received", (), single(authenticator.rate_limiter.failures))
    yield counter(
        "auth_links_forgotten",
        "Valid signed links that are no longer listed, because there were too many",
        (),
        single(authenticator.issued.links.forgotten),
    )
    yield counter(
        "auth_revocations",
        "Streams, viewers and connections closed because their credential was revoked or expired",
        (),
        single(authenticator.sessions.revoked),
    )
