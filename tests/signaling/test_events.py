"""The table of events, the document made from it, and payloads from unknown senders."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import BadRequestError
from gateway.service import CaptureService
from signaling.answers import CaptureStatusResponse
from signaling.asyncapi import asyncapi_document
from signaling.control import Caller, Control
from signaling.events import COMMANDS, EVENTS, Endpoint
from signaling.requests import METADATA_MAX_BYTES, CaptureRequest, parse
from web.settings import load_settings

DOCUMENT = asyncapi_document("1.2.3")


def resolve(reference: str) -> Any:
    node: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for item in node.values() for found in references(item)]
    return [found for item in node for found in references(item)] if isinstance(node, list) else []


def test_every_event_is_in_the_document_on_its_channels() -> None:
    for event in EVENTS:
        for endpoint, channel in ((Endpoint.EMS, "ems"), (Endpoint.BROWSER, "browser")):
            names = {
                (resolve(operation["messages"][0]["$ref"].replace("channels/" + channel, "channels/" + channel)))[
                    "$ref"
                ]
                for operation in DOCUMENT["operations"].values()
                if operation["channel"]["$ref"] == f"#/channels/{channel}"
            }
            message = f"#/components/messages/{event.name}_{event.direction.value}"
            assert (message in names) == (endpoint in event.endpoints)


def test_its_texts_are_markdown() -> None:
    assert "``" not in json.dumps(DOCUMENT)
    assert "`" in json.dumps(DOCUMENT)


def test_every_reference_has_a_target() -> None:
    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        assert resolve(reference) is not None
    json.dumps(DOCUMENT, allow_nan=False)


def test_the_contract_of_the_first_version_holds() -> None:
    """Other people's programs depend on these."""
    names = {(event.name, event.direction.value) for event in EVENTS if Endpoint.EMS in event.endpoints}
    assert names >= {
        ("capture_start_request", "in"),
        ("capture_stop_request", "in"),
        ("capture_status_request", "in"),
        ("webrtc_offer", "in"),
        ("webrtc_rendition_request", "in"),
        ("webrtc_ice_candidate", "in"),
        ("webrtc_close", "in"),
        ("capture_status_response", "out"),
        ("video_frame_from_service", "out"),
        ("webrtc_answer", "out"),
        ("webrtc_rendition", "out"),
        ("webrtc_ice_candidate", "out"),
        ("webrtc_error", "out"),
    }
    required = {name: set(event.model.model_json_schema().get("required", ())) for name, event in COMMANDS.items()}
    assert required["capture_start_request"] == required["capture_stop_request"] == {"client_id"}
    assert required["capture_status_request"] == {"requesting_client"}
    assert required["webrtc_offer"] == {"client_id", "sdp"}
    assert set(CaptureStatusResponse.model_json_schema()["required"]) == {"is_active", "rtsp_url"}


def test_no_null_is_sent() -> None:
    assert CaptureStatusResponse(is_active=False, rtsp_url="").wire() == {
        "is_active": False,
        "rtsp_url": "",
        "state": "stopped",
        "clients": 0,
        "viewers": {},
        "reconnects": 0,
        "packets_dropped": 0,
    }


@pytest.mark.parametrize(
    "metadata",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": b"bytes"}, {"x": "y" * METADATA_MAX_BYTES}, {"camera_id": 5}],
)
def test_metadata_that_cannot_be_echoed_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="metadata"):
        parse("capture_start_request", CaptureRequest, {"client_id": "a", "metadata": metadata})


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(BadRequestError) as raised:
        parse("capture_start_request", CaptureRequest, {"client_id": ["s3cret" * 1000]})
    assert "s3cret" not in str(raised.value)
    assert len(str(raised.value)) < 200


# --- payloads from unknown senders

wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
field_names = sorted({name for event in COMMANDS.values() for name in event.model.model_fields} | {"camera_id"})
nearly = st.dictionaries(st.sampled_from(field_names), wild | st.sampled_from(["default", "yard", ""]), max_size=5)


