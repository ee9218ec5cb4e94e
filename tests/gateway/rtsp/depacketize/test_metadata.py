"""ONVIF metadata: whole documents, however they are cut, and nothing larger than the bound."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize.metadata import DOCUMENT_MAX_BYTES, MetadataDepacketizer

DOCUMENT = b'<?xml version="1.0"?><tt:MetadataStream>' + b"<tt:Frame/>" * 300 + b"</tt:MetadataStream>"


def send(made: MetadataDepacketizer, data: bytes, size: int, lost: int = 0) -> list[bytes]:
    parts = [data[place : place + size] for place in range(0, len(data), size)]
    found = []
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        frames = made.push(memoryview(part), 900, marker=is_last, lost=lost if number == 1 else 0)
        found += [frame.data for frame in frames]
    return found


@given(st.integers(1, 4000), st.booleans())
def test_documents_of_any_number_of_packets(size: int, is_compressed: bool) -> None:
    made = MetadataDepacketizer(is_compressed=is_compressed)
    data = gzip.compress(DOCUMENT) if is_compressed else DOCUMENT
    assert send(made, data, size) + send(made, data, size) == [DOCUMENT, DOCUMENT]
    assert made.malformed == 0


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_document_with_a_hole_is_dropped(is_compressed: bool) -> None:
    made = MetadataDepacketizer(is_compressed=is_compressed)
    data = gzip.compress(DOCUMENT) if is_compressed else DOCUMENT
    assert send(made, data, 50, lost=1) == []
    assert made.malformed == 1
    assert send(made, data, 50) == [DOCUMENT]


def test_an_endless_document_is_dropped() -> None:
    made = MetadataDepacketizer(is_compressed=False)
    tracemalloc.start()
    try:
        for _ in range(4 * DOCUMENT_MAX_BYTES // 60_000):
            assert made.push(memoryview(bytes(60_000)), 0, marker=False, lost=0) == []
        assert tracemalloc.get_traced_memory()[0] < 2 * DOCUMENT_MAX_BYTES
    finally:
        tracemalloc.stop()
    assert send(made, b"</end>", 1000) == []
    assert send(made, DOCUMENT, 1000) == [DOCUMENT]
    assert made.malformed == 1


@pytest.mark.parametrize(
    "data",
    [gzip.compress(bytes(20 * DOCUMENT_MAX_BYTES)), gzip.compress(DOCUMENT)[:-20], DOCUMENT, b"\x1f\x8b"],
    ids=["too large", "cut off", "not compressed", "a header alone"],
)
def test_what_cannot_be_decompressed_within_the_bound_is_dropped(data: bytes) -> None:
    made = MetadataDepacketizer(is_compressed=True)
    tracemalloc.start()
    try:
        assert send(made, data, 60_000) == []
        assert tracemalloc.get_traced_memory()[1] < 4 * DOCUMENT_MAX_BYTES
    finally:
        tracemalloc.stop()
    assert made.malformed == 1
