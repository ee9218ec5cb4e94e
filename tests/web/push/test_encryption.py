"""Encryption of push messages: the example of RFC 8291, and what an independent receiver reads."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.push_service import BrowserSubscription, decrypt, unb64
from web.push.encryption import PLAINTEXT_MAX_BYTES, ReceiverKeys, encode_base64url, encrypt

PLAINTEXT = b"When I grow up, I want to be a watermelon"
SALT, AUTH = "DGv6ra1nlYgDCS1FRnbzlw", "BTBZMqHH6r4Tts7J_aSIgg"
SENDER_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
"""RFC 8291 §5 and appendix A."""


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(unb64(text), "big"), ec.SECP256R1())


def test_the_example_of_the_rfc() -> None:
    keys = ReceiverKeys.parse(RECEIVER_PUBLIC, AUTH)
    body = encrypt(PLAINTEXT, keys, sender=private_key(SENDER_PRIVATE), salt=unb64(SALT))
    assert encode_base64url(body) == BODY
    assert decrypt(unb64(BODY), private_key(RECEIVER_PRIVATE), unb64(AUTH)) == PLAINTEXT


def test_each_message_has_a_key_and_a_salt_of_its_own_and_fits_into_a_record() -> None:
    browser = BrowserSubscription("https://push.example/1")
    keys = ReceiverKeys.parse(browser.keys["p256dh"], browser.keys["auth"])
    largest = b"x" * PLAINTEXT_MAX_BYTES
    first, second = encrypt(largest, keys), encrypt(largest, keys)
    assert first[:86] != second[:86]
    assert decrypt(first, browser.private, browser.auth) == largest
    assert decrypt(second, browser.private, browser.auth) == largest
    with pytest.raises(ValueError, match="at most"):
        encrypt(largest + b"x", keys)


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        (RECEIVER_PUBLIC[:-4], AUTH),
        (RECEIVER_PUBLIC, AUTH[:-2]),
        ("BP" + "A" * 85, AUTH),  # not on the curve
        ("not base64url!", AUTH),
    ],
)
def test_keys_of_no_browser_are_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the API says what is wrong)
        ReceiverKeys.parse(p256dh, auth)
