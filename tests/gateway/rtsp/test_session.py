"""What clients of the RTSP server may set up, and in which order."""

import pytest

from gateway.rtsp.session import Interleaved, RefusedError, ServerSession, UdpPorts, transport_header

TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"
UDP = "RTP/AVP;unicast;client_port=5000-5001"


def refused(status: int, transport: str | None) -> None:
    with pytest.raises(RefusedError) as raised:
        ServerSession("1").set_up(0, transport)
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("transport", "delivery"),
    [
        (TCP, Interleaved(0, 1)),
        ("rtp/avp/tcp; unicast ; interleaved=6-7", Interleaved(6, 7)),
        ("RTP/AVP/TCP;interleaved=4", Interleaved(4, 5)),
        ("RTP/AVP/TCP;unicast", Interleaved(0, 1)),
        (UDP, UdpPorts(5000, 5001)),
        ("RTP/AVP/UDP;unicast;client_port=5000", UdpPorts(5000, 5001)),
        ('RTP/AVP;unicast;client_port=5000-5001;mode="PLAY";destination=192.0.2.1', UdpPorts(5000, 5001)),
        (f"RTP/AVP;multicast;port=5000-5001,{TCP}", Interleaved(0, 1)),
        (f"RTP/SAVP;unicast;client_port=5000-5001,{UDP},{TCP}", UdpPorts(5000, 5001)),
    ],
)
def test_the_first_transport_that_is_known_is_taken(transport: str, delivery: object) -> None:
    assert ServerSession("1").set_up(0, transport) == delivery


@pytest.mark.parametrize(
    "transport",
    [
        None,
        "",
        ";",
        "RTP/AVP",
        "RTP/AVP;unicast;client_port=80-81",
        "RTP/AVP;unicast;client_port=5000-70000",
        "RTP/AVP;unicast;client_port=x",
        "RTP/AVP/TCP;unicast;interleaved=255-256",
        "RTP/AVP/TCP;unicast;interleaved=3-3",
        "RTP/AVP;multicast",
        "RTP/AVP/TCP;unicast;interleaved=0-1;mode=RECORD",
        "RAW/RAW/UDP;unicast;client_port=5000-5001",
    ],
)
def test_other_transports_are_refused(transport: str | None) -> None:
    refused(461, transport)


def test_tracks_without_channels_get_free_ones_and_share_none() -> None:
    session = ServerSession("1")
    session.set_up(0, TCP)
    assert session.set_up(1, "RTP/AVP/TCP;unicast") == Interleaved(2, 3)
    with pytest.raises(RefusedError):
        session.set_up(1, TCP)
    with pytest.raises(RefusedError):
        session.set_up(1, UDP)
    assert session.set_up(0, "RTP/AVP/TCP;unicast;interleaved=8-9") == Interleaved(8, 9), "moved"


def test_the_order_of_requests() -> None:
    session = ServerSession("1")
    for early in (session.play, session.pause):
        with pytest.raises(RefusedError) as raised:
            early()
        assert raised.value.status == 455
    session.set_up(0, TCP)
    session.play()
    with pytest.raises(RefusedError):
        session.set_up(1, "RTP/AVP/TCP;unicast")
    session.pause()
    session.set_up(1, "RTP/AVP/TCP;unicast")


def test_a_session_is_named_by_its_id() -> None:
    session = ServerSession("abc")
    session.require("abc;timeout=60")
    session.require(None)
    with pytest.raises(RefusedError) as raised:
        session.require("abcd")
    assert raised.value.status == 454


def test_the_answer_repeats_what_was_agreed() -> None:
    assert transport_header(Interleaved(2, 3), 0xABC, None) == "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=00000ABC"
    header = transport_header(UdpPorts(5000, 5001), 7, (6000, 6001))
    assert header == "RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;ssrc=00000007"
