"""A camera with ONVIF on 127.0.0.1: a SOAP server with the messages of the WSDLs, and what cameras do wrong.

The other camera of the tests, which somebody else wrote, is in :mod:`tests.support.ipycam_camera`; it has no events.
"""

import base64
import contextlib
import hashlib
import queue
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from xml.etree import ElementTree

ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
    ' xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"'
    ' xmlns:tev="http://www.onvif.org/ver10/events/wsdl" xmlns:tptz="http://www.onvif.org/ver20/ptz/wsdl"'
    ' xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa5="http://www.w3.org/2005/08/addressing"'
    ' xmlns:tns1="http://www.onvif.org/ver10/topics" xmlns:ter="http://www.onvif.org/ver10/error">'
    "<env:Body>{}</env:Body></env:Envelope>"
)

FOV = "http://www.onvif.org/ver10/tptz/PanTiltSpaces/TranslationSpaceFov"
GENERIC = "http://www.onvif.org/ver10/tptz/PanTiltSpaces/TranslationGenericSpace"

JPEG = b"\xff\xd8 not a picture"


class OnvifCamera:
    """See the module. A context manager. Each attribute may be changed while it runs."""

    def __init__(self, user: str = "admin", password: str = "p@ss:w&rd <1>") -> None:
        self.user, self.password = user, password
        self.challenge: str | None = None
        """``digest``: HTTP Digest is wanted; ``basic``: Basic; ``None``: WS-UsernameToken."""
        self.has_fresh_nonces = False
        """Each challenge has another nonce, as that of most cameras."""
        self.clock_offset_s = 0.0
        self.stream_url = "rtsp://10.0.0.1:554/main?a=1&b=2"
        self.stream_urls: dict[str, str] = {}
        """Those of single profiles, in place of ``stream_url``."""
        self.has_media2 = True
        self.hangs_up_on_refusal = False
        """It closes the connection when it gets a wrong password."""
        self.space = FOV
        """What it turns by: its field of view, its whole range, or nothing."""
        self.zoom: str | None = None
        """Its zoom position; ``None``: it does not say."""
        self.replies: dict[str, bytes] = {}
        """Bytes to answer an operation with, instead of the right ones."""
        self.delay_s = 0.0
        self.delays_s: dict[str, float] = {}
        """Of single operations."""
        self.asked: Counter[str] = Counter()
        self.refused = 0
        """Passwords that were refused."""
        self.in_clear: list[str] = []
        """Credentials that came in clear."""
        self.bodies: list[str] = []
        self.moves: list[tuple[str, ElementTree.Element]] = []
        """Operations of PTZ, in order."""
        self.synchronized: Callable[[], None] = lambda: None
        self.messages: queue.Queue[str] = queue.Queue()
        """Notifications for the next PullMessages."""
        self.initial: list[str] = []
        """Those that a new subscription begins with."""
        self.subscriptions: dict[str, float] = {}
        """When each ends, monotonic."""
        self.subscription_s: float | None = None
        """How long they last, whatever the client asks for."""
        self._nonce = secrets.token_hex(8)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/onvif/device_service"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def notify(self, topic: str, key: str, value: str, *, source: str = "VideoSource_1", kind: str = "Changed") -> str:
        """A notification to everybody who pulls; ``kind`` is its PropertyOperation."""
        text = notification(topic, key, value, source=source, kind=kind, at_s=time.time() + self.clock_offset_s)
        self.messages.put(text)
        return text

    # --- HTTP

    def _handler(outer) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                root = ElementTree.fromstring(body)
                operation = next(iter(root.find("{*}Body") or [])).tag.rpartition("}")[2]
                outer.asked[operation] += 1
                outer.bodies.append(body.decode())
                time.sleep(outer.delays_s.get(operation, outer.delay_s))
                if operation in outer.replies:
                    return self._send(200, outer.replies[operation])
                refusal = outer._refusal(operation, root, self.headers.get("Authorization"), self.path)
                if refusal is not None and outer.hangs_up_on_refusal and b"UsernameToken" in body:
                    self.close_connection = True
                    return None
                if refusal is not None:
                    return self._send(*refusal)
                answer = outer._answer(operation, root, self.path)
                status = 500 if "<env:Fault>" in answer else 200
                return self._send(status, ENVELOPE.format(answer).encode())

            def do_GET(self) -> None:
                self._send(200, JPEG, content_type="image/jpeg")

            def _send(self, status: int, data: bytes, challenge: str = "", content_type: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type or "application/soap+xml; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                if challenge:
                    self.send_header("WWW-Authenticate", challenge)
                with contextlib.suppress(OSError):
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _refusal(
        self, operation: str, root: ElementTree.Element, authorization: str | None, path: str
    ) -> tuple[int, bytes, str] | None:
        if operation in ("GetSystemDateAndTime", "GetServices", "GetCapabilities"):
            return None
        if authorization is not None and authorization.startswith("Basic"):
            self.in_clear.append(authorization)
        if self.challenge is not None:
            if authorization is not None and self._is_digest(authorization, path):
                return None
            self.refused += authorization is not None
            if self.has_fresh_nonces:
                self._nonce = secrets.token_hex(8)
            wanted = "Basic" if self.challenge == "basic" else f'Digest realm="cam", nonce="{self._nonce}", qop="auth"'
            return 401, b"", wanted
        token = root.find(".//{*}UsernameToken")
        if token is not None and self._is_token(token):
            return None
        self.refused += token is not None
        return 400, ENVELOPE.format(fault("ter:NotAuthorized", "Sender not Authorized")).encode(), ""

    def _is_digest(self, authorization: str, path: str) -> bool:
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', authorization))
        md5 = lambda text: hashlib.md5(text.encode()).hexdigest()  # noqa: E731
        secret, request = md5(f"{self.user}:cam:{self.password}"), md5(f"POST:{path}")
        wanted = md5(f"{secret}:{self._nonce}:{given.get('nc')}:{given.get('cnonce')}:auth:{request}")
        return given.get("response") == wanted and given.get("nonce") == self._nonce

    def _is_token(self, token: ElementTree.Element) -> bool:
        name, digest, nonce, created = (
            (token.findtext(f"{{*}}{each}") or "") for each in ("Username", "Password", "Nonce", "Created")
        )
        sent = datetime.fromisoformat(created)
        if abs((sent - self.now()).total_seconds()) > 5:
            return False
        right = hashlib.sha1(base64.b64decode(nonce) + created.encode() + self.password.encode()).digest()
        return name == self.user and digest == base64.b64encode(right).decode()

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset_s)

    # --- services

    def _answer(self, operation: str, root: ElementTree.Element, path: str) -> str:
        method = getattr(self, f"_{operation}", None)
        if method is None:
            return fault("ter:ActionNotSupported", f"{operation} is not implemented")
        return str(method(root, path))

    def _GetSystemDateAndTime(self, *_: object) -> str:
        now = self.now()
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType>"
            "<tt:UTCDateTime><tt:Time>"
            f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second></tt:Time>"
            f"<tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date>"
            "</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _GetServices(self, *_: object) -> str:
        names = {"device/wsdl": "ver10", "media/wsdl": "ver10", "events/wsdl": "ver10", "ptz/wsdl": "ver20"}
        services = [(f"http://www.onvif.org/{version}/{name}", name) for name, version in names.items()]
        if self.has_media2:
            services.append(("http://www.onvif.org/ver20/media/wsdl", "media2/wsdl"))
        # The addresses of a camera behind a translating router.
        listed = "".join(
            f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace>"
            f"<tds:XAddr>http://10.0.0.1/onvif/{name.partition('/')[0]}</tds:XAddr>"
            "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
            for namespace, name in services
        )
        return f"<tds:GetServicesResponse>{listed}</tds:GetServicesResponse>"

    def _GetDeviceInformation(self, *_: object) -> str:
        return (
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>Acme</tds:Manufacturer><tds:Model>Dome 4</tds:Model>"
            "<tds:FirmwareVersion>1.2</tds:FirmwareVersion><tds:SerialNumber>7</tds:SerialNumber>"
            "<tds:HardwareId>1</tds:HardwareId></tds:GetDeviceInformationResponse>"
        )

    def _GetProfiles(self, root: ElementTree.Element, path: str) -> str:
        if "media2" in path:
            one = profile2("main", "H265", 2560, 1440, 25, 4096)
            two = profile2("sub", "H264", 640, 360, 15, 512)
            return f"<tr2:GetProfilesResponse>{one}{two}</tr2:GetProfilesResponse>"
        one, two = profile("main", "H264", 1920, 1080, 25, 4096), profile("sub", "H264", 640, 360, 15, 512)
        return f"<trt:GetProfilesResponse>{one}{two}</trt:GetProfilesResponse>"

    def _GetStreamUri(self, root: ElementTree.Element, path: str) -> str:
        token = root.findtext(".//{*}ProfileToken")
        uri = self.stream_urls.get(str(token)) or self.stream_url.replace("main", str(token))
        uri = uri.replace("&", "&amp;")
        if "media2" in path:
            return f"<tr2:GetStreamUriResponse><tr2:Uri>{uri}</tr2:Uri></tr2:GetStreamUriResponse>"
        return (
            f"<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{uri}</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>"
        )

    def _GetSnapshotUri(self, *_: object) -> str:
        return "<tr2:GetSnapshotUriResponse><tr2:Uri>http://10.0.0.1/snap</tr2:Uri></tr2:GetSnapshotUriResponse>"

    def _SetSynchronizationPoint(self, *_: object) -> str:
        self.synchronized()
        return "<tr2:SetSynchronizationPointResponse/>"

    # --- events

    def _CreatePullPointSubscription(self, root: ElementTree.Element, path: str) -> str:
        name = secrets.token_hex(4)
        self._extend(name, root)
        for each in self.initial:
            self.messages.put(each)
        now, end = self.now(), self.now() + timedelta(seconds=self.subscription_s or 60)
        return (
            "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa5:Address>"
            f"http://10.0.0.1/onvif/subscription?id={name}</wsa5:Address></tev:SubscriptionReference>"
            f"<wsnt:CurrentTime>{now:%Y-%m-%dT%H:%M:%SZ}</wsnt:CurrentTime>"
            f"<wsnt:TerminationTime>{end:%Y-%m-%dT%H:%M:%SZ}</wsnt:TerminationTime>"
            "</tev:CreatePullPointSubscriptionResponse>"
        )

    def _extend(self, name: str, root: ElementTree.Element) -> None:
        asked = root.findtext(".//{*}InitialTerminationTime") or root.findtext(".//{*}TerminationTime") or "PT60S"
        seconds = self.subscription_s if self.subscription_s is not None else float(asked[2:-1])
        self.subscriptions[name] = time.monotonic() + seconds

    def _is_subscribed(self, path: str) -> bool:
        return self.subscriptions.get(path.partition("id=")[2], 0.0) > time.monotonic()

    def _PullMessages(self, root: ElementTree.Element, path: str) -> str:
        if not self._is_subscribed(path):
            return fault("ter:ResourceUnknown", "no such subscription")
        found: list[str] = []
        until = time.monotonic() + float((root.findtext(".//{*}Timeout") or "PT1S")[2:-1])
        while not found and time.monotonic() < until and self._is_subscribed(path):
            with contextlib.suppress(queue.Empty):
                found.append(self.messages.get(timeout=0.02))
        with contextlib.suppress(queue.Empty):
            while found:
                found.append(self.messages.get_nowait())
        now = f"{self.now():%Y-%m-%dT%H:%M:%SZ}"
        return (
            f"<tev:PullMessagesResponse><tev:CurrentTime>{now}</tev:CurrentTime>"
            f"<tev:TerminationTime>{now}</tev:TerminationTime>{''.join(found)}</tev:PullMessagesResponse>"
        )

    def _Renew(self, root: ElementTree.Element, path: str) -> str:
        if not self._is_subscribed(path):
            return fault("ter:ResourceUnknown", "no such subscription")
        self._extend(path.partition("id=")[2], root)
        return (
            "<wsnt:RenewResponse><wsnt:TerminationTime>2030-01-01T00:00:00Z</wsnt:TerminationTime></wsnt:RenewResponse>"
        )

    def _Unsubscribe(self, root: ElementTree.Element, path: str) -> str:
        self.subscriptions.pop(path.partition("id=")[2], None)
        return "<wsnt:UnsubscribeResponse/>"

    # --- PTZ

    def _GetConfigurationOptions(self, *_: object) -> str:
        def pan_tilt(name: str, uri: str) -> str:
            limits = "<tt:Min>-1</tt:Min><tt:Max>1</tt:Max>"
            ranges = f"<tt:XRange>{limits}</tt:XRange><tt:YRange>{limits}</tt:YRange>"
            return f"<tt:{name}><tt:URI>{uri}</tt:URI>{ranges}</tt:{name}>"

        velocity = "http://www.onvif.org/ver10/tptz/PanTiltSpaces/VelocityGenericSpace"
        zoom = "http://www.onvif.org/ver10/tptz/ZoomSpaces/VelocityGenericSpace"
        spaces = pan_tilt("ContinuousPanTiltVelocitySpace", velocity)
        spaces += f"<tt:ContinuousZoomVelocitySpace><tt:URI>{zoom}</tt:URI></tt:ContinuousZoomVelocitySpace>"
        if self.space in (GENERIC, FOV):
            spaces += pan_tilt("RelativePanTiltTranslationSpace", GENERIC)
        if self.space == FOV:
            spaces += pan_tilt("RelativePanTiltTranslationSpace", FOV)
        return (
            f"<tptz:GetConfigurationOptionsResponse><tptz:PTZConfigurationOptions><tt:Spaces>{spaces}</tt:Spaces>"
            "<tt:PTZTimeout><tt:Min>PT1S</tt:Min><tt:Max>PT60S</tt:Max></tt:PTZTimeout>"
            "</tptz:PTZConfigurationOptions></tptz:GetConfigurationOptionsResponse>"
        )

    def _GetPresets(self, *_: object) -> str:
        return (
            '<tptz:GetPresetsResponse><tptz:Preset token="1"><tt:Name>Gate &amp; road</tt:Name></tptz:Preset>'
            '<tptz:Preset token="2"><tt:Name></tt:Name></tptz:Preset></tptz:GetPresetsResponse>'
        )

    def _GetStatus(self, *_: object) -> str:
        zoom = "" if self.zoom is None else f'<tt:Position><tt:Zoom x="{self.zoom}"/></tt:Position>'
        return f"<tptz:GetStatusResponse><tptz:PTZStatus>{zoom}</tptz:PTZStatus></tptz:GetStatusResponse>"

    def _move(self, name: str, root: ElementTree.Element) -> str:
        found = root.find(f".//{{*}}{name}")
        assert found is not None
        self.moves.append((name, found))
        return f"<tptz:{name}Response/>"

    def _ContinuousMove(self, root: ElementTree.Element, _: str) -> str:
        return self._move("ContinuousMove", root)

    def _RelativeMove(self, root: ElementTree.Element, _: str) -> str:
        return self._move("RelativeMove", root)

    def _Stop(self, root: ElementTree.Element, _: str) -> str:
        return self._move("Stop", root)

    def _GotoPreset(self, root: ElementTree.Element, _: str) -> str:
        return self._move("GotoPreset", root)

    def _GotoHomePosition(self, root: ElementTree.Element, _: str) -> str:
        return self._move("GotoHomePosition", root)


