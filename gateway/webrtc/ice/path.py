"""Path: one address pair of a viewer, and the proof that the viewer wants data there.

A source address of UDP is easily forged. A path is **proven** when its other end has answered a connectivity check of
ours: the answer repeats a random transaction number that was sent there and nowhere else. The answer is also the
consent to send (RFC 7675 §5.1), for ``CONSENT_S``. Two more proofs exist: a TCP connection, which nobody can open from
another's address, and a whole DTLS handshake over the path, for clients that answer no checks.

Rules:

1. Media goes to proven paths only.
2. An unproven path gets ``AMPLIFICATION_MAX`` times the bytes that came from it, as with QUIC (RFC 9000 §8.1).
3. Proof by DTLS holds while authenticated packets come from the same address, and ends with the first answered check.
"""

import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass

from aioice import stun

from gateway.webrtc.transport import PeerTransport

CONSENT_S = 30.0
"""Lifetime of a consent (RFC 7675 §5.1)."""

CHECK_INTERVAL_S = 2.5
"""Of checks on a proven path: twelve may be lost."""

FIRST_CHECK_INTERVAL_S = 0.2
"""Of checks on an unproven path; each is the answer to one that came from there."""

AMPLIFICATION_MAX = 3

_PENDING_MAX = 4
"""Checks whose answer is still taken; the oldest is forgotten first."""

_PRIORITY = (110 << 24) + (65_535 << 8) + 255
"""Type preference of peer-reflexive candidates (RFC 8445 §7.1.1)."""

_TIE_BREAKER = secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user fragments of one ICE session, ours and the peer's, and the peer's password."""

    local_username: str
    remote_username: str
    remote_password: str


class Path:
    """See the module. Times are monotonic seconds."""

    def __init__(self, transport: PeerTransport, now: float) -> None:
        self.transport = transport
        self.credentials: Credentials | None = None
        """Those of the newest check from there."""
        self.received_bytes = 0
        self.sent_bytes = 0
        """While it is unproven."""
        self.heard_s = now
        """When the last authenticated packet came from there."""
        self.nominated_s: float | None = None
        """When the peer nominated it, if that is not carried out yet."""
        self.unanswered = 0
        """Checks since the last answer."""
        self._answered_s: float | None = None
        self._checked_s: float | None = None
        self._has_dtls_proof = False
        self._pending: OrderedDict[bytes, bytes] = OrderedDict()
        """The keys of checks by transaction number."""

    def is_proven(self, now: float) -> bool:
        """Whether media may be sent there."""
        if self.transport.protocol == "tcp":
            return True
        proof_s = self._answered_s
        if proof_s is None and self._has_dtls_proof:
            proof_s = self.heard_s
        return proof_s is not None and now - proof_s <= CONSENT_S

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long: what the peer sent meanwhile is read only now."""
        self.heard_s += stalled_s
        if self._answered_s is not None:
            self._answered_s += stalled_s
        if self.nominated_s is not None:
            self.nominated_s += stalled_s

    def prove_by_dtls(self) -> None:
        """A DTLS handshake has ended, and all of its datagrams went over this path."""
        self._has_dtls_proof = True

    def may_send(self, size: int) -> bool:
        """Whether an unproven path has credit for ``size`` more bytes."""
        return self.sent_bytes + size <= AMPLIFICATION_MAX * self.received_bytes

    def check(self, now: float, *, at_once: bool = False) -> None:
        """Send a check if it is time for one, or ``at_once``."""
        is_proven = self.is_proven(now)
        if self.credentials is None or self.transport.protocol == "tcp":
            return
        interval = CHECK_INTERVAL_S if is_proven and not at_once else FIRST_CHECK_INTERVAL_S
        if self._checked_s is not None and now - self._checked_s < interval:
            return
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self.credentials.remote_username}:{self.credentials.local_username}"
        request.attributes["PRIORITY"] = _PRIORITY
        request.attributes["ICE-CONTROLLED"] = _TIE_BREAKER
        key = self.credentials.remote_password.encode()
        request.add_message_integrity(key)
        data = bytes(request)
        if not is_proven and not self.may_send(len(data)):
            return
        self._checked_s = now
        self.unanswered += 1
        self._pending[request.transaction_id] = key
        if len(self._pending) > _PENDING_MAX:
            self._pending.popitem(last=False)
        self.sent_bytes += len(data)
        self.transport.send(data, len(data))

    def take_answer(self, data: bytes, now: float) -> bool:
        """A binding success response came from there. Whether it answers a check of ours."""
        key = self._pending.get(data[8:20])
        if key is None:
            return False
        try:
            answer = stun.parse_message(data)
            genuine = answer.check_message_integrity(key)
        except (ValueError, struct.error, KeyError, IndexError):
            return False
        if genuine:
            self._pending.clear()
            self._answered_s = self.heard_s = now
            self._has_dtls_proof = False
            self.unanswered = 0
        return genuine
