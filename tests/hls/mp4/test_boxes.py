"""The parsers of boxes accept any bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hls.mp4.boxes import find_box, parse_boxes
from hls.mp4.init_segment import growing_head
from hls.mp4.moof import parse_moof


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    for box in parse_boxes(data):
        assert 0 <= box.offset < box.content <= box.end <= len(data)
    find_box(data, b"moof", b"traf")
    parse_moof(data)
    parse_moof((len(data) + 16).to_bytes(4, "big") + b"moof" + (len(data) + 8).to_bytes(4, "big") + b"traf" + data)
    growing_head(data)
