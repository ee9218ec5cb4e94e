"""The events service, by PullPoint (ONVIF Core §9; WS-BaseNotification), and what the topics mean here.

Rules:

1. A notification is a *property*: a state of one source, which begins and ends (``PropertyOperation``, Core §9.4.3). A
   crossed line is none, and so a moment.
2. A topic that is not in :data:`TOPICS` makes no event: cameras tell of their fans and licences too.
3. A new subscription begins with all states (``Initialized``). An event whose state is not active then has ended while
   nobody listened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.onvif.errors import OnvifError
from gateway.onvif.soap import Call, Service
from gateway.onvif.xml import Element, attribute, child, descendants, escape, text

SUBSCRIPTION_S = 60
"""How long a subscription lasts without a renewal: so long a camera keeps one of a gateway that was killed."""

PULL_S = 20
"""How long a camera may hold an answer back while nothing happens."""

MESSAGES_MAX = 100
"""Notifications that a camera is asked for in one answer. If it sends more, all are read: the last may end a state."""

OPEN_MAX = 64
"""Events of one camera that are open at a time."""

_EVENTS = "http://www.onvif.org/ver10/events/wsdl"
_NOTIFY = "http://docs.oasis-open.org/wsn/bw-2"


def create_pull_point() -> Call:
    """Subscribe to everything."""
    return Call(
        Service.EVENTS,
        "CreatePullPointSubscription",
        "<tev:CreatePullPointSubscription>"
        f"<tev:InitialTerminationTime>PT{SUBSCRIPTION_S}S</tev:InitialTerminationTime>"
        "</tev:CreatePullPointSubscription>",
        f"{_EVENTS}/EventPortType/CreatePullPointSubscriptionRequest",
    )


def pull_messages(subscription: "Subscription") -> Call:
    """Wait for notifications, :data:`PULL_S` at most, and for a third of a subscription that is a short one."""
    wait_s = max(1, min(PULL_S, int(subscription.lasts_s / 3)))
    body = f"<tev:Timeout>PT{wait_s}S</tev:Timeout><tev:MessageLimit>{MESSAGES_MAX}</tev:MessageLimit>"
    return Call(
        Service.EVENTS,
        "PullMessages",
        f"<tev:PullMessages>{body}</tev:PullMessages>",
        f"{_EVENTS}/PullPointSubscription/PullMessagesRequest",
        header=subscription.parameters,
    )


def renew(subscription: "Subscription") -> Call:
    """Let the subscription last for :data:`SUBSCRIPTION_S` from now."""
    return Call(
        Service.EVENTS,
        "Renew",
        f"<wsnt:Renew><wsnt:TerminationTime>PT{SUBSCRIPTION_S}S</wsnt:TerminationTime></wsnt:Renew>",
        f"{_NOTIFY}/SubscriptionManager/RenewRequest",
        header=subscription.parameters,
    )


def unsubscribe(subscription: "Subscription") -> Call:
    """End the subscription: cameras have few of them."""
    return Call(
        Service.EVENTS,
        "Unsubscribe",
        "<wsnt:Unsubscribe/>",
        f"{_NOTIFY}/SubscriptionManager/UnsubscribeRequest",
        header=subscription.parameters,
    )


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where notifications are pulled, and what each message there has in its header (WS-Addressing 1.0 §2.1).

    ``lasts_s`` is how long the camera keeps it without a renewal: some give less than they were asked for.
    """

    address: str
    parameters: str = ""
    lasts_s: float = SUBSCRIPTION_S


def parse_subscription(answer: Element) -> Subscription:
    """The subscription in the answer. Raises :class:`~gateway.onvif.errors.OnvifError` where there is none."""
    reference = child(answer, "SubscriptionReference")
    address = text(reference, "Address")
    if not address:
        raise OnvifError("the camera's answer has no subscription")
    parameters = child(reference, "ReferenceParameters")
    written = "".join(_reference(each) for each in parameters) if parameters is not None else ""
    began_s, ends_s = _time(text(answer, "CurrentTime")), _time(text(answer, "TerminationTime"))
    given_s = ends_s - began_s if began_s is not None and ends_s is not None else 0.0
    return Subscription(address, written, min(given_s, SUBSCRIPTION_S) if given_s > 0 else SUBSCRIPTION_S)


def _reference(parameter: Element) -> str:
    """One reference parameter with its text: Axis has such a number of the subscription."""
    namespace, _, name = str(parameter.tag).removeprefix("{").rpartition("}")
    quoted = escape(namespace, {'"': "&quot;"})
    return f'<r:{name} xmlns:r="{quoted}" a:IsReferenceParameter="true">{escape(text(parameter))}</r:{name}>'


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification. ``topic`` has no prefixes. ``at_s`` is Unix time of the camera's clock; ``None``: not told."""

    topic: str
    operation: str
    source: Mapping[str, str]
    data: Mapping[str, str]
    at_s: float | None


def parse_notices(answer: Element) -> list[Notice]:
    """All notifications of an answer, in order. What cannot be read is left out."""
    found: list[Notice] = []
    for each in descendants(answer, "NotificationMessage"):
        message = child(each, "Message", "Message")
        topic = "/".join(part.rpartition(":")[2] for part in text(each, "Topic").split("/"))
        if message is None or not topic:
            continue
        found.append(
            Notice(
                topic,
                attribute(message, "PropertyOperation"),
                _items(child(message, "Source")),
                _items(child(message, "Data")),
                _time(attribute(message, "UtcTime")),
            )
        )
    return found


