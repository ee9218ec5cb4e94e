"""SOAP 1.2 messages of ONVIF: requests with WS-UsernameToken, and answers (ONVIF Core §5.4, §5.9; WSS 1.0).

Rules:

1. The password digest is ``Base64(SHA-1(nonce + created + password))`` (WSS UsernameToken Profile 1.0 §3.1).
   ``created`` is in the camera's time: cameras refuse one that is minutes off.
2. The subcode of a fault decides what it means: ``NotAuthorized`` is about the credentials, ``ActionNotSupported``
   about what the camera has. Some cameras say it in the reason alone.
"""

import base64
import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError, OnvifUnsupportedError
from gateway.onvif.xml import Element, child, descendants, escape, local_name, parse_xml, text
from gateway.rtsp.auth import Credentials

NAMESPACES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://www.w3.org/2005/08/addressing",
    "tt": "http://www.onvif.org/ver10/schema",
    "tds": "http://www.onvif.org/ver10/device/wsdl",
    "trt": "http://www.onvif.org/ver10/media/wsdl",
    "tr2": "http://www.onvif.org/ver20/media/wsdl",
    "tev": "http://www.onvif.org/ver10/events/wsdl",
    "tptz": "http://www.onvif.org/ver20/ptz/wsdl",
    "wsnt": "http://docs.oasis-open.org/wsn/b-2",
}

_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_TOKEN = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"  # noqa: S105
_MESSAGE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0"

_DECLARED = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())


class Service(StrEnum):
    """The services of a camera that are used. The value is the prefix of its namespace."""

    DEVICE = "tds"
    MEDIA = "trt"
    MEDIA2 = "tr2"
    EVENTS = "tev"
    PTZ = "tptz"


@dataclass(frozen=True, slots=True)
class Call:
    """One request: ``body`` is the content of ``s:Body``. ``is_public``: needs no user (PRE_AUTH, Core §5.9.4.3).

    ``header`` is what the message needs in ``s:Header``: the reference parameters of a subscription.
    """

    service: Service
    operation: str
    body: str
    action: str = ""
    is_public: bool = False
    header: str = ""

    @property
    def action_uri(self) -> str:
        """The SOAP action."""
        return self.action or f"{NAMESPACES[self.service]}/{self.operation}"


def call(service: Service, operation: str, content: str = "", *, is_public: bool = False) -> Call:
    """A call whose body is one element with the operation's name."""
    name = f"{service.value}:{operation}"
    return Call(service, operation, f"<{name}>{content}</{name}>", is_public=is_public)


def envelope(request: Call, to: str, credentials: Credentials | None = None, created_s: float = 0.0) -> bytes:
    """The message. With ``credentials`` it has a token that is created at ``created_s``, Unix time of the camera."""
    security = _security(credentials, created_s, secrets.token_bytes(16)) if credentials is not None else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope {_DECLARED}><s:Header>'
        f"<a:Action>{escape(request.action_uri)}</a:Action><a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"
        f"<a:ReplyTo><a:Address>{NAMESPACES['a']}/anonymous</a:Address></a:ReplyTo><a:To>{escape(to)}</a:To>"
        f"{request.header}{security}</s:Header><s:Body>{request.body}</s:Body></s:Envelope>"
    ).encode()


def _security(credentials: Credentials, created_s: float, nonce: bytes) -> str:
    created = datetime.fromtimestamp(created_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z").rjust(24, "0")
    digest = password_digest(nonce, created, credentials.password)
    return (
        f'<wsse:Security xmlns:wsse="{_WSSE}" xmlns:wsu="{_WSU}"><wsse:UsernameToken>'
        f"<wsse:Username>{escape(credentials.user)}</wsse:Username>"
        f'<wsse:Password Type="{_TOKEN}#PasswordDigest">{digest}</wsse:Password>'
        f'<wsse:Nonce EncodingType="{_MESSAGE}#Base64Binary">{base64.b64encode(nonce).decode()}</wsse:Nonce>'
        f"<wsu:Created>{created}</wsu:Created></wsse:UsernameToken></wsse:Security>"
    )


def password_digest(nonce: bytes, created: str, password: str) -> str:
    """Rule 1."""
    digest = hashlib.sha1(nonce + created.encode() + password.encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def parse_answer(data: bytes, operation: str) -> Element:
    """The element that answers a call. Raises :class:`~gateway.onvif.errors.OnvifError` (rule 2)."""
    root = parse_xml(data)
    body = child(root, "Body")
    if local_name(root) != "Envelope" or body is None:
        raise OnvifError("the camera's answer is not a SOAP message")
    fault = child(body, "Fault")
    if fault is not None:
        raise _fault(fault, operation)
    answer = next(iter(body), None)
    if answer is None:
        raise OnvifError(f"the camera's answer to {operation} is empty")
    return answer


_ABOUT_THE_USER = re.compile(r"(?i)not authori[sz]ed|unauthori[sz]ed|authenticat|authority fail|\bpassword\b")
"""Reasons of cameras that refuse a user, with a subcode that says something else."""


def _fault(fault: Element, operation: str) -> OnvifError:
    codes = [each.text or "" for each in (*descendants(fault, "Value"), *descendants(fault, "faultcode"))]
    names = {code.strip().rpartition(":")[2] for code in codes}
    reason = (text(fault, "Reason", "Text") or text(fault, "faultstring")).rstrip(".")[:200]
    about = f": {reason}" if reason else ""
    refused = {"NotAuthorized", "FailedAuthentication", "InvalidSecurity", "OperationProhibited"}
    if names & refused or _ABOUT_THE_USER.search(reason):
        return OnvifUnauthorizedError(f"the camera refuses {operation} to this user{about}; correct user and password")
    if names & {"ActionNotSupported", "NotSupported", "OptionalActionNotImplemented", "NoSuchService"}:
        return OnvifUnsupportedError(f"the camera does not support {operation}{about}")
    return OnvifError(f"the camera refuses {operation}{about}")