def fault(subcode: str, reason: str) -> str:
    return (
        "<env:Fault><env:Code><env:Value>env:Sender</env:Value>"
        f"<env:Subcode><env:Value>{subcode}</env:Value></env:Subcode></env:Code>"
        f'<env:Reason><env:Text xml:lang="en">{reason}</env:Text></env:Reason></env:Fault>'
    )


def profile(token: str, codec: str, width: int, height: int, rate: int, kbit: int) -> str:
    return (
        f'<trt:Profiles token="{token}" fixed="true"><tt:Name>{token}</tt:Name>'
        '<tt:VideoSourceConfiguration token="v"><tt:Name>v</tt:Name><tt:UseCount>2</tt:UseCount>'
        "<tt:SourceToken>VideoSource_1</tt:SourceToken></tt:VideoSourceConfiguration>"
        f'<tt:VideoEncoderConfiguration token="e"><tt:Name>e</tt:Name><tt:Encoding>{codec}</tt:Encoding>'
        f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>"
        f"<tt:RateControl><tt:FrameRateLimit>{rate}</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval>"
        f"<tt:BitrateLimit>{kbit}</tt:BitrateLimit></tt:RateControl></tt:VideoEncoderConfiguration>"
        '<tt:PTZConfiguration token="ptz0"><tt:NodeToken>n</tt:NodeToken></tt:PTZConfiguration></trt:Profiles>'
    )


