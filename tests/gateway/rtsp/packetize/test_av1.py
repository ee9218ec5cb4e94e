"""RTP Payload Format For AV1: every payload that is made is read back by the rules of its §4."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import av1
from gateway.rtsp.packetize.av1 import payloads
from tests.support.coded_rtp import encoded

KEY, INTER = b"\x10", b"\x30"
"""First octets of a shown key frame and of an inter frame (AV1 §5.9.2)."""


def obu(kind: int, payload: bytes = b"", extension: bytes = b"") -> bytes:
    header = bytes((kind << 3 | bool(extension) << 2,)) + extension
    return av1.with_size(av1.Obu(kind, header, payload))


def read_leb128(data: bytes) -> tuple[int, bytes]:
    value = 0
    for place, octet in enumerate(data):
        value |= (octet & 0x7F) << 7 * place
        if not octet & 0x80:
            return value, data[place + 1 :]
    raise AssertionError("a length without an end")


def read_back(made: list[bytes]) -> list[bytes]:
    """The OBUs, without their sizes."""
    found: list[bytes] = []
    goes_on = False
    for payload in made:
        header, rest = payload[0], payload[1:]
        assert bool(header & 0x80) == goes_on
        assert not header & 7
        count, elements = header >> 4 & 3, list[bytes]()
        while rest:
            is_last = count and len(elements) == count - 1
            size, rest = (len(rest), rest) if is_last else read_leb128(rest)
            assert size <= len(rest)
            elements.append(rest[:size])
            rest = rest[size:]
        assert elements
        assert count in (0, len(elements))
        if goes_on:
            found[-1] += elements.pop(0)
        found += elements
        goes_on = bool(header & 0x40)
    assert not goes_on
    return found


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(8, 1182), st.booleans())
def test_every_obu_is_read_back(sizes: list[int], max_bytes: int, has_layers: bool) -> None:
    extension = b"\x08" if has_layers else b""
    others = [bytes((place + 1,)) * size for place, size in enumerate(sizes)]
    unit = obu(av1.TEMPORAL_DELIMITER) + obu(av1.FRAME, INTER + bytes(50), extension)
    unit += b"".join(obu(4, each, extension) for each in others) + obu(av1.PADDING, b"\1")
    made = payloads(unit, max_bytes)
    assert max(map(len, made)) <= max_bytes
    heads = [bytes((kind << 3 | has_layers << 2,)) + extension for kind in (av1.FRAME, 4)]
    assert read_back(made) == [heads[0] + INTER + bytes(50), *(heads[1] + each for each in others)]
    assert not made[0][0] & 8


def test_the_packets_of_a_large_frame_have_one_size() -> None:
    unit = obu(av1.SEQUENCE_HEADER, bytes(11)) + obu(av1.FRAME, KEY + bytes(10_000))
    made = payloads(unit, 1182)
    assert {len(each) for each in made[:-1]} == {1182}
    assert [bool(each[0] & 8) for each in made] == [True] + [False] * (len(made) - 1)


def test_without_a_frame_nothing_is_sent() -> None:
    assert payloads(obu(av1.TEMPORAL_DELIMITER) + obu(av1.SEQUENCE_HEADER, bytes(11)), 1182) == []
    assert payloads(b"", 1182) == []


@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_comes_is_sent_or_left_out(noise: bytes, cut: int) -> None:
    whole = encoded("av1", 320, 240, frames=8, gop=4)[0][0]
    for data in (noise, whole[:cut] + noise, b"\x32" + noise, b"\x36"):
        read_back(payloads(data, 100))
