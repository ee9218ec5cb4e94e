"""gateway.onvif.password_tries: cameras are not locked."""

import pytest

from gateway.onvif.errors import OnvifLockedError, OnvifUnauthorizedError
from gateway.onvif.password_tries import TRIES_MAX, WINDOW_S, PasswordTries
from gateway.rtsp.auth import Credentials


def credentials(number: int) -> Credentials:
    return Credentials("admin", f"wrong {number}")


def test_after_two_wrong_passwords_none_is_sent_until_the_camera_has_forgotten_one() -> None:
    tries = PasswordTries()
    for number in range(TRIES_MAX):
        tries.check("cam", credentials(number), now=number)
        tries.failed("cam", credentials(number), now=number)
    with pytest.raises(OnvifLockedError, match="30 min"):
        tries.check("cam", credentials(9), now=2.0)
    tries.check("other", credentials(9), now=2.0)
    tries.check("cam", credentials(9), now=WINDOW_S)


def test_the_same_wrong_password_is_not_sent_twice() -> None:
    tries = PasswordTries()
    tries.failed("cam", credentials(1), now=0.0)
    with pytest.raises(OnvifUnauthorizedError, match="has refused"):
        tries.check("cam", credentials(1), now=1.0)
    tries.check("cam", credentials(2), now=1.0)
    tries.check("cam", credentials(1), now=WINDOW_S)


def test_tries_that_are_neither_accepted_nor_refused_count_too() -> None:
    tries = PasswordTries()
    for _ in range(TRIES_MAX):
        tries.check("cam", credentials(1), now=0.0)
        tries.unclear("cam", now=0.0)
    with pytest.raises(OnvifLockedError, match="30 min"):
        tries.check("cam", credentials(1), now=1.0)
    tries.check("cam", credentials(1), now=WINDOW_S)
    tries.unclear("cam", now=WINDOW_S)
    tries.succeeded("cam")
    tries.check("cam", credentials(1), now=WINDOW_S)


def test_an_accepted_password_ends_the_count() -> None:
    tries = PasswordTries()
    tries.failed("cam", credentials(1), now=0.0)
    tries.succeeded("cam")
    tries.check("cam", credentials(1), now=1.0)
