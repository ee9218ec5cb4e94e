"""Topics of a camera, and how it is announced to Home Assistant (its documentation: "MQTT", "Device discovery").

One retained message for each camera describes a device with all its entities. An empty one removes it.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from gateway.event import ChangeKind
from gateway.session import SessionState
from web.mqtt.settings import identifier

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"


@dataclass(frozen=True)
class Topics:
    """The topics of a gateway. ``base`` is ``MQTT_TOPIC``, ``prefix`` that of the discovery, which may be empty."""

    base: str
    prefix: str

    @property
    def status(self) -> str:
        """Whether the gateway is there: the last will of its connection."""
        return f"{self.base}/status"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    def of_camera(self, camera_id: str, name: str) -> str:
        """A topic of a camera."""
        return f"{self.base}/cameras/{camera_id}/{name}"

    def state(self, camera_id: str) -> str:
        """JSON: state of the camera."""
        return self.of_camera(camera_id, "state")

    def availability(self, camera_id: str) -> str:
        """Whether the camera sends video."""
        return self.of_camera(camera_id, "availability")

    def motion(self, camera_id: str) -> str:
        """Whether there is motion."""
        return self.of_camera(camera_id, "motion")

    def event(self, camera_id: str) -> str:
        """JSON: each change of an event, not retained."""
        return self.of_camera(camera_id, "event")

    def snapshot(self, camera_id: str) -> str:
        """JPEG: the last picture."""
        return self.of_camera(camera_id, "snapshot")

    def record(self, camera_id: str) -> str:
        """Command: whether the camera is recorded."""
        return self.of_camera(camera_id, "recording/set")

    def discovery(self, camera_id: str) -> str:
        """The announcement of a camera."""
        return f"{self.prefix}/device/{self.device(camera_id)}/config"

    def device(self, camera_id: str) -> str:
        """The identifier of a camera's device."""
        return f"{identifier(self.base)}_{camera_id}"

    def retained(self, camera_id: str) -> list[str]:
        """All topics of a camera that the broker retains."""
        topics = [each(camera_id) for each in (self.state, self.availability, self.motion, self.snapshot)]
        return [self.discovery(camera_id), *topics] if self.prefix else topics

    def camera_of(self, topic: str, name: str) -> str | None:
        """The camera of a topic, if it is the one of this name."""
        head, tail = f"{self.base}/cameras/", f"/{name}"
        if not (topic.startswith(head) and topic.endswith(tail)):
            return None
        camera_id = topic[len(head) : -len(tail)]
        return camera_id if camera_id and "/" not in camera_id else None


@lru_cache(maxsize=1024)
def announcement(topics: Topics, camera_id: str, name: str | None) -> str:
    """The announcement of a camera, as JSON."""
    device, state = topics.device(camera_id), topics.state(camera_id)

    def entity(key: str, platform: str, name: str | None, **values: Any) -> dict[str, Any]:
        return {"platform": platform, "unique_id": f"{device}_{key}", "name": name, **values}

    gateway = {"topic": topics.status}
    document = {
        "device": {
            "identifiers": [device],
            "name": name or camera_id,
            "manufacturer": "liveedge",
            "model": "Camera",
            "sw_version": version("liveedge"),
        },
        "origin": {"name": "liveedge", "sw_version": version("liveedge")},
        "availability": [gateway],
        "components": {
            "connection": entity(
                "connection",
                "binary_sensor",
                "Connection",
                device_class="connectivity",
                entity_category="diagnostic",
                state_topic=state,
                value_template="{{ 'ON' if value_json.state == 'live' else 'OFF' }}",
            ),
            "state": entity(
                "state",
                "sensor",
                "State",
                device_class="enum",
                options=[each.value for each in SessionState],
                entity_category="diagnostic",
                state_topic=state,
                value_template="{{ value_json.state }}",
                json_attributes_topic=state,
            ),
            "motion": entity(
                "motion",
                "binary_sensor",
                "Motion",
                device_class="motion",
                state_topic=topics.motion(camera_id),
                availability=[gateway, {"topic": topics.availability(camera_id)}],
                availability_mode="all",
            ),
            "event": entity(
                "event",
                "event",
                "Event",
                event_types=[each.value for each in ChangeKind],
                state_topic=topics.event(camera_id),
            ),
            "snapshot": entity(
                "snapshot",
                "image",
                "Snapshot",
                image_topic=topics.snapshot(camera_id),
                content_type="image/jpeg",
            ),
            "recording": entity(
                "recording",
                "switch",
                "Recording",
                icon="mdi:record-rec",
                state_topic=state,
                value_template="{{ 'ON' if value_json.recording else 'OFF' }}",
                command_topic=topics.record(camera_id),
            ),
        },
    }
    return json.dumps(document)
