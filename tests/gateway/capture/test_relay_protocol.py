"""The protocol between nodes: what was sent is what comes, however it is cut, and no bytes do harm."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.relay_protocol import (
    HEAD,
    MESSAGE_MAX_BYTES,
    TEXT_MAX_BYTES,
    End,
    Hello,
    Message,
    MessageKind,
    RelayDecoder,
    RelayEncoder,
    State,
)
from gateway.errors import NoVideoError
from gateway.media import MediaKind, Packet
from tests.support.sources.packets import AAC, START_90K, PacketSource, Shape

RUN = 7

CUTS = st.lists(st.integers(1, 400), max_size=30)


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data, cut into pieces of these lengths and a rest."""
    found, at = [], 0
    for length in cuts:
        found.append(data[at : at + length])
        at += length
    return [*found, data[at:]]


def decoded(data: bytes, cuts: Iterable[int] = ()) -> list[Message]:
    decoder = RelayDecoder(RUN)
    return [message for piece in pieces(data, cuts) for message in decoder.feed(piece)]


def packets() -> list[Packet]:
    """Video and sound, with another size in the middle, a time before 0 and a duration that is not known."""
    found = [*PacketSource(Shape(gop=3, audio=AAC)).with_sound(4, START_90K)]
    found += PacketSource(Shape(width=320, height=240, gop=3)).frames(2, START_90K)
    found[0] = replace(found[0], dts_90k=-9, duration_90k=0)
    return found


def stream(sent: Iterable[Packet]) -> bytes:
    encoder = RelayEncoder()
    body = b"".join(piece for packet in sent for piece in encoder.packet(packet))
    return encoder.hello("a", 3) + encoder.state("it is connecting") + body + encoder.end("it was lost")


STREAM = stream(packets())


@given(CUTS)
def test_what_was_sent_comes_however_it_is_cut(cuts: list[int]) -> None:
    expected = [replace(packet, run=RUN) for packet in packets()]
    assert decoded(STREAM, cuts) == [Hello("a", 3), State("it is connecting"), *expected, End("it was lost")]


def test_what_does_not_count_in_comparisons_of_streams_comes_too() -> None:
    shape = Shape()
    video = replace(shape.info.video, frame_rate=Fraction(30000, 1001), has_changing_sets=True)
    packet = replace(PacketSource(shape).frame(START_90K), info=replace(shape.info, video=video))
    (got,) = (each for each in decoded(stream([packet])) if isinstance(each, Packet))
    assert (got.info.video.frame_rate, got.info.video.has_changing_sets) == (Fraction(30000, 1001), True)
    assert got.info.video.parameter_sets == shape.info.video.parameter_sets


def test_the_description_is_sent_once_for_each_stream() -> None:
    assert STREAM.count(b"parameter_sets") == 2


@given(st.binary(max_size=300), CUTS)
def test_wild_bytes_are_refused(data: bytes, cuts: list[int]) -> None:
    try:
        messages = decoded(data, cuts)
    except NoVideoError:
        return
    assert messages == [] or isinstance(messages[0], Hello)


@given(st.data())
def test_bytes_that_were_changed_on_the_way_are_refused_or_read(data: st.DataObject) -> None:
    wild = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        wild[data.draw(st.integers(0, len(wild) - 1))] = data.draw(st.integers(0, 255))
    try:
        messages = decoded(bytes(wild), data.draw(CUTS))
    except NoVideoError:
        return
    assert all(isinstance(each, Hello | State | Packet | End) for each in messages)


DOCUMENTS = [
    b"",
    b"null",
    b"[" * 5000,
    b'{"node": "a", "epoch": -1}',
    b'{"node": "a", "epoch": 1, "version": 99}',
    b'{"info": {"video": {"codec": "h264"}}}',
    b'{"info": {"video": {"codec": "h264", "codec_string": "", "width": 1, "height": 1, "parameter_sets": "=!"}}}',
    b'{"info": {"video": {"codec": "h264", "codec_string": "", "width": 1, "height": 1, "parameter_sets": "",'
    b' "frame_rate": "1/0"}}}',
    b'{"reason": 5}',
    b'{"reason": "' + b"x" * 3000 + b'"}',
]


@pytest.mark.parametrize("kind", [MessageKind.HELLO, MessageKind.INFO, MessageKind.STATE, MessageKind.END])
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_that_is_none_is_refused(kind: MessageKind, document: bytes) -> None:
    begin = b"" if kind is MessageKind.HELLO else RelayEncoder().hello("a", 1)
    with pytest.raises(NoVideoError, match="cannot be used"):
        decoded(begin + HEAD.pack(kind, len(document)) + document)


@pytest.mark.parametrize(
    ("kind", "length"), [(MessageKind.PACKET, MESSAGE_MAX_BYTES + 1), (MessageKind.INFO, TEXT_MAX_BYTES + 1), (0, 1)]
)
def test_a_message_that_is_too_long_is_refused_before_it_comes(kind: int, length: int) -> None:
    with pytest.raises(NoVideoError):
        decoded(RelayEncoder().hello("a", 1) + HEAD.pack(kind, length))


def test_messages_out_of_order_are_refused() -> None:
    encoder = RelayEncoder()
    hello, end = encoder.hello("a", 1), encoder.end("")
    info, head, data = encoder.packet(PacketSource(Shape()).frame(START_90K))
    for wild in (hello + hello, end, hello + end + end, hello + head + data):
        with pytest.raises(NoVideoError):
            decoded(wild)
    assert len(decoded(hello + info + head + data)) == 2


def test_sound_in_a_stream_without_is_refused() -> None:
    packet = replace(PacketSource(Shape()).frame(START_90K), kind=MediaKind.AUDIO)
    with pytest.raises(NoVideoError, match="sound"):
        decoded(stream([packet]))
