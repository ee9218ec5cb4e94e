"""Notifications: whether a message is for a subscription, and what it says in the subscriber's language. Sans-IO."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from web.api.push_models import Language, PushChoice, QuietHours
from web.api.webhook_messages import CameraData, EventData, Message, ProblemData
from web.observability.health import CAMERA_DOWN
from web.push.encryption import encode_base64url
from web.push.problem_texts import KOREAN

TITLE = "liveedge"

MESSAGE_MAX_CHARS = 300
"""Systems show less. A message has to fit into one record."""

TEXTS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "motion": "Motion",
        "event": "Event: {label}",
        "camera.down": "The camera sends no video.",
        "camera.up": "The camera sends video again.",
        "disk.low": "The disk of the recordings is almost full.",
        "problem.begun": "Problem: {message}",
        "test": "Notifications arrive on this device.",
    },
    "ko": {
        "motion": "움직임 감지",
        "event": "이벤트: {label}",
        "camera.down": "카메라 영상이 끊겼습니다.",
        "camera.up": "카메라 영상이 다시 들어옵니다.",
        "disk.low": "녹화 디스크의 공간이 거의 없습니다.",
        "problem.begun": "문제 발생: {message}",
        "test": "이 기기에서 알림을 받을 수 있습니다.",
    },
}


@dataclass(frozen=True, slots=True)
class Notification:
    """What a browser shows. ``url`` is a fragment of the page. A later one with the same ``tag`` replaces it."""

    title: str
    body: str
    url: str
    tag: str
    timestamp_ms: int
    lang: Language

    @property
    def payload(self) -> bytes:
        """The message to the service worker, as JSON."""
        table = {
            "title": self.title,
            "body": self.body,
            "url": self.url,
            "tag": self.tag,
            "timestamp": self.timestamp_ms,
            "lang": self.lang,
        }
        return json.dumps(table, ensure_ascii=False).encode()


def topic_of(tag: str) -> str:
    """``Topic`` (RFC 8030 §5.4): of the messages with one, a push service keeps the newest for a device that is off."""
    return encode_base64url(hashlib.sha256(tag.encode()).digest()[:24])


def wants(choice: PushChoice, message: Message, now: datetime) -> bool:
    """Whether a message is for a subscription at this moment. ``now`` has a zone."""
    data = message.data
    if message.type not in choice.kinds:
        return False
    if message.camera_id is not None and choice.cameras is not None and message.camera_id not in choice.cameras:
        return False
    if isinstance(data, ProblemData) and data.problem.code == CAMERA_DOWN:
        return False  # it is reported as camera.down
    if isinstance(data, EventData) and choice.labels is not None:
        wanted = {label.casefold() for label in choice.labels}
        if data.event.label.casefold() not in wanted:
            return False
    return choice.quiet_hours is None or not is_quiet(choice.quiet_hours, now)


def is_quiet(hours: QuietHours, now: datetime) -> bool:
    """Whether ``now`` is in the quiet hours, by the clock on the wall of their time zone."""
    local = now.astimezone(ZoneInfo(hours.time_zone)).time()
    start, end = time.fromisoformat(hours.start), time.fromisoformat(hours.end)
    return start <= local < end if start < end else local >= start or local < end


def notification(message: Message, language: Language, names: Mapping[str, str]) -> Notification:
    """What a message says. ``names``: what people call the cameras."""
    texts = TEXTS[language]
    data, camera_id = message.data, message.camera_id
    moment, url, about = message.timestamp, "#/" if camera_id is None else f"#/camera/{camera_id}", ""
    if isinstance(data, EventData):
        label, moment = data.event.label, data.event.start
        body = texts["motion"] if label.casefold() == "motion" else texts["event"].format(label=label)
        url, about = f"#/camera/{camera_id}?t={moment}", f"/{label.casefold()}"
    elif isinstance(data, ProblemData):
        translated = KOREAN.get(data.problem.code) if language == "ko" else None
        body = texts["problem.begun"].format(message=translated or data.problem.message[:MESSAGE_MAX_CHARS])
        about = f"/{data.problem.component}/{data.problem.code}"
    else:
        body = texts[message.type]
    # Down and up are about one thing: the later one replaces the earlier one.
    topic = "camera" if isinstance(data, CameraData) else message.type
    return Notification(
        title=TITLE if camera_id is None else names.get(camera_id, camera_id),
        body=body,
        url=url,
        tag=f"{topic}/{camera_id or ''}{about}",
        timestamp_ms=_unix_ms(moment),
        lang=language,
    )


def trial(language: Language, now: datetime) -> Notification:
    """The message of the button that sends a test."""
    return Notification(TITLE, TEXTS[language]["test"], "#/", "test", round(now.timestamp() * 1000), language)


def _unix_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
