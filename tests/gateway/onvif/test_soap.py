"""gateway.onvif.soap: requests and answers."""

import base64
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from gateway.onvif.device import GET_CLOCK, parse_clock
from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError, OnvifUnsupportedError
from gateway.onvif.soap import Call, Service, call, envelope, parse_answer, password_digest
from gateway.onvif.xml import parse_xml
from gateway.rtsp.auth import Credentials
from tests.support.onvif_camera import ENVELOPE, fault


def test_the_password_digest_is_the_one_of_the_specification() -> None:
    # The example of ONVIF's Application Programmer's Guide, §6.1.2.
    nonce = base64.b64decode("LKqI6G/AikKCQrN0zqZFlg==")
    assert password_digest(nonce, "2010-09-16T07:50:45Z", "userpassword") == "tuOSpGlFlIXsozq4HFNeeGeFLEI="


def test_a_request_carries_a_token_with_the_cameras_time_and_is_well_formed_whatever_the_user_is_called() -> None:
    user = Credentials('a<b&"c', "p]]>w")
    root = ElementTree.fromstring(envelope(call(Service.DEVICE, "GetX"), "http://h/?a=1&b=2", user, 1_000_000_000))
    assert root.findtext(".//{*}Username") == 'a<b&"c'
    assert root.findtext(".//{*}Created") == "2001-09-09T01:46:40.000Z"
    assert root.findtext(".//{*}To") == "http://h/?a=1&b=2"
    assert root.findtext(".//{*}Action") == "http://www.onvif.org/ver10/device/wsdl/GetX"
    assert "p]]" not in ElementTree.tostring(root, "unicode")


@pytest.mark.parametrize("year", [2, 999, 1970, 9998])
def test_the_time_of_a_camera_whose_clock_is_far_off_is_well_formed(year: int) -> None:
    date = f"<Date><Year>{year}</Year><Month>12</Month><Day>31</Day></Date>"
    time = "<Time><Hour>23</Hour><Minute>59</Minute><Second>59</Second></Time>"
    told = f"<a><SystemDateAndTime><UTCDateTime>{time}{date}</UTCDateTime></SystemDateAndTime></a>".encode()
    clock_s = parse_clock(parse_xml(told))
    assert clock_s is not None
    message = envelope(GET_CLOCK, "http://camera/", Credentials("admin", "secret"), clock_s + 0.7)
    assert f"<wsu:Created>{year:04}-12-31T23:59:59.000Z</wsu:Created>" in message.decode()
    for other in (b"0", b"1", b"9999", b"1e300"):
        assert parse_clock(parse_xml(told.replace(b"<Year>%d<" % year, b"<Year>%s<" % other))) is None


@pytest.mark.parametrize(("zone", "summer", "hour"), [("CST-8", "false", 4), ("EST5EDT,M3.2.0,M11.1.0", "true", 16)])
def test_a_clock_that_tells_local_time_alone_is_read_by_its_zone(zone: str, summer: str, hour: int) -> None:
    time = "<Time><Hour>12</Hour><Minute>0</Minute><Second>0</Second></Time>"
    local = f"<LocalDateTime>{time}<Date><Year>2026</Year><Month>6</Month><Day>1</Day></Date></LocalDateTime>"
    told = f"<DaylightSavings>{summer}</DaylightSavings><TimeZone><TZ>{zone}</TZ></TimeZone>{local}"
    clock_s = parse_clock(parse_xml(f"<a><SystemDateAndTime>{told}</SystemDateAndTime></a>".encode()))
    assert clock_s == datetime(2026, 6, 1, hour, tzinfo=UTC).timestamp()
    assert parse_clock(parse_xml(f"<a><SystemDateAndTime>{local}</SystemDateAndTime></a>".encode())) is None


def test_two_requests_have_two_nonces() -> None:
    request = Call(Service.DEVICE, "X", "<tds:X/>")
    one, two = (envelope(request, "http://h/", Credentials("u", "p"), 0.0) for _ in range(2))
    assert one != two


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (fault("ter:NotAuthorized", "Sender not Authorized"), OnvifUnauthorizedError),
        (fault("ter:InvalidArgVal", "wrong username or password"), OnvifUnauthorizedError),
        (fault("ter:Sender", "Authority failure"), OnvifUnauthorizedError),
        (fault("wsse:FailedAuthentication", "x"), OnvifUnauthorizedError),
        (
            fault("ter:InvalidArgVal", "The action requested requires authorization and the sender is not authorized"),
            OnvifUnauthorizedError,
        ),
        (fault("ter:ActionNotSupported", ""), OnvifUnsupportedError),
        (fault("ter:InvalidArgVal", "no such profile"), OnvifError),
        ("<env:Fault><faultcode>env:Server</faultcode><faultstring>SOAP 1.1</faultstring></env:Fault>", OnvifError),
    ],
)
def test_faults_are_told_apart(body: str, kind: type[OnvifError]) -> None:
    with pytest.raises(OnvifError) as caught:
        parse_answer(ENVELOPE.format(body).encode(), "GetX")
    assert type(caught.value) is kind
    assert "GetX" in str(caught.value)


@pytest.mark.parametrize("data", [b"<html/>", b"<Envelope/>", ENVELOPE.format("").encode()])
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(OnvifError):
        parse_answer(data, "GetX")
