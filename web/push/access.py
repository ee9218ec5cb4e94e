"""Which notifications the holder of a subscription may still get.

Rules:

1. A token that the gateway knows by name counts as it is now: its subscriptions end with it, and cameras that it may
   not view any more are left out.
2. Other credentials (JWTs) live for minutes or hours, and nobody tells the gateway when a user leaves. A subscription
   that was made with one keeps the cameras that it had, for :data:`CONFIRM_S` after the browser last opened the page
   with a valid credential.
3. What concerns no single camera needs the permission to view all.
"""

from gateway.access import Scope
from gateway.clock import CLOCK_RATE
from web.auth.authenticator import Authenticator
from web.auth.grant import UNRESTRICTED, Grant
from web.push.store import Holder, Subscription

CONFIRM_S = 30 * 86_400


def holder_of(grant: Grant, authenticator: Authenticator) -> Holder:
    """What is kept of a grant."""
    return Holder(
        owner=grant.owner,
        name=grant.name,
        is_named=authenticator.tokens.named(grant.name) is not None,
        cameras=None if grant.cameras is None else sorted(grant.cameras),
    )


def current_grant(subscription: Subscription, authenticator: Authenticator, now_90k: int) -> Grant | None:
    """What the holder may see now; ``None`` if the subscription has ended."""
    if not authenticator.is_enabled:
        return UNRESTRICTED
    holder = subscription.holder
    if holder.is_named:
        return authenticator.tokens.named(holder.name)
    is_unrestricted = holder.name == UNRESTRICTED.name  # made while authentication was off
    if is_unrestricted or now_90k - subscription.confirmed_90k > CONFIRM_S * CLOCK_RATE:
        return None
    return Grant(holder.name, frozenset({Scope.VIEW}), None if holder.cameras is None else frozenset(holder.cameras))


def may_get(grant: Grant, camera_id: str | None) -> bool:
    """Rule 3."""
    return grant.may_everywhere(Scope.VIEW) if camera_id is None else grant.may(Scope.VIEW, camera_id)
