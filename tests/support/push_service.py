"""A push service and the browsers behind it: a real HTTP server that checks each message by the RFCs, and opens it.

It shares no code with :mod:`web.push`: the key derivation is written out after RFC 8291 §3.4 and RFC 8188 §2.
"""

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

POINT = (Encoding.X962, PublicFormat.UncompressedPoint)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def decrypt(body: bytes, private: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """The message in one record of aes128gcm."""
    salt, record_size, id_length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    sender, ciphertext = body[21 : 21 + id_length], body[21 + id_length :]
    assert id_length == 65
    assert len(ciphertext) <= record_size
    assert len(body) <= 4096, "no push service takes more"
    shared = private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    key_info = b"WebPush: info\x00" + private.public_key().public_bytes(*POINT) + sender
    ikm = hmac_sha256(hmac_sha256(auth, shared), key_info + b"\x01")
    prk = hmac_sha256(salt, ikm)
    key = hmac_sha256(prk, b"Content-Encoding: aes128gcm\x00\x01")[:16]
    nonce = hmac_sha256(prk, b"Content-Encoding: nonce\x00\x01")[:12]
    padded = AESGCM(key).decrypt(nonce, ciphertext, None).rstrip(b"\x00")
    assert padded[-1:] == b"\x02", "not the last record"
    return padded[:-1]


@dataclass
class BrowserSubscription:
    """What a browser has after ``pushManager.subscribe()``."""

    endpoint: str
    auth: bytes = b"sixteen bytes ..".ljust(16)
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def keys(self) -> dict[str, str]:
        return {"p256dh": b64(self.private.public_key().public_bytes(*POINT)), "auth": b64(self.auth)}


@dataclass(frozen=True)
class Received:
    """A message that was signed and encrypted as it should be."""

    name: str
    text: str
    headers: Mapping[str, str]
    claims: Mapping[str, Any]
    key: str

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


class PushService:
    """``answer`` is called for each message with the name of the subscription."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.tries = 0
        self.answer: Callable[[str], web.Response] = lambda _name: web.Response(status=201)
        self._browsers: dict[str, BrowserSubscription] = {}

    def subscribe(self, name: str) -> BrowserSubscription:
        """A new subscription of a browser."""
        found = self._browsers[name] = BrowserSubscription(f"{self.url}/push/{name}")
        return found

    def of(self, name: str) -> list[Received]:
        return [each for each in self.received if each.name == name]

    async def _handle(self, request: web.Request) -> web.Response:
        self.tries += 1
        name = request.match_info["name"]
        body = await request.read()
        scheme, _, parameters = request.headers["Authorization"].partition(" ")
        assert scheme == "vapid"
        fields = dict(each.strip().split("=", 1) for each in parameters.split(","))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(fields["k"]))
        claims = jwt.decode(fields["t"], key, algorithms=["ES256"], audience=self.url)
        assert request.headers["Content-Encoding"] == "aes128gcm"
        assert int(request.headers["TTL"]) > 0
        answer = self.answer(name)
        if answer.status == 201:
            browser = self._browsers[name]
            text = decrypt(body, browser.private, browser.auth).decode()
            self.received.append(Received(name, text, dict(request.headers), claims, fields["k"]))
        return answer


@contextlib.asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """One on a free port."""
    service = PushService()
    app = web.Application()
    app.router.add_post("/push/{name}", service._handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
