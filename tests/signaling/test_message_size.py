"""The size of an event as the library sends it, and answers that are too large."""

import json
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st

from signaling.control import Reply
from signaling.message_size import fitting, message_bytes

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_no_event_is_larger_than_its_size_says(data: dict[str, Any]) -> None:
    text, *attachments = (
        encoded
        if isinstance(encoded := socketio.packet.Packet(2, data=["answer", data], namespace="/").encode(), list)
        else [encoded]
    )
    size, sizes = message_bytes("answer", data)
    assert len(text) <= size + 8  # type of the packet, and the number of attachments
    assert sorted(map(len, attachments)) == sorted(sizes)


def test_an_answer_that_fits_is_not_touched() -> None:
    reply = Reply("segments_response", {"client_id": "a", "segments": [{"id": "x" * 500}]})
    size, _ = message_bytes(reply.event, reply.data)
    assert fitting(reply, size, 0) is reply


@pytest.mark.parametrize("data", [{"events": ["x" * 5000]}, {"frame_data": b"x" * 5000}])
def test_an_answer_that_does_not_fit_is_refused_in_words(data: dict[str, Any]) -> None:
    reply = Reply("event_response", {"client_id": "a", "camera_id": "door", **data})
    refused = fitting(reply, 1000, 1000)
    assert refused.data["error"] == refused.ack["error"] == "too_large"
    assert (refused.data["client_id"], refused.data["camera_id"]) == ("a", "door")
    assert "accepts 1000" in refused.data["message"]
    assert len(json.dumps(refused.data)) < 1000