ids = st.text(min_size=1, max_size=128)
cameras = st.sampled_from(["default", "attic"])
labels = st.sampled_from(["person", "문"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
capture = st.fixed_dictionaries(
    {"client_id": ids},
    optional={
        "metadata": st.none()
        | st.dictionaries(st.text(max_size=9), json_values, max_size=3)
        | st.fixed_dictionaries({"camera_id": cameras})
    },
)
GOOD: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "capture_start_request": capture,
    "capture_stop_request": capture,
    "capture_status_request": st.fixed_dictionaries({"requesting_client": ids}, optional={"camera_id": cameras}),
    "event_create_request": st.fixed_dictionaries(
        {"label": labels},
        optional={"camera_id": cameras, "score": st.floats(0, 1), "start": st.floats(0, 1e9), "source": labels},
    ),
    "event_update_request": st.fixed_dictionaries({"event_id": st.uuids().map(str)}, optional={"label": labels}),
    "event_list_request": st.fixed_dictionaries({}, optional={"camera_id": cameras, "limit": st.integers(1, 1000)}),
    "ptz_request": st.fixed_dictionaries({"action": st.just("move"), "pan": st.floats(0.1, 1)}),
    "snapshot_request": st.fixed_dictionaries({}, optional={"camera_id": cameras, "width": st.integers(16, 7680)}),
    "segments_list_request": st.fixed_dictionaries({}, optional={"camera_id": cameras, "limit": st.integers(1, 500)}),
    "segment_at_request": st.fixed_dictionaries({"time": st.floats(0, 1e9)}, optional={"camera_id": cameras}),
    "webrtc_offer": st.fixed_dictionaries({"client_id": ids, "sdp": st.text(min_size=1)}),
    "webrtc_rendition_request": st.fixed_dictionaries({"client_id": ids}),
    "webrtc_ice_candidate": st.fixed_dictionaries({"client_id": ids, "candidate": st.none() | st.text()}),
    "webrtc_close": st.fixed_dictionaries({"client_id": ids}),
    "frames_subscribe": st.fixed_dictionaries({}, optional={"frame_rate": st.floats(0.1, 60), "camera_id": cameras}),
    "frames_unsubscribe": st.fixed_dictionaries({}, optional={"camera_id": cameras}),
}


def about(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    """A payload that the command takes, one that is some fields away from that, or anything."""
    good = GOOD[name]
    return st.tuples(st.just(name), good | st.builds(lambda a, b: {**a, **b}, good, nearly) | nearly | wild)


commands = st.sampled_from(sorted(COMMANDS)).flatmap(about) | st.tuples(st.text(max_size=30), wild)


@pytest.mark.integration
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(commands, min_size=1, max_size=4), st.sampled_from([Endpoint.EMS, Endpoint.BROWSER]))
def test_every_payload_is_answered_and_the_answer_matches_the_document(
    sent: list[tuple[str, Any]], endpoint: Endpoint
) -> None:
    async def run() -> None:
        camera = {
            "url": "clip://u:s3cret@camera",
            "engine": "tests.support.sources.numbered:ClipEngine",
            "start": "on-demand",
        }
        service = CaptureService({"default": load_settings().camera("default", {**camera, "record": "never"})})
        control = Control(service)
        replies = await asyncio.gather(*(control.execute(name, data, Caller(endpoint, "x")) for name, data in sent))
        for (name, _), reply in zip(sent, replies, strict=True):
            text = json.dumps([reply.data, reply.ack], allow_nan=False)
            assert "s3cret" not in text
            if reply.event:
                (event,) = [event for event in EVENTS if event.name == reply.event and event.direction == "out"]
                event.model.model_validate(reply.data)
            if reply.refusal is None:
                ack = COMMANDS[name].ack
                assert ack is not None
                ack.model_validate(reply.ack)
            else:
                assert set(reply.ack) == {"error", "message"}
                assert reply.ack["error"] != "internal"
        assert not control.queues
        await service.close()

    asyncio.run(run())


@given(st.data(), st.sampled_from(sorted(GOOD)))
def test_the_models_accept_what_the_document_accepts(data: st.DataObject, name: str) -> None:
    payload = data.draw(GOOD[name])
    model = COMMANDS[name].model
    assert set(payload) <= set(model.model_json_schema()["properties"])
    model.model_validate(payload)
