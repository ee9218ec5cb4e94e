"""One DTLS certificate for all viewers, and one OpenSSL context made from it.

aiortc makes a context for each connection, and loads certificate and key into it each time; they are the same for
everybody here.
"""

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from OpenSSL import SSL


class SharedCertificate(RTCCertificate):
    """An aiortc certificate whose context is made once for each list of SRTP profiles."""

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        contexts: dict[tuple[SRTPProtectionProfile, ...], SSL.Context] = self.__dict__.setdefault("_contexts", {})
        key = tuple(srtp_profiles)
        if key not in contexts:
            contexts[key] = super()._create_ssl_context(srtp_profiles)
        return contexts[key]