def _items(group: Element | None) -> dict[str, str]:
    items: dict[str, str] = {}
    for each in descendants(group, "SimpleItem"):
        if len(items) < 32:
            items[attribute(each, "Name")[:100]] = attribute(each, "Value")[:200]
    return items


def _time(value: str) -> float | None:
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


# --- meaning

TOPICS: Mapping[str, str] = {
    "VideoSource/MotionAlarm": "motion",
    "VideoAnalytics/Motion": "motion",
    "RuleEngine/CellMotionDetector/Motion": "motion",
    "RuleEngine/MotionRegionDetector/Motion": "motion",
    "RuleEngine/LineDetector/Crossed": "line",
    "RuleEngine/FieldDetector/ObjectsInside": "field",
    "RuleEngine/LoiteringDetector/ObjectIsLoitering": "loitering",
    "RuleEngine/MyRuleDetector/PeopleDetect": "person",
    "RuleEngine/MyRuleDetector/VehicleDetect": "vehicle",
    "RuleEngine/MyRuleDetector/DogCatDetect": "animal",
    "RuleEngine/MyRuleDetector/FaceDetect": "face",
    "RuleEngine/MyRuleDetector/Visitor": "ring",
    "Device/Trigger/DigitalInput": "digital-input",
    "RuleEngine/TamperDetector/Tamper": "tamper",
    "VideoSource/GlobalSceneChange/AnalyticsService": "tamper",
    "VideoSource/GlobalSceneChange/ImagingService": "tamper",
    "VideoSource/GlobalSceneChange/RecordingService": "tamper",
    "VideoSource/ImageTooDark/AnalyticsService": "tamper",
    "VideoSource/ImageTooDark/ImagingService": "tamper",
    "VideoSource/ImageTooBlurry/AnalyticsService": "tamper",
    "VideoSource/ImageTooBlurry/ImagingService": "tamper",
    "VideoSource/SignalLoss": "tamper",
    "AudioAnalytics/Audio/DetectedSound": "sound",
}
"""Labels of events, by topic (ONVIF Analytics, Imaging and Device IO service specifications; Reolink's own rules)."""

_STATES = frozenset({"State", "LogicalState", "Motion", "active", "Active"})
"""Items that are states; others begin with "Is"."""

_ACTIVE = frozenset({"true", "1", "active", "on"})
_INACTIVE = frozenset({"false", "0", "inactive", "off"})


def label_of(topic: str) -> str | None:
    """The label of an event of a topic; ``None`` by rule 2."""
    return TOPICS.get(topic)


def state_of(notice: Notice) -> bool | None:
    """Whether the state is active; ``None`` for a moment (rule 1)."""
    if notice.operation == "Deleted":
        return False
    for name, value in notice.data.items():
        if not (name.lower().startswith("is") or name in _STATES):
            continue  # a number of an object is no state
        if (lower := value.lower()) in _ACTIVE:
            return True
        if lower in _INACTIVE:
            return False
    return None


Key = tuple[str, str]
"""Topic and source of a state."""


def key_of(notice: Notice) -> Key:
    """Which state a notification is of."""
    return notice.topic, "/".join(notice.source.values())[:100]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an event: ``is_active`` begins it, false ends it, ``None`` is a moment."""

    key: Key
    label: str
    is_active: bool | None
    at_s: float
    data: Mapping[str, str] = field(default_factory=dict)


class EventStates:
    """Which states of a camera are active. Sans-IO; ``now_s`` is Unix time of ours.

    ``sources`` are the tokens of the camera's lens or channel, where the device has several; ``None``: all are its own.
    """

    def __init__(self, sources: frozenset[str] | None = None) -> None:
        self.active: set[Key] = set()
        self.sources = sources

    def take(self, notice: Notice, now_s: float, clock_offset_s: float) -> Iterator[Change]:
        """The change that a notification makes, if any."""
        label = label_of(notice.topic)
        if label is None or not self._is_own(notice):
            return
        key = key_of(notice)
        state, at_s = state_of(notice), _ours(notice.at_s, now_s, clock_offset_s)
        if state is None:
            if notice.operation != "Initialized":
                yield Change(key, label, None, at_s, notice.data)
        elif state and key not in self.active and len(self.active) < OPEN_MAX:
            self.active.add(key)
            # When a state that is active already has begun is not known.
            yield Change(key, label, True, now_s if notice.operation == "Initialized" else at_s, notice.data)
        elif not state and key in self.active:
            self.active.discard(key)
            yield Change(key, label, False, now_s if notice.operation == "Initialized" else at_s)

    def _is_own(self, notice: Notice) -> bool:
        named = [value for name, value in notice.source.items() if "source" in name.lower()]
        return self.sources is None or not named or any(value in self.sources for value in named)


TRUSTED_S = 60.0


def _ours(at_s: float | None, now_s: float, clock_offset_s: float) -> float:
    """A time of the camera in our clock; now, where that is off by more than a minute: the camera's clock jumped."""
    if at_s is None:
        return now_s
    ours = at_s - clock_offset_s
    return ours if abs(ours - now_s) <= TRUSTED_S else now_s