def profile2(token: str, codec: str, width: int, height: int, rate: int, kbit: int) -> str:
    return (
        f'<tr2:Profiles token="{token}" fixed="true"><tr2:Name>{token}</tr2:Name><tr2:Configurations>'
        '<tr2:VideoSource token="v"><tt:Name>v</tt:Name><tt:SourceToken>VideoSource_1</tt:SourceToken>'
        "</tr2:VideoSource>"
        f'<tr2:VideoEncoder token="e"><tt:Name>e</tt:Name><tt:Encoding>{codec}</tt:Encoding>'
        f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>"
        f"<tt:RateControl><tt:FrameRateLimit>{rate}</tt:FrameRateLimit><tt:BitrateLimit>{kbit}</tt:BitrateLimit>"
        '</tt:RateControl></tr2:VideoEncoder><tr2:PTZ token="ptz0"><tt:NodeToken>n</tt:NodeToken></tr2:PTZ>'
        "</tr2:Configurations></tr2:Profiles>"
    )


def notification(topic: str, key: str, value: str, *, source: str, kind: str, at_s: float) -> str:
    """One message; see ONVIF Core §9.5."""
    at = datetime.fromtimestamp(at_s, UTC)
    return (
        '<wsnt:NotificationMessage><wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">'
        f"{topic}</wsnt:Topic><wsnt:Message>"
        f'<tt:Message UtcTime="{at:%Y-%m-%dT%H:%M:%S.%f}Z" PropertyOperation="{kind}">'
        f'<tt:Source><tt:SimpleItem Name="Source" Value="{source}"/></tt:Source>'
        f'<tt:Data><tt:SimpleItem Name="{key}" Value="{value}"/></tt:Data></tt:Message></wsnt:Message>'
        "</wsnt:NotificationMessage>"
    )
