"""The settings of notifications on browsers."""

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator

from gateway.config.field import Applies, CommaList, SettingsGroup, check_url, setting


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL (RFC 6454 §4), without a default port. Raises ``ValueError``."""
    parts = urlsplit(check_url(url))
    scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    if scheme not in ("http", "https") or not host or any(character.isspace() for character in url):
        raise ValueError("must be a URL that begins with https:// or http://")
    place = f"[{host}]" if ":" in host else host
    return f"{scheme}://{place}" if port in (None, {"http": 80, "https": 443}[scheme]) else f"{scheme}://{place}:{port}"


def _check_contact(contact: str | None) -> str | None:
    if contact is not None and not contact.startswith(("mailto:", "https://")):
        raise ValueError("must begin with mailto: or https://")
    return contact


def _check_services(services: list[str]) -> list[str]:
    return [origin_of(each) for each in services]


class PushSettings(SettingsGroup):
    """Notifications on phones and other browsers that have subscribed on the page."""

    title: ClassVar[str] = "Notifications"

    push_contact: Annotated[str | None, AfterValidator(_check_contact)] = setting(
        None,
        unset="the address by which the browser reached the page, if it begins with `https://`",
        example="mailto:operator@example.com",
        help="how the operator of a push service reaches you (RFC 8292), see [notifications](notifications.md);"
        " `mailto:` or `https://`",
        applies=Applies.LIVE,
    )
    push_services: Annotated[CommaList, AfterValidator(_check_services)] = setting(
        [],
        example=["https://push.intranet.example"],
        help="origins of push services of your own. They alone may have private addresses, or no TLS",
        applies=Applies.LIVE,
    )
