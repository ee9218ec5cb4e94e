"""What an engine may send, and what ends its run."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.packet_rules import PacketRules
from gateway.errors import CaptureError
from gateway.media import MediaKind, Packet
from tests.support.sources.numbered import packet

KEY, DELTA = packet(0), packet(1)
AUDIO = replace(KEY, kind=MediaKind.AUDIO, dts_90k=KEY.dts_90k - 900, pts_90k=KEY.pts_90k - 900)


def test_valid_packets_pass() -> None:
    rules = PacketRules(1)
    for each in (AUDIO, KEY, replace(AUDIO, dts_90k=5, pts_90k=5), DELTA):
        rules.check(each)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (KEY, replace(DELTA, dts_90k=KEY.dts_90k), "dts"),
        (KEY, replace(DELTA, dts_90k=-5), "dts"),
        (KEY, replace(DELTA, dts_90k=2**40, pts_90k=2**40), "hour"),
        (KEY, replace(DELTA, pts_90k=DELTA.dts_90k - 1), "pts"),
        (KEY, replace(DELTA, run=2), "run 2"),
        (AUDIO, DELTA, "keyframe"),
    ],
)
def test_the_error_names_the_broken_rule(first: Packet, second: Packet, why: str) -> None:
    rules = PacketRules(1)
    rules.check(first)
    with pytest.raises(CaptureError, match=why):
        rules.check(second)


@given(st.lists(st.tuples(st.sampled_from(MediaKind), st.integers(-(2**36), 2**36), st.integers(-10, 10))))
def test_packets_that_pass_follow_the_rules(times: list[tuple[MediaKind, int, int]]) -> None:
    rules = PacketRules(1)
    last: dict[MediaKind, int] = {}
    for kind, dts_90k, reorder_90k in times:
        sent = replace(KEY, kind=kind, dts_90k=dts_90k, pts_90k=dts_90k + reorder_90k)
        try:
            rules.check(sent)
        except CaptureError:
            return
        assert reorder_90k >= 0
        assert dts_90k > last.get(kind, dts_90k - 1)
        last[kind] = dts_90k
