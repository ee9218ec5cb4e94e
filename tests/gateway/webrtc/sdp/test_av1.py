"""Which AV1 of browsers' offers fits a camera, and what is answered."""

from dataclasses import replace

import pytest

from gateway.errors import NegotiationError
from gateway.media import StreamInfo
from gateway.webrtc.sdp.answer import write_answer
from gateway.webrtc.sdp.counter_offer import write_counter_offer
from gateway.webrtc.sdp.negotiation import NegotiatedSession, negotiate
from gateway.webrtc.sdp.offer import parse_offer
from tests.gateway.webrtc.sdp.test_answer import LOCAL
from tests.gateway.webrtc.sdp.test_h265 import FEEDBACK, H264, offer
from tests.gateway.webrtc.wire import INFO

CHROME = f"""a=rtpmap:45 AV1/90000
{FEEDBACK.format(45)}
a=fmtp:45 level-idx=5;profile=0;tier=0
a=rtpmap:46 rtx/90000
a=fmtp:46 apt=45"""
"""Chromium 156; it offers profile 1 where it decodes that, too."""

CHROME_444 = CHROME.replace("profile=0", "profile=1")
BARE = "a=rtpmap:45 AV1/90000"
WEAK = "a=rtpmap:45 AV1/90000\na=fmtp:45 level-idx=8;profile=0;tier=0"

VIDEO = replace(INFO.video, codec="av1", codec_string="av01.0.12M.08")


def meet(text: str, codec_string: str) -> NegotiatedSession:
    info = StreamInfo(replace(VIDEO, codec_string=codec_string))
    return negotiate(parse_offer(text), info, "door", (INFO.video,))


@pytest.mark.parametrize(
    ("formats", "codec_string", "parameters"),
    [
        (CHROME, "av01.0.12M.08", "profile=0;level-idx=5;tier=0"),
        (CHROME_444, "av01.0.04M.08", "profile=1;level-idx=5;tier=0"),
        (CHROME_444, "av01.1.04M.08", "profile=1;level-idx=5;tier=0"),
        (BARE, "av01.0.04M.10", ""),
        (WEAK, "av01.0.08M.08", "profile=0;level-idx=8;tier=0"),
    ],
)
def test_what_clients_offer_is_answered_with_the_same_parameters(
    formats: str, codec_string: str, parameters: str
) -> None:
    negotiated = meet(offer(H264, formats), codec_string)
    assert (negotiated.video.payload_type, negotiated.video.format_parameters) == (45, parameters)
    lines = write_answer(negotiated, LOCAL).splitlines()
    assert {"a=rtpmap:45 AV1/90000", "a=rtpmap:96 H264/90000"} <= set(lines), "for a sub stream, or a transcode"


@pytest.mark.parametrize(
    ("formats", "codec_string"),
    [(CHROME, "av01.1.04M.08"), (CHROME, "av01.2.04M.12"), (CHROME, "av01.0.08H.08"), (WEAK, "av01.0.12M.08")],
)
def test_av1_that_the_browser_cannot_decode_is_refused_with_the_reason(formats: str, codec_string: str) -> None:
    with pytest.raises(NegotiationError, match=r"camera door sends AV1 \(av01") as caught:
        meet(offer(H264, formats), codec_string)
    assert caught.value.transports == ("hls", "mjpeg")


def test_our_own_offer_has_the_cameras_parameters_and_can_be_answered() -> None:
    text = write_counter_offer([VIDEO], None, LOCAL, "why")
    assert "a=fmtp:96 profile=0;level-idx=12;tier=0" in text
    answer = (
        text.replace("a=ice-lite\r\n", "")
        .replace("a=sendonly", "a=recvonly")
        .replace("a=setup:actpass", "a=setup:active")
    )
    assert meet(answer, VIDEO.codec_string).video.payload_type == 96
